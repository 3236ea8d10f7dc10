"""Chooses labelled images by number and seed, and reads list files."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from unimatch.data.sources.files import FilePairs, lies_within, outside
from unimatch.errors import ConfigError, DataError
from unimatch.images.folders import spelled
from unimatch.options import seed_of_numpy
from unimatch.read_file import read_text, why_no_text
from unimatch.safe_text import wrongly_separated
from unimatch.wording import counted

CHECKED_LINES = 1000
"""The most lines of a list whose files are looked for when it is read; longer lists are sampled evenly."""

LABELED = ("labeled.txt", "train.txt")
"""Names of the list of labelled images in a split's folder."""


def choose_labeled(total: int, labeled: int | None, seed: int) -> tuple[list[int], list[int]]:
    """Splits ``range(total)`` into labelled and remaining indices, both ascending.

    All sizes share one random order, so that the 12 labelled images of a seed are among its 24.

    Args:
        total: number of images that have a mask.
        labeled: how many of them to use as labelled; None for all.
        seed: of the random order.

    Raises:
        ConfigError: ``labeled`` is below 1 or above ``total``, or the seed is none.

    >>> choose_labeled(5, 2, seed=0)
    ([2, 4], [0, 1, 3])
    """
    seed_of_numpy(split_seed=seed)
    if labeled is None:
        labeled = total
    if labeled < 1:
        raise ConfigError(f"labeled={labeled}: at least one labelled image is needed")
    if labeled > total:
        raise ConfigError(
            f"labeled={labeled}: the data set has only {counted(total, 'image')} with a mask to train on, without "
            "those held out"
        )
    order = np.random.default_rng(seed).permutation(total).tolist()
    return sorted(order[:labeled]), sorted(order[labeled:])


