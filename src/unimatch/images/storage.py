"""Tells from its header what an image file stores: how many bands of which type, and how many pages."""

import io
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBFILE_TYPE = 258, 277, 338, 339, 254
PHOTOMETRIC = 262
COMPRESSION = 259
STRIP_SIZES, TILE_SIZES = 279, 325
"""Tags of TIFF."""

KINDS = {2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex numbers"}
"""Types of values by the TIFF tag SampleFormat; all other numbers mean unsigned integers."""

RARE_COMPRESSIONS = {6: "old-style JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}
"""Compressions by their number in a TIFF that Pillow knows, and that its libtiff may lack."""

COUNTED_PAGES = 1000
"""How many pages of a TIFF are counted at most: each takes a millisecond."""

TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of TIFF files; the last two are those of BigTIFF."""

COPY, TRANSPARENCY = 1, 4
"""Bits of the TIFF tag SubfileType: a smaller copy of another page, and a mask of its transparency."""


class Storage(NamedTuple):
    """What an image file stores."""

    bands: int
    bits: int
    """Bits of a value."""
    kind: str
    """``unsigned integers``, ``signed integers`` or ``floats``."""
    unnamed: bool = False
    """Whether there are bands besides colours and transparency, such as infrared."""
    pages: int = 1
    """Number of pages or frames, without smaller copies of the same picture."""

    def __str__(self) -> str:
        return f"{self.bands} band{'s' * (self.bands > 1)} of {self.bits}-bit {self.kind}"


def storage(image: Image.Image) -> Storage:
    """Tells what an opened image, not yet decoded, stores in its file."""
    if image.format == "TIFF":
        return storage_of_tags(image.tag_v2)._replace(pages=pages(image))  # type: ignore[attr-defined]  # of TIFF alone
    bands, kind = len(image.getbands()), "floats" if image.mode == "F" else "unsigned integers"
    if image.mode in ("I", "F"):
        return Storage(bands, 32, kind)
    deep = ";16" in raw_mode(image) or (largest_level(image) or 0) > 255
    bits = 16 if deep else 8
    if image.format == "JPEG2000":
        bits = jpeg_2000_bits(image)
    return Storage(bands, bits, kind, pages=pages(image))


def raw_mode(image: Any) -> str:
    """Returns how Pillow will decode an opened image, such as ``RGB;16B`` or ``L;4``; empty if it does not say."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def largest_level(image: Any) -> int | None:
    """Returns the largest possible value in an image's file if Pillow stretches values to all levels; else None."""
    raw = raw_mode(image)
    if raw[:3] in ("L;2", "L;4"):
        return 3 if raw[2] == "2" else 15
    arguments = image.tile[0][3] if image.format == "PPM" and image.tile else ()
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else None


def multiplied(image: Any) -> float:
    """Returns the factor by which Pillow stretches the values of an opened grey image, so that the largest is white."""
    if image.format == "JPEG2000":
        bits = jpeg_2000_bits(image)
        return float(2 ** ((16 if bits > 8 else 8) - bits))
    largest = largest_level(image)
    return 1.0 if largest is None else (255 if largest <= 255 else 65535) / largest


def divided(values: NDArray[Any], times: float) -> NDArray[Any]:
    """Undoes :func:`multiplied`.

    >>> divided(np.array([0, 16004, 65535]), 65535 / 4095).tolist()
    [0, 1000, 4095]
    """
    return values if times == 1 else np.rint(values / times).astype(values.dtype)


def inverted(image: Any) -> bool:
    """Tells whether Pillow inverts the values of an opened grey image: those of a TIFF in which 0 is white."""
    return image.format == "TIFF" and image.mode in ("1", "L") and image.tag_v2.get(PHOTOMETRIC) == 0


def is_lossy(image: Any) -> bool:
    """Tells whether the compression of an opened image may change its pixels."""
    if image.format == "TIFF":
        return bool(image.info.get("compression") in ("jpeg", "webp"))
    if image.format == "WEBP":
        image.fp.seek(0)
        return b"VP8 " in image.fp.read()  # the chunk of lossy images; lossless ones have VP8L
    return image.format in ("JPEG", "MPO", "JPEG2000", "AVIF")


def storage_of_tags(tags: Any) -> Storage:
    """Returns what a TIFF's page stores by its tags.

    Raises:
        ValueError or TypeError: the tags hold no numbers.
    """
    bits, kind, extra = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLE_FORMAT, (1,)), tags.get(EXTRA_SAMPLES, ())
    bands = int(tags.get(SAMPLES_PER_PIXEL, 1))
    return Storage(bands, max(map(int, bits)), KINDS.get(kind[0], "unsigned integers"), 0 in extra)


def tiff_storage(content: io.BytesIO) -> Storage | None:
    """Tells what the first page of a TIFF stores, even if Pillow cannot read it; None if the file is no whole TIFF."""
    try:
        content.seek(0)
        tags = first_page_tags(content)
        return storage_of_tags(tags) if STRIP_SIZES in tags or TILE_SIZES in tags else None
    except Exception:  # a damaged file can raise nearly anything
        return None


def rare_compression(content: io.BytesIO) -> str:
    """Names the compression of a TIFF's first page if Pillow may be built without it; empty for others."""
    try:
        content.seek(0)
        return RARE_COMPRESSIONS.get(first_page_tags(content).get(COMPRESSION, 1), "")
    except Exception:  # a damaged file, or one that is no TIFF, can raise nearly anything
        return ""


def first_page_tags(file: BinaryIO) -> ImageFileDirectory_v2:
    """Reads the tags of a TIFF's first page; raises nearly anything if the file is no whole TIFF."""
    header = file.read(8)
    if header[:4] in TIFF_HEADERS[2:]:  # that of a BigTIFF is longer
        header += file.read(8)
    tags = ImageFileDirectory_v2(header)
    file.seek(tags.next)
    tags.load(file)
    return tags


def pages(image: Image.Image) -> int:
    """Counts the pages or frames of an opened image, without smaller copies; of a TIFF up to :data:`COUNTED_PAGES`."""
    if image.format == "MPO":
        return 1  # a camera's JPEG, followed by a preview
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1))
    kinds = [image.tag_v2.get(SUBFILE_TYPE, 0)]  # type: ignore[attr-defined]
    with suppress(EOFError):
        while len(kinds) < COUNTED_PAGES:
            image.seek(len(kinds))
            kinds.append(image.tag_v2.get(SUBFILE_TYPE, 0))  # type: ignore[attr-defined]
    if len(kinds) > 1:
        image.seek(0)
    if kinds[0] & COPY:
        return len(kinds)
    return 1 + sum(not kind & (COPY | TRANSPARENCY) for kind in kinds[1:])


def jpeg_2000_bits(image: Any) -> int:
    """Returns the bits of a value of an opened JPEG 2000 file, from the header of its codestream."""
    position = image.fp.tell()
    image.fp.seek(0)
    start = image.fp.read(4096)
    image.fp.seek(position)
    depth = start[start.find(b"\xff\x4f\xff\x51") + 42 :][:1]
    return (depth[0] & 127) + 1 if depth else 8
