"""Finds the photos to choose from, which of them are labelled, and how unsure a model is of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unimatch.data.sets.own_folders import pools_of, training_place
from unimatch.data.sources.files import FilePairs, Tree, existing_root, images_alone
from unimatch.data.splits.lists import read_lines, split_line
from unimatch.errors import DataError
from unimatch.images.arrays import read_mask
from unimatch.images.folders import canonical, holds_files
from unimatch.inference.inputs import name_photos


@dataclass(frozen=True)
class Photos:
    """The photos of a folder."""

    root: Path
    files: list[Path]
    labelled: list[Path]
    """Those of ``files`` that have a mask."""
    predicted_as: dict[Path, list[Path]]
    """The names, without extension, that ``unimatch.predict`` may have given to the result of each file: they depend on
    the folder on which it was run."""

    def name_of(self, file: Path) -> str:
        """Returns a photo's path below the folder of training images or ``unlabeled/``, or else below the root."""
        within, *whole = self.predicted_as[file]
        folders = len(whole[0].parts) - len(within.parts) if whole else 0
        return Path(*file.relative_to(self.root).parts[folders:]).as_posix()


def photos_below(root: str | Path) -> Photos:
    """Finds the photos of a folder, as training does.

    In a folder that is laid out for training these are the photos in ``images/``, which are labelled if they have a
    file in ``masks/``, and those in ``unlabeled/``; the folders may have other common names
    (:mod:`unimatch.data.sets.own_folders`). In any other folder these are all photos, none of which is labelled.

    Raises:
        DataError: there is no such folder, or no photo in it, or one with a line break in its name.
    """
    path = existing_root(root)
    place = training_place(path)
    laid_out = (path / part for part in (place.images, *pools_of(path, place)))
    parts = [part for part in laid_out if holds_files(part)] or [path]
    pairs = FilePairs()
    if parts[0] == path / place.images and holds_files(path / place.masks):
        pairs = Tree(*place).images_and_masks(path)
    labelled = [Path(image) for image, mask in pairs.names() if mask is not None]
    found: dict[Path, list[Path]] = {}
    for part in parts:
        beside_masks = part == path / place.images and place.images == place.masks
        files = [Path(image) for image in (pairs if beside_masks and pairs else images_alone(part)).images()]
        for photo in name_photos(files, part):
            name = Path(photo.name)
            found[photo.path] = [name] if part == path else [name, part.relative_to(path) / name]
    if odd := next((file for file in found if "\n" in str(file.relative_to(path))), None):
        raise DataError(f"{odd}: a list cannot hold a name with a line break; rename the file")
    return Photos(path, list(found), labelled, found)


def named(photos: Photos, source: Path) -> list[Path]:
    """Returns the photos that are named in a list, or by files of the same stem in a folder, such as masks.

    Raises:
        DataError: there is no such list or folder, or it names none of the photos.
    """
    if source.is_dir():
        stems = {canonical(path.stem) for path in source.rglob("*") if path.is_file()}
        found = [path for path in photos.files if canonical(path.stem) in stems]
    elif source.is_file():
        lines = [line for line in read_lines(source) if line.strip()]
        listed = {line.strip() for line in lines} | {split_line(line)[0] for line in lines}
        found = [path for path in photos.files if {path.relative_to(photos.root).as_posix(), path.name} & listed]
    else:
        raise DataError(f"given={source}: no such list or folder")
    if not found:
        raise DataError(f"given={source}: names none of the {len(photos.files)} photos below {photos.root}")
    return found


def unsureness(folder: Path, photos: Photos) -> dict[Path, float]:
    """Returns how unsure ``unimatch.predict`` was of each photo, as a mean over its pixels.

    For one model this is 1 - confidence (``save=[confidence]``); for several, which give no confidence, it is the share
    of models that disagree with the mask (``save=[disagreement]``).

    Args:
        folder: the output of predict.
        photos: the photos of the folder on which predict was run, or of the folder above it.

    Raises:
        DataError: there are neither confidences nor disagreements, or none of these photos.
    """
    below = next((folder / kind for kind in ("confidence", "disagreement") if (folder / kind).is_dir()), None)
    if below is None:
        raise DataError(f"scores={folder}: no confidence/ there; predict the photos with save=[confidence]")
    found = {}
    for file, names in photos.predicted_as.items():
        path = next((path for name in names if (path := below / f"{name}.png").is_file()), None)
        if path is not None:
            mean = float(np.mean(read_mask(path))) / 255
            found[file] = 1 - mean if below.name == "confidence" else mean
    if not found:
        raise DataError(f"scores={folder}: knows none of the {len(photos.files)} photos of {photos.root}")
    return found