def read_list(
    path: Path,
    root: Path,
    *,
    masks: bool,
    allow_outside: bool = False,
    allow_missing: bool = False,
    folders: tuple[str, ...] | None = None,
) -> FilePairs:
    """Reads a list in the published format: ``image_path mask_path`` a line, relative to ``root``.

    The two are separated by blanks, or by a tab if names hold blanks. The files of up to :data:`CHECKED_LINES` lines
    are looked for.

    Args:
        path: the list file.
        root: the folder its paths are relative to.
        masks: whether each line must name a mask; if not, a mask may be named and need not exist.
        allow_outside: whether lines may name files outside ``root``, by an absolute path, ``..`` or a link.
        allow_missing: whether lines may name missing files, which the full check then reports; at least one image
            must exist.
        folders: if given, a line is one name instead: that of the image in the first of these folders and of its mask
            in the second one, if there is one.

    Raises:
        DataError: the list cannot be read or is empty, or a line is malformed or names a missing file or one outside
            ``root``.
    """
    lines = read_lines(path)
    base = os.path.normpath(root.absolute())
    below = os.path.join(base, "")  # noqa: PTH118 - ends in the separator
    pairs: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        parts = split_line(line)
        if folders is not None and parts:
            parts = [f"{folder}/{line.strip()}" for folder in folders]
        if not parts:
            continue
        if len(parts) > 2 or (masks and len(parts) < 2):
            form = "'image_path mask_path'" if masks else "'image_path' or 'image_path mask_path'"
            raise DataError(f"{path}, line {number}: expected {form}, found {line!r}{wrongly_separated(line)}")
        files = [locate(base, part) for part in parts]
        for part, file in zip(parts, files, strict=True):
            if not (allow_outside or file.startswith(below)):
                refuse_elsewhere(f"{path}, line {number}", part, file, base)
                raise DataError(outside(f"{path}, line {number}", part, base))
        # Published lists write "None" in the place of a mask that does not exist.
        pairs.append((files[0], files[1] if len(parts) == 2 and parts[1] != "None" else None))
    if not pairs:
        raise DataError(f"{path}: the list is empty")
    count = min(len(pairs), CHECKED_LINES)
    looked_at = [i * len(pairs) // count for i in range(count)]
    if allow_missing and any(Path(pairs[i][0]).is_file() for i in looked_at):
        looked_at = []
    for index in looked_at:
        for kind, name in zip(("image", "mask"), pairs[index], strict=True):
            if name is None or (kind == "mask" and not masks):
                continue
            if not Path(name).is_file():
                number = line_number(lines, index)
                heading = number == 1 and not Path(name).suffix
                guess = "; is this a heading? Remove it" if heading else "; is this a list of another data set?"
                hint = spelled(name) or wrongly_separated(lines[number - 1]) or guess
                raise DataError(f"{path}, line {number}: no such {kind}: {name}{hint}")
            if not allow_outside and not lies_within(name, (base,)):
                raise DataError(outside(f"{path}, line {line_number(lines, index)}", name, base))
    return FilePairs(pairs)


def refuse_elsewhere(where: str, name: str, file: str, base: str) -> None:
    """Refuses a name that leads out of the root to a missing file, as in a list from another computer.

    Raises:
        DataError: the file does not exist.
    """
    if os.path.exists(file):  # noqa: PTH110
        return
    hint = "; without its first / it is there" if os.path.exists(f"{base}/{name}") else ""  # noqa: PTH110
    raise DataError(
        f"{where}: no such file: {name}; is the list from another computer? Paths are relative to {base}{hint}"
    )


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a list.

    Raises:
        DataError: it cannot be read, or is no text file.
    """
    try:
        text = read_text(path, errors="surrogateescape")  # file names may be any bytes
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error})") from error
    if "\0" in text or text.startswith(("\udcff\udcfe", "\udcfe\udcff")):  # as UTF-16 begins
        raise DataError(f"{path}: the list cannot be read ({why_no_text(text)})")
    return text.split("\n")


def split_line(line: str) -> list[str]:
    r"""Splits a line into its paths.

    >>> split_line("a.jpg  a.png"), split_line("my photo.jpg\tmy photo.png")
    (['a.jpg', 'a.png'], ['my photo.jpg', 'my photo.png'])
    """
    if "\t" in line:
        return [part.strip() for part in line.split("\t") if part.strip()]
    return line.split()


def locate(base: str, name: str) -> str:
    """Returns a path in a list as an absolute path, without ``.`` and ``..``.

    >>> locate("/data", "a/../b.jpg"), locate("/data", "../b.jpg"), locate("/data", "/b.jpg")
    ('/data/b.jpg', '/b.jpg', '/b.jpg')
    """
    if not ("/." in name or "//" in name or name[0] in "./"):
        return f"{base}{os.sep}{name}"  # nearly always, and much faster for a million names
    return os.path.normpath(os.path.join(base, name))  # noqa: PTH118


def line_number(lines: list[str], index: int) -> int:
    """Returns the number, from 1, of the line that holds entry ``index``."""
    numbers = (number for number, line in enumerate(lines, start=1) if line.strip())
    return next(islice(numbers, index, None))


@dataclass(frozen=True)
class SplitLists:
    """The list files of a split; None for a list that does not exist."""

    labeled: Path | None = None
    unlabeled: Path | None = None
    val: Path | None = None
    train: Path | None = None
    """The list of all training images, labelled or not."""
    test: Path | None = None


def find_split(splits: Path, dataset: str, split: str | int | None) -> SplitLists:
    """Finds a split below a folder of list files.

    The published layout is ``SPLITS/DATASET/SPLIT/{labeled,unlabeled}.txt`` with ``SPLITS/DATASET/val.txt``. The folder
    of the data set may be left out, ``val.txt`` may lie beside the other two, and ``labeled.txt`` may be called
    ``train.txt``.

    Args:
        splits: the folder.
        dataset: name of the data set.
        split: name of the split; None if the lists lie in the folder itself. A number also stands for a name that Hydra
            reads as this number, such as 116 for ``1_16``.

    Raises:
        ConfigError: there is no such folder or split.
    """
    if not splits.is_dir():
        raise ConfigError(f"splits={splits}: no such folder (looked at {splits.resolve()})")
    base = splits / dataset if (splits / dataset).is_dir() else splits
    folder = base
    if split is not None:
        found = sorted(path.name for path in base.iterdir() if path.is_dir() and first_file(path, LABELED))
        same = [name for name in found if name == str(split)] or [name for name in found if reads_as(name) == split]
        if len(same) != 1:
            known = ", ".join(found) or "none"
            raise ConfigError(f"split={split}: no such split in {base}; there are: {known}")
        folder = base / same[0]
    return SplitLists(
        labeled=first_file(folder, LABELED),
        unlabeled=first_file(folder, ("unlabeled.txt",)),
        val=first_file(folder, ("val.txt",)) or first_file(base, ("val.txt",)),
        train=first_file(base, ("train.txt",)),
        test=first_file(folder, ("test.txt",)) or first_file(base, ("test.txt",)),
    )


def first_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Returns the first of some files that exists in a folder; None if none does."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def reads_as(name: str) -> int | None:
    """Returns the number as which Hydra and YAML read a name; None if it is none.

    >>> reads_as("1_16"), reads_as("all")
    (116, None)
    """
    try:
        return int(name)
    except ValueError:
        return None
