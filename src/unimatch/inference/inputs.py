"""Finds the images to predict: a file, a folder, a pattern, a list or a video; each with a name for its outputs."""

import glob
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unimatch.bands import PHOTOS, Bands
from unimatch.errors import DataError
from unimatch.images import IMAGE_SUFFIXES, ImageArray, second_date
from unimatch.rasters import pixel_count, read_bands, read_dates

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})


@dataclass(frozen=True)
class Photo:
    """One image to predict."""

    name: str
    """The name of its outputs, without a suffix: a relative path with ``/``."""
    path: Path
    """The image's file, or the video's whose frame it is."""
    load: Callable[[], ImageArray]
    """Reads it; raises :class:`DataError`."""
    is_file: bool = True
    """False for a frame of a video."""

    def pixels(self) -> int:
        """Returns how many pixels it has, from its header alone; 0 where that cannot be read."""
        if not self.is_file:
            return self.load().shape[0] * self.load().shape[1]
        return pixel_count(self.path)


def find_photos(source: str, dates: int = 1, bands: Bands = PHOTOS) -> tuple[int, Iterator[Photo]]:
    """Finds the images.

    Args:
        source: an image; a folder, searched recursively; a pattern such as ``photos/**/*.jpg``; a ``.txt`` file of
            paths, one a line, relative to it; a video.
        dates: 2 for pairs: the source is a folder with ``A/`` and ``B/``, which hold files of the same names.
        bands: what the bands of the images mean.

    Returns:
        The number of images (of a video, what its header says), and the images in order.

    Raises:
        DataError: there are none, or a video cannot be read.
    """
    path = Path(source).expanduser()
    if dates > 1:
        pairs = find_pairs(path, bands)
        return len(pairs), iter(pairs)
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        if not bands.photos:
            raise DataError(f"input={source}: a video has RGB of 8 bits, and this model sees {bands.count} other bands")
        return open_video(path)
    if path.is_dir():
        paths = [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
        paths = [p for p in paths if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    elif path.is_file():
        paths = read_paths(path) if path.suffix.lower() == ".txt" else [path]
    else:
        found = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - a pattern may be absolute
        paths = [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not paths:
        raise DataError(
            f"input={source}: no images there; give an image, a folder, a pattern in quotes, a .txt list or a video"
        )
    # Names are relative to the folder, or else to the deepest one that holds all images.
    root = path if path.is_dir() else Path(os.path.commonpath([p.absolute().parent for p in paths]))
    photos = name_photos(sorted(set(paths)), root, bands)
    return len(photos), iter(photos)


def find_pairs(folder: Path, bands: Bands) -> list[Photo]:
    """Finds pairs of dates, named as the files in ``A/``."""
    first = folder.absolute() / "A"
    if not first.is_dir() or not (folder / "B").is_dir():
        raise DataError(f"input={folder}: a model of change detection needs a folder with A/ and B/, the two dates")
    _, photos = find_photos(str(first))
    return [
        Photo(
            photo.name,
            photo.path,
            lambda path=photo.path: read_dates([path, Path(second_date(str(path)))], bands),  # type: ignore[misc]
        )
        for photo in photos
    ]


def name_photos(paths: list[Path], root: Path, bands: Bands = PHOTOS) -> list[Photo]:
    """Names images by their paths below ``root``, with the suffix only where ``a.jpg`` and ``a.png`` are both there."""
    relative = [PurePosixPath(p.absolute().relative_to(root.absolute()).as_posix()) for p in paths]
    count = Counter(str(name.with_suffix("")).casefold() for name in relative)
    return [
        Photo(
            str(name if count[str(name.with_suffix("")).casefold()] > 1 else name.with_suffix("")),
            path,
            lambda path=path: read_bands(path, bands),  # type: ignore[misc]
        )
        for path, name in zip(paths, relative, strict=True)
    ]


def read_paths(path: Path) -> list[Path]:
    """Reads the paths in a list file: a whole line if it is a file, else the first of ``image_path mask_path``."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        candidates = [path.parent / part for part in (line.strip(), *line.split()[:1]) if part]
        existing = [candidate for candidate in candidates if candidate.is_file()]
        if candidates and not existing:
            raise DataError(f"{path}, line {number}: no such image: {candidates[0]}")
        found += existing[:1]
    return found


def open_video(path: Path) -> tuple[int, Iterator[Photo]]:
    """Opens a video, whose frames are named by number."""
    try:
        import cv2
    except ImportError as error:
        raise DataError(f"{path}: reading a video needs OpenCV: pip install opencv-python-headless") from error
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise DataError(f"{path}: OpenCV cannot read this video; convert it, or extract its frames")

    def frames() -> Iterator[Photo]:
        for number in itertools.count():
            there, frame = video.read()
            if not there:
                break
            image = frame[..., ::-1]  # OpenCV's order is BGR
            yield Photo(f"{path.stem}/{number:06d}", path, lambda image=image: image, is_file=False)  # type: ignore[misc]
        video.release()

    return max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))), frames()
