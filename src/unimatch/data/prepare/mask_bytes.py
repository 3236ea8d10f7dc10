"""Reads index masks from bytes and writes them to bytes."""

import io

import numpy as np
from PIL import Image

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray
from unimatch.images.file_kinds import open_image


def decode_mask(member: Member) -> MaskArray:
    """Reads the (H, W) uint8 ids of an 8-bit mask."""
    try:
        with open_image(io.BytesIO(member.read())) as image:
            if image.mode not in ("L", "P"):
                raise DataError(f"{member.place}: {member.name} is no 8-bit index image ({image.mode})")
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{member.place}: {member.name} cannot be read as a mask ({error})") from error


def encode_mask(mask: MaskArray) -> bytes:
    """Encodes an (H, W) uint8 array of ids as a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask)).save(buffer, "PNG")
    return buffer.getvalue()


def relabel(member: Member, table: bytes) -> bytes:
    """Replaces each id ``i`` of a mask by ``table[i]`` and encodes the mask as PNG."""
    return encode_mask(np.frombuffer(table, np.uint8)[decode_mask(member)])
