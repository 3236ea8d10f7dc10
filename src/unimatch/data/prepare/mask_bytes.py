"""Reads index masks from bytes and writes them to bytes."""

import io

import numpy as np
from PIL import Image

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray
from unimatch.images.file_kinds import misread, open_image


def decode_mask(member: Member) -> MaskArray:
    """Returns the (H, W) uint8 ids of an 8-bit mask.

    Raises:
        DataError: it cannot be read, or is no 8-bit index image.
    """
    try:
        content = member.read()
        with open_image(io.BytesIO(content)) as image:
            if fault := misread(image, content):
                raise DataError(f"{member.place}: {member.name} {fault}")
            if image.mode not in ("L", "P"):
                raise DataError(f"{member.place}: {member.name} is no 8-bit index image ({image.mode})")
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{member.place}: {member.name} cannot be read as a mask ({error})") from error


def encode_mask(mask: MaskArray) -> bytes:
    """Returns (H, W) uint8 ids as the bytes of a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask)).save(buffer, "PNG")
    return buffer.getvalue()


def relabel(member: Member, table: bytes) -> bytes:
    """Returns a mask as the bytes of a PNG, with each id ``i`` replaced by ``table[i]``."""
    return encode_mask(np.frombuffer(table, np.uint8)[decode_mask(member)])
