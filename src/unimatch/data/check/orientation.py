"""Finds images and masks whose EXIF orientations turn them differently."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from unimatch.images.arrays import ORIENTATION, SIDEWAYS
from unimatch.images.file_kinds import open_image


def orientation(path: Path) -> int:
    """Returns the EXIF orientation in a file's header; 1, upright, if there is none."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\xff\xd8" and not has_exif(file):
                return 1  # as of most edited photos, which need not be opened
        with open_image(path) as image:
            # The method of the PNG class would decode the file to look for EXIF after the pixels.
            return int(Image.Image.getexif(image).get(ORIENTATION, 1))
    except Exception:  # reading the pixels says what is wrong with the file
        return 1


def has_exif(file: BinaryIO) -> bool:
    """Tells whether a JPEG, positioned at its first segment, has a segment of EXIF before its pixels."""
    while len(head := file.read(10)) == 10 and head[0] == 0xFF and head[1] not in (0xDA, 0xFF):
        if head[1] == 0xE1 and head[4:] == b"Exif\0\0":
            return True
        file.seek(int.from_bytes(head[2:4]) - 8, 1)
    return head[:2] != b"\xff\xda"  # the pixels begin; anything else is left to Pillow


def turned_alone(paths: Sequence[Path], mask: int, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yields images of which EXIF turns only the image or only the mask, unless their sizes show that this is right.

    Args:
        paths: the image's files.
        mask: the EXIF orientation of the mask.
        size: height and width of both after turning.
    """
    for path in paths:
        own = orientation(path)
        shown_by_size = size[0] != size[1] and (own in SIDEWAYS) != (mask in SIDEWAYS)
        if own != mask and not shown_by_size:
            yield (
                "turned alone",
                f"{path}: its EXIF orientation is {own} and its mask's {mask}; unless the mask was drawn on the image "
                "as viewers show it, set dataset.exif=stored",
            )


def size_mismatch(mask: str, size: Sequence[int], image_size: Sequence[int], paths: Sequence[Path]) -> str:
    """Writes the message for a mask whose image has another size, and says if EXIF may be the reason.

    Args:
        mask: the mask's name.
        size: height and width of the mask.
        image_size: height and width of the image.
        paths: the image's files.
    """
    sizes = [f"{width} x {height}" for height, width in (size, image_size)]
    text = f"{mask}: the mask is {sizes[0]} pixels and its image {sizes[1]}; they must be equal"
    if tuple(size) != tuple(image_size)[::-1]:
        return text
    turned = [own for own in map(orientation, paths) if own in SIDEWAYS]
    if turned:
        return (
            f"{text}. The image is turned by its EXIF orientation {turned[0]}; dataset.exif=stored leaves it as it is"
        )
    return f"{text}. They would fit if one were turned: has a program obeyed the EXIF orientation of one alone?"
