"""Which image files are read, and what a file is that cannot be read as one; both judged by content."""

import re
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import COLORMAP, TiffImageFile

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Extensions of image files; older versions of Pillow do not read AVIF."""

FORMATS = (
    *("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "JPEG2000"),
    *(["AVIF"] if find_spec("PIL.AvifImagePlugin") else []),  # since Pillow 11.3
    *("DIB", "TGA"),  # last, as their first bytes say less
)
"""Pillow's names of the formats that are read. Pillow knows more, and starts other programs for some."""

REPAIR = "repair or remove it"
COPY_AGAIN = "as a copy that was cut short leaves it; copy it again"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
"""The markers before the pixels of a JPEG and behind them; the pixels themselves hold neither."""
ZEROS = bytes(16)
"""Bytes at a file's end that no JPEG of which all was copied has there before its end marker."""

CONVERT = "convert it to JPEG, PNG or TIFF"
OTHER_FILES = (
    (rb"version https://git-lfs", "a pointer of Git LFS", "`git lfs pull` brings the file itself"),
    (rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", "a HEIC photo, as phones take them", CONVERT),
    (rb"....ftypavi[fs]", "AVIF, which Pillow reads from 11.3 on", CONVERT),
    (rb"....(ftyp|moov|mdat|wide)|RIFF....AVI ", "a video", "take its frames"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", CONVERT),
    (rb"\s*<(!DOCTYPE html|html|head)", "a web page, as a failed download leaves it", "download it again"),
    (rb"\s*<(\?xml|svg)", "XML or SVG", CONVERT),
    (rb"%PDF", "a PDF", CONVERT),
    (rb"8BPS", "a Photoshop file", CONVERT),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive", "unpack it"),
    (rb"\x93NUMPY|\x89HDF|SIMPLE  =|.{128}DICM", "an array or a scan (NumPy, HDF5, FITS, DICOM)", CONVERT),
)
"""Regular expressions for the beginning of files that are no images, what they are, and what to do."""


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Opens an image, not yet decoded, if it is of the :data:`FORMATS`; raises whatever Pillow does."""
    image = Image.open(file, formats=FORMATS)  # noqa: TID251 - this is the one place
    if isinstance(image, TiffImageFile) and image.mode == "P":
        mend_palette(image)
    return image


def mend_palette(image: TiffImageFile) -> None:
    """Corrects the palette of a TIFF whose colours are 0-255, not 0-65535 as the standard says: Pillow shows it black.

    Such a palette has no entry above 255; libtiff tells it in the same way.
    """
    levels = image.tag_v2.get(COLORMAP) or (0,)
    if max(levels) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(levels))


def misread(image: Image.Image, content: bytes) -> str:
    """Says what is wrong with an opened image that Pillow would decode wrongly; empty for others.

    Pillow takes a BMP for one of 1 bit if its palette is black and white, and for one of 8 bits if the palette is a
    ramp of greys, whatever its header says. It decodes pixels that were lost (:func:`damaged`).
    """
    if image.format == "PNG" and damaged(content):
        return f"is damaged, as a checksum in it says; perhaps {COPY_AGAIN}"
    if image.format in ("JPEG", "MPO") and content.endswith(ZEROS):
        if JPEG_END not in content[content.rfind(JPEG_SCAN) :]:
            return f"ends in zeros before its pixels do, {COPY_AGAIN}"
        return ""
    bits = int.from_bytes(content[28:30], "little")
    if (
        image.format != "BMP"
        or image.mode not in ("1", "L")
        or content[14] < 40
        or bits == (1 if image.mode == "1" else 8)
    ):
        return ""
    return f"is a BMP of {bits} bits with a palette that Pillow misreads; save it as PNG"


def damaged(png: bytes) -> bool:
    """Tells whether pixels in a PNG are not those that were written, as its checksums say.

    Pillow does not look at these. Where a copy was cut short and its file has its full length, filled up with zeros,
    it may decode the zeros, so that the rest of a mask becomes class 0.
    """
    place = 8
    while place + 12 <= len(png):
        length, kind = int.from_bytes(png[place : place + 4], "big"), png[place + 4 : place + 8]
        end = place + 8 + length
        if kind == b"IEND" or end + 4 > len(png):  # Pillow notices what is missing
            return False
        if kind in (b"IDAT", b"fdAT"):
            with memoryview(png) as view:
                if zlib.crc32(view[place + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
                    return True
        place = end + 4
    return False


def why_unreadable(content: bytes) -> tuple[str, str]:
    """Returns why a file in none of the :data:`FORMATS` cannot be read, such as what it is instead, and what to do.

    >>> why_unreadable(b"")
    ('it is empty, as a copy that was cut short leaves it', 'copy it again')
    """
    if not content.strip(b"\0"):
        why = "holds zeros alone" if content else "is empty"
        return f"it {why}, as a copy that was cut short leaves it", "copy it again"
    for begins, what, remedy in OTHER_FILES:
        if re.match(begins, content[:200], re.IGNORECASE | re.DOTALL):
            return f"it is {what}", remedy
    return f"none of {', '.join(FORMATS)}", REPAIR
