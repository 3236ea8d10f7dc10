"""Data sets whose files are named as tools, cameras and file servers name them."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from helpers.support import make_folder, write_pair


def rename(folder: Path, new_name: Callable[[Path], str]) -> None:
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(new_name(path)))


def save_as(folder: Path, new_name: Callable[[Path], str]) -> None:
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            image.save(path.with_name(new_name(path)))
        path.unlink()


def thumbnails(folder: Path, place: str, name: str) -> None:
    for path in sorted(folder.iterdir()):
        write_pair(folder / place.format(path.name) / name.format(path.name), None, size=(4, 5))


def umlauts(root: Path) -> None:
    for kind, form in (("images", "NFD"), ("masks", "NFC")):
        rename(root / kind, lambda path, form=form: unicodedata.normalize(form, f"Mü {path.name}"))


def both_words(root: Path) -> None:
    rename(root / "images", lambda path: f"{path.stem}_sat.png")
    rename(root / "masks", lambda path: f"{path.stem}_mask.png")


def leading_words(root: Path) -> None:
    rename(root / "images", lambda path: f"image_{path.name}")
    rename(root / "masks", lambda path: f"mask_{path.name}")


def numbers_behind_words(root: Path) -> None:
    rename(root / "images", lambda path: f"IMG{path.stem[1:]}.png")
    rename(root / "masks", lambda path: f"mask{path.stem[1:]}.png")


def other_kinds(root: Path) -> None:
    endings = [".jfif", ".avif", ".jp2", ".jpe", ".gif", ".ppm"]
    save_as(root / "images", lambda path: path.stem + endings[int(path.stem[1:])])
    save_as(root / "unlabeled", lambda path: path.stem + endings[int(path.stem[1:])])


SAME: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "gifmask": (lambda root: save_as(root / "masks", lambda path: f"{path.stem}_mask.gif"), {"paired by likeness"}),
    "suffix_mask": (lambda root: rename(root / "masks", lambda p: f"{p.stem}_mask.png"), {"paired by likeness"}),
    "suffix_of_camvid": (lambda root: rename(root / "masks", lambda p: f"{p.stem}_L.png"), {"paired by likeness"}),
    "words_in_both": (both_words, {"paired by likeness"}),
    "leading_words": (leading_words, {"paired by likeness"}),
    "numbers_behind_words": (numbers_behind_words, {"paired by likeness"}),
    "double_suffix": (lambda root: rename(root / "masks", lambda p: f"{p.stem}.png.png"), {"paired by likeness"}),
    "nfd": (umlauts, {"paired by likeness"}),
    "case": (lambda root: rename(root / "masks", lambda path: path.name.upper()), {"paired by likeness"}),
    "otherkinds": (other_kinds, set()),
    "eadir": (lambda root: thumbnails(root / "unlabeled", "@eaDir/{}", "SYNOPHOTO_THUMB_M.jpg"), set()),
    "eadir2": (lambda root: thumbnails(root / "images", "@eaDir/{}", "SYNOPHOTO_THUMB_M.jpg"), set()),
    "eadir_flat": (lambda root: thumbnails(root / "images", ".", "SYNOPHOTO_THUMB_{}"), set()),
    "macosx": (lambda root: thumbnails(root / "masks", "__MACOSX/masks", "._{}"), set()),
    "recycled": (lambda root: thumbnails(root / "unlabeled", "$RECYCLE.BIN", "$R{}"), set()),
    "valid": (lambda root: (root / "val").rename(root / "valid"), set()),
    "dev": (lambda root: (root / "val").rename(root / "Dev"), set()),
    "val_of_another_case": (lambda root: (root / "val").rename(root / "Validation"), set()),
    "unlabeled_of_another_case": (lambda root: (root / "unlabeled").rename(root / "Unlabeled"), set()),
    "unlabelled": (lambda root: (root / "unlabeled").rename(root / "unlabelled"), set()),
}
"""How a case is made, and the kinds of notes that it gives; what is read is what the folder held before."""


def make_plain(root: Path) -> Path:
    """Labelled, unlabelled and validation images of three classes."""
    return make_folder(root, labeled=4, unlabeled=3, val=2, classes=("soil", "plant", "stone"))
