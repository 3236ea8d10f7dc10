"""Lists and reads the files of an export: a folder, a zip archive, which is not unpacked, or a single file."""

import base64
import binascii
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from unimatch.data.prepare.archives import LARGEST_TEXT, UNREADABLE, Member, folder_members, is_gzip, members, open_zip
from unimatch.errors import DataError
from unimatch.images.arrays import ORIENTATION, SIDEWAYS
from unimatch.images.file_kinds import IMAGE_SUFFIXES, REPAIR, misread, open_image, why_unreadable
from unimatch.images.folders import is_foreign
from unimatch.images.label_files import JSON_KINDS, json_kind
from unimatch.images.storage import TIFF_HEADERS

LARGEST_NOTE = 256 * 2**20
"""The most bytes of an annotation file that is read as a whole."""

ALWAYS_ALLOWED = 2**24
"""Bytes of text up to which any compression is accepted."""

MOST_COMPRESSED = 30
"""How many times as large as in its zip archive a longer text may be.

Python needs 72 bytes for three bytes of JSON, ``{},``: a small archive could fill the memory. Real annotations are five
to fifteen times as large as in an archive.
"""


class Source:
    """The files of one export.

    Args:
        path: a folder, a zip archive, or one file of a folder.

    Raises:
        DataError: there is no such file, it is a damaged archive, or a name or link in it leads out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            found = folder_members(path)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder; give the export that the label tool has written")
        elif is_gzip(path):
            raise DataError(f"{path}: is compressed as a whole; unpack it and give the folder")
        elif path.suffix.lower() in (".zip", ".tar"):
            found = members(path, path.parent)
        else:
            found = iter([Member(path.parent, path.name, path.stat().st_size)])
        own = [member for member in found if not any(is_foreign(part) for part in member.name.split("/") if part)]
        self.files = {member.name: member for member in sorted(own, key=lambda member: member.name)}
        if name := next((name for name in self.files if "\\" in name and not path.is_dir()), None):
            raise DataError(
                f"{path}: {name} has its folder in its name, as Windows' archives do; unpack the archive with unzip or "
                "7z, and give the folder"
            )

    def matching(self, pattern: str) -> list[Member]:
        """Returns the files whose path, below any folders, matches a regular expression as a whole, sorted."""
        expression = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        return [member for name, member in self.files.items() if expression.fullmatch(name) and not member.link]

    @cached_property
    def json_kinds(self) -> dict[str, list[Member]]:
        """The JSON files of each of :data:`unimatch.images.label_files.JSON_KINDS`, sorted."""
        kinds: dict[str, list[Member]] = {kind: [] for kind in JSON_KINDS}
        for member in self.matching(r"[^/]+\.json"):
            kind = json_kind(head(member))
            if kind is not None:
                kinds[kind].append(member)
        return kinds

    def images(self) -> list[Member]:
        """Returns the files that have the extension of an image, sorted."""
        return [member for name, member in self.files.items() if Path(name).suffix.lower() in IMAGE_SUFFIXES]


def refuse_bomb(member: Member) -> None:
    """Refuses a text that is compressed more strongly than real ones can be.

    Raises:
        DataError: it is; see :data:`MOST_COMPRESSED`.
    """
    if member.packed is not None and member.size > max(ALWAYS_ALLOWED, MOST_COMPRESSED * member.packed):
        raise DataError(
            f"{member.where}: {member.size:,} bytes of text in {member.packed:,}, and no more than "
            f"{MOST_COMPRESSED} times as many are expected; unpack the archive and give the folder if you trust it"
        )


def read_text(member: Member) -> str:
    """Reads a file's text.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    refuse_bomb(member)
    try:
        return member.read(LARGEST_NOTE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{member.where}: is no UTF-8 text ({error}); export it again") from error


def read_json(member: Member) -> dict[str, Any]:
    """Reads a small JSON file that holds an object.

    Raises:
        DataError: it is cut short or holds something else.
    """
    try:
        content = json.loads(read_text(member))
    except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
        raise DataError(f"{member.where}: is no whole JSON ({error}); export it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{member.where}: expected a JSON object; export it again")
    return content


def head(member: Member) -> str:
    """Reads the first 64 kB of a file as text, to recognise its format."""
    with opened(member) as file:
        return file.read(2**16).decode("utf-8", "replace").removeprefix("\ufeff")


@contextmanager
def opened(member: Member) -> Iterator[BinaryIO]:
    """Opens a file to be read piece by piece.

    Raises:
        DataError: it is a link, too large or damaged; damage may be found only while it is read.
    """
    if member.link or member.size > LARGEST_TEXT:
        raise DataError(f"{member.where}: is a link, or larger than {LARGEST_TEXT / 1e9:.0f} GB")
    refuse_bomb(member)
    try:
        if member.path is not None:
            with member.path.open("rb") as file:
                yield file
        elif member.offset is not None:
            yield io.BytesIO(member.read(LARGEST_TEXT))
        else:
            with open_zip(member.place).open(member.name) as packed:
                yield packed  # type: ignore[misc]
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{member.where}: cannot be read ({error}); export it again") from error


def decode_base64(text: str, where: str) -> bytes:
    """Decodes base64; ``where`` names the file in messages.

    Raises:
        DataError: the text is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: its picture is no base64 ({error}); export it again") from error


def open_picture(content: bytes, where: str) -> Image.Image:
    """Opens an image, not yet decoded, from a file's bytes.

    Raises:
        DataError: it is no image, or has more pixels than Pillow allows.
    """
    try:
        return open_image(io.BytesIO(content))
    except Exception as error:  # a damaged file can raise nearly anything in Pillow
        why, remedy = why_unreadable(content) if isinstance(error, UnidentifiedImageError) else (error, REPAIR)
        if isinstance(error, UnidentifiedImageError) and content[:4] in TIFF_HEADERS:
            why = "a TIFF of other bands or values than label tools show"
            remedy = "give 8-bit RGB copies of the same names (images=FOLDER); their masks fit the TIFFs too"
        raise DataError(f"{where}: cannot be read as an image ({why}); {remedy}") from error


def size_of(content: bytes, where: str) -> tuple[int, int]:
    """Returns width and height of a photo after it is turned as its EXIF orientation says, by its header.

    Raises:
        DataError: it is no image, or has more pixels than Pillow allows.
    """
    with open_picture(content, where) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to find EXIF after its pixels, so that it is asked only where there may be some.
        has_exif = image.format != "PNG" or any(mark in content for mark in (b"xif", b"XIf", b"rientation"))
        try:
            turned = has_exif and image.getexif().get(ORIENTATION, 1) in SIDEWAYS
        except Exception as error:
            raise DataError(f"{where}: its EXIF cannot be read ({error}); repair or remove it") from error
    return (height, width) if turned else (width, height)


@contextmanager
def opened_mask(content: bytes, where: str, size: tuple[int, int]) -> Iterator[Image.Image]:
    """Opens a mask image, not yet decoded; whatever goes wrong, also in decoding, becomes a DataError.

    Args:
        content: the file's bytes.
        where: its name in messages.
        size: the width and height that it must have; compared before memory is taken for its pixels.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    found = size_of(content, where)
    if found != size:
        raise DataError(
            f"{where}: the mask has {found[0]} x {found[1]} pixels and its photo {size[0]} x {size[1]}; export both "
            "at one size"
        )
    try:
        with open_picture(content, where) as image:
            if fault := misread(image, content):
                raise DataError(f"{where}: {fault}")
            yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{where}: cannot be read as an image ({error}); repair or remove it") from error
