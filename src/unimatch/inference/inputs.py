"""Finds the images to predict, in a file, a folder, a pattern, a list or a video, and names their outputs."""

import glob
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.folders import canonical, find_images, is_foreign, photos_among, suffix, what_is_there
from unimatch.images.pairs import date_folders, second_date
from unimatch.images.rasters import pixel_count, read_bands, read_dates
from unimatch.safe_text import wrongly_separated

KIND_FOLDERS = ("masks", "overlays", "confidence", "scores", "rle", "disagreement")
"""The folders of an output folder that hold results."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})


@dataclass(frozen=True)
class Photo:
    """One image to predict."""

    name: str
    """The name of its outputs, without a suffix: a relative path with ``/``."""
    path: Path
    """The image's file; for a frame of a video, the video's."""
    load: Callable[[], ImageArray]
    """Reads the image; raises :class:`DataError`."""
    is_file: bool = True
    """False for a frame of a video."""

    @property
    def file(self) -> str:
        """The absolute path of the image's file, or of the video's."""
        return str(self.path.absolute())

    def pixels(self) -> int:
        """Returns the number of pixels, from the file's header only; 0 if that cannot be read."""
        if self.is_file:
            return pixel_count(self.path)
        height, width = self.load().shape[:2]
        return height * width


def find_photos(
    source: str, dates: int = 1, output: Path | None = None, *, bands: Bands = PHOTOS
) -> tuple[int, Iterator[Photo]]:
    """Finds images; in a folder and by a pattern, those that training would find (:mod:`unimatch.images.folders`).

    Args:
        source: an image; a folder, searched recursively; a pattern such as ``photos/**/*.jpg``; a ``.txt`` file of
            paths, one a line, relative to it; a video.
        dates: 2 for pairs: the source is a folder with ``A/`` and ``B/``, which hold files of the same names.
        output: the folder of results; if it lies in the source, the results are not taken for photos.
        bands: what the bands of the images mean.

    Returns:
        The number of images (for a video, the number in its header), and the images in order.

    Raises:
        DataError: there are none, or a video cannot be read.
    """
    path = Path(source).expanduser()
    if dates > 1:
        pairs = find_pairs(path, bands, output)
        return len(pairs), iter(pairs)
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        if not bands.photos:
            raise DataError(f"input={source}: a video has RGB of 8 bits, and this model sees {bands.count} other bands")
        return open_video(path)
    results = [] if output is None else [output / kind for kind in KIND_FOLDERS]
    if path.is_dir():
        try:
            paths = [path / name for name in find_images(path, skip=results)]
        except DataError as error:
            raise DataError(f"input={source}: no images there: {error}") from error
    elif path.is_file():
        if path.suffix.lower() == ".csv":
            raise DataError(f"input={source}: a list of images is a .txt file with a path a line; save the table so")
        paths = read_paths(path) if path.suffix.lower() == ".txt" else [path]
    else:
        paths = matching(str(path), results)
    if not paths:
        raise DataError(
            f"input={source}: no images there; give an image, a folder, a pattern in quotes, a .txt list or a video"
        )
    # Names are relative to the source folder, or else to the deepest folder that holds all images.
    root = path if path.is_dir() else Path(os.path.commonpath([p.absolute().parent for p in paths]))
    photos = name_photos(sorted(set(paths)), root, bands)
    return len(photos), iter(photos)


def matching(pattern: str, results: list[Path]) -> list[Path]:
    """Finds the photos that a pattern matches, except those below the folders of results."""
    names = sorted(
        os.path.abspath(name)  # noqa: PTH100 - keeps links
        for name in glob.glob(pattern, recursive=True)  # noqa: PTH207 - a pattern may be absolute
        if suffix(name).lower() in IMAGE_SUFFIXES and Path(name).is_file()
    )
    inside = tuple(os.path.join(path.absolute(), "") for path in results)  # noqa: PTH118
    names = [name for name in names if not name.startswith(inside)]
    root = Path(os.path.commonpath([os.path.dirname(name) for name in names]) if names else "")  # noqa: PTH120
    below = [os.path.relpath(name, root) for name in names]
    own = [name for name in below if not any(is_foreign(part) for part in Path(name).parts)]
    return [root / name for name in photos_among(own, root)]


def find_pairs(folder: Path, bands: Bands, output: Path | None = None) -> list[Photo]:
    """Finds pairs of dates, which are named by the files in ``A/``, or in the first date's folder of another name.

    Raises:
        DataError: the folder does not have two folders of dates.
    """
    names = date_folders(folder)
    if names is None:
        raise DataError(
            f"input={folder}: a model of change detection needs a folder with A/ and B/, the two dates, or such as t1/ "
            f"and t2/{what_is_there(folder)}"
        )
    _, photos = find_photos(str(folder.absolute() / names[0]), output=output)
    return [
        Photo(
            photo.name,
            photo.path,
            lambda path=photo.path: read_dates([path, Path(second_date(str(path), [folder.absolute()]))], bands),  # type: ignore[misc]
        )
        for photo in photos
    ]


def name_photos(paths: list[Path], root: Path, bands: Bands = PHOTOS) -> list[Photo]:
    """Names images by their paths below ``root``; with the extension where another image would have the same name."""
    whole = [PurePosixPath(p.absolute().relative_to(root.absolute()).as_posix()) for p in paths]
    names = [str(name.with_suffix("")) for name in whole]
    while True:  # "a.jpg" and "a.png" keep their extensions, and then "a.jpg.png" must keep its own too
        count = Counter(map(canonical, names))
        unique = [str(full) if count[canonical(name)] > 1 else name for full, name in zip(whole, names, strict=True)]
        if unique == names:
            break
        names = unique
    return [
        Photo(name, path, lambda path=path: read_bands(path, bands))  # type: ignore[misc]
        for path, name in zip(paths, names, strict=True)
    ]


def read_paths(path: Path) -> list[Path]:
    """Reads the images of a list file: a whole line, or its part before a tab or a blank, whichever is a file.

    Paths are relative to the list's folder, to one above it, or to the folder in a ``split.json`` of
    ``unimatch.split``.

    Raises:
        DataError: naming the first line whose image does not exist.
    """
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    bases, found = base_folders(path), []
    for number, line in enumerate(lines, start=1):
        before_tab, first_word = line.partition("\t")[0], next(iter(line.split()), "")
        parts = dict.fromkeys(part.strip() for part in (line, before_tab, first_word))
        candidates = [base / part for base in bases for part in parts if part]
        existing = next((candidate for candidate in candidates if candidate.is_file()), None)
        if existing is not None:
            found.append(existing)
        elif candidates:
            raise DataError(
                f"{path}, line {number}: no such image: {candidates[0]}; paths are relative to the list or to a folder "
                f"above it{wrongly_separated(line)}"
            )
    return found


def base_folders(path: Path) -> list[Path]:
    """Returns the folders that the paths of a list may be relative to."""
    folders = list(path.absolute().parents)
    for folder in folders[:2]:
        try:
            facts = json.loads((folder / "split.json").read_text(encoding="utf-8"))
            return [Path(facts["relative_to"]), *folders]
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return folders


def open_video(path: Path) -> tuple[int, Iterator[Photo]]:
    """Opens a video: returns the number of frames in its header, and its frames, which are named by number.

    Raises:
        DataError: OpenCV is missing, or cannot read the video.
    """
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
