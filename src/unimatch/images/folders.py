"""Walks folders and tells photos from masks, thumbnails and the files of operating systems."""

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unimatch.errors import DataError
from unimatch.images.file_kinds import IMAGE_SUFFIXES
from unimatch.images.label_files import exported
from unimatch.wording import counted

log = logging.getLogger("unimatch")

SYSTEM_FOLDERS = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),  # of file servers
        *("__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found", "thumbnails"),
        "__pycache__",
    }
)
"""Folders, in lower case, that file servers, operating systems and viewers make for thumbnails and deleted files."""

PREDICTED = "predict.json"
"""A file that ``python -m unimatch.predict`` writes into its output folder; such a folder holds no photos."""

NON_IMAGE_SUFFIXES = frozenset(
    {
        *(".cfg", ".csv", ".db", ".doc", ".docx", ".html", ".identifier", ".ini", ".json", ".log", ".md", ".pdf"),
        *(".py", ".rtf", ".tfw", ".toml", ".tsv", ".txt", ".url", ".xls", ".xlsx", ".xml", ".yaml", ".yml"),
    }
)
"""Extensions of files that are no images. Files with other unknown extensions are counted in a warning."""
HEIC_REMEDY = "; photos of a phone in HEIC have to be converted to JPEG"

MASK_WORD = r"masks?|labels?|gt|seg|segmentations?|annot|annotations?|ground[_-]?truth"
MASK_NAME = re.compile(rf"(?P<photo>.*[^/\\])[_\-. ](?:{MASK_WORD})(?:[_-]\d+)?", re.IGNORECASE)
"""The stem of a mask that lies beside its photo, such as ``a_mask`` beside ``a.jpg``."""
MASK_FOLDER = re.compile(rf"(?:(?P<part>.*?)[_-]?)(?:{MASK_WORD}|segmentation_?class\w*|ann_dir)", re.IGNORECASE)
"""A folder of masks, such as ``masks`` beside ``images``, or ``trainannot`` beside ``train``."""
OTHER_NAMES = {
    "train": ("training", "labeled", "labelled"),
    "val": ("valid", "validation", "dev"),
    "test": ("testing",),
    "unlabeled": ("unlabelled",),
}
"""Other common names of the folder of each part."""
PARTS = tuple(name for part in ("val", "test") for name in (part, *OTHER_NAMES[part]))
"""Names of the folders of validation and test images."""
PHOTO_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "photos", "photo", "pictures", "jpegimages")
"""Common names of a folder of photos."""


def walk(folder: Path, skip: Iterable[Path] = (), *, inside: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yields each folder at or below a folder, as ``""`` or ``"a/b/"`` relative to it, with the names of its files.

    Links are followed, but no folder is yielded twice. Hidden folders, :data:`SYSTEM_FOLDERS`, output folders of
    ``unimatch.predict`` and the folders to ``skip`` are left out with everything below them; the first folder itself
    never is. With ``inside``, links to folders elsewhere are left out too, with a warning.

    Raises:
        DataError: a folder cannot be read.
    """
    root = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118 - with a separator at its end
    left_out = {os.path.realpath(path) for path in skip}
    seen = set[str]()
    for place, subfolders, names in os.walk(folder, onerror=refuse_unread, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or (seen and (real in left_out or PREDICTED in names)):
            subfolders.clear()
            continue
        if inside and not os.path.join(real, "").startswith(root):  # noqa: PTH118
            log.warning(
                "%s: is a link that leads out of %s, and is not followed; give that folder itself", place, folder
            )
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_foreign(name))
        prefix = os.path.relpath(place, folder)
        yield "" if prefix == os.curdir else prefix + os.sep, names


def refuse_unread(error: OSError) -> None:
    """Raises a DataError for a folder that cannot be read; one that does not exist counts as empty."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror}); allow it, or move it away")


def is_foreign(name: str) -> bool:
    """Tells by its name whether a file or folder was made by a system, such as macOS's ``._photo.jpg``."""
    return name[0] == "." or name.lower() in SYSTEM_FOLDERS or name.startswith(("SYNOPHOTO_THUMB", "SYNOFILE_THUMB"))


def holds_files(folder: Path) -> bool:
    """Tells whether a folder exists and has a file at any depth, those made by systems aside."""
    return folder.is_dir() and any(not is_foreign(name) for _, names in walk(folder) for name in names)


def find_images(
    directory: Path,
    *,
    masks: bool = False,
    classes: bool = False,
    skip: Iterable[Path] = (),
    remedy: str = "move or rename what is meant",
) -> list[str]:
    """Returns the image files below a folder at any depth, sorted, as paths relative to it.

    Masks of photos in the same folder, and files of kinds that are not read, are left out and counted in a warning.

    Args:
        directory: the folder.
        masks: whether it is a folder of masks, so that masks are not left out.
        classes: whether each folder in it is a class, so that none is taken for the masks of another.
        skip: folders in it that are left out.
        remedy: what the message says to do if there is no such folder, but others beside it.

    Raises:
        DataError: no such folder, or no images in it.
    """
    if not directory.is_dir():
        refuse_dead_link(directory)
        above = directory.parent
        if not (there := what_is_there(above)):
            remedy = f"remove {above} if it is not meant" if above.is_dir() else "make it"
        raise DataError(f"{directory}: no such folder{there}{(exported(above) if masks else '') or f'; {remedy}'}")
    files, others = list[str](), Counter[str]()
    for prefix, names in walk(directory, skip):
        for name in names:
            end = suffix(name).lower()
            if is_foreign(name):
                continue
            if end in IMAGE_SUFFIXES:
                files.append(prefix + name)
            elif end not in NON_IMAGE_SUFFIXES:
                inner = suffix(os.path.splitext(name)[0]).lower() if end == ".gz" else ""  # noqa: PTH122 - as in `suffix`
                others[inner + end or "without ending"] += 1
    kinds = ", ".join(f"{end} ({number})" for end, number in others.most_common(8))
    heic = "" if others.keys().isdisjoint((".heic", ".heif")) else HEIC_REMEDY
    if not files:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        held = f"; it holds {kinds}{heic or '; convert these to PNG or TIFF'}" if kinds else "; add some, or remove it"
        raise DataError(f"{directory}: no images ({known}) in this folder{held}")
    if kinds:
        note("other kinds", f"{directory}: files of kinds that are not read are passed over: {kinds}{heic}")
    return sorted(files) if masks else photos_among(sorted(files), directory, classes=classes)


def photos_among(files: list[str], directory: Path, *, classes: bool = False) -> list[str]:
    """Returns the images without the masks of photos among them, which are counted in a warning.

    With ``classes``, a mask and its photo have the same first folder.
    """
    text = "\n".join(files).lower()
    if not any(word in text for word in ("mask", "label", "gt", "seg", "annot", "truth", "ann_dir")):
        return files  # nearly always; the steps below would take seconds for a million names
    suspects = {file: photos for file in files if (photos := photos_of(file))}
    if not suspects:
        return files
    stems = {canonical(os.path.splitext(file)[0]) for file in files}  # noqa: PTH122 - as in `suffix`
    if classes:
        suspects = {
            file: {photo for photo in photos if photo.partition("/")[0] == canonical(file).partition("/")[0]}
            for file, photos in suspects.items()
        }
    masks = [file for file, photos in suspects.items() if not stems.isdisjoint(photos)]
    if masks:
        left_out = f"{counted(len(masks), 'mask')} of photos in the same folder left out, which would be no photos"
        text = f"{left_out}, such as {masks[0]}"
        note("masks among photos", f"{directory}: {text}")
    return [file for file in files if file not in set(masks)] if masks else files


def photos_of(file: str) -> set[str]:
    """Returns the photos, without extensions, whose mask a file may be by its name or folder; empty for most files.

    >>> sorted(photos_of("a_mask.png")), sorted(photos_of("train/masks/b.png"))[:2], photos_of("c.jpg")
    (['a'], ['train/b', 'train/image/b'], set())
    """
    *folders, stem = os.path.splitext(file)[0].split(os.sep)  # noqa: PTH122, PTH206 - as in `suffix`
    found, named = set[str](), MASK_NAME.fullmatch(stem)
    stems = [stem, named["photo"]] if named else [stem]
    if named:
        found.add(canonical("/".join([*folders, named["photo"]])))
    for place, folder in enumerate(folders):
        if match := MASK_FOLDER.fullmatch(folder):
            part = match["part"]
            beside = [[part], [f"{part}_images"]] if part else [[], *([name] for name in PHOTO_FOLDERS)]
            for names in beside:
                found |= {
                    canonical("/".join([*folders[:place], *names, *folders[place + 1 :], name])) for name in stems
                }
    return found


def canonical(name: str) -> str:
    """Returns a name in the form in which names are compared: without case, in one Unicode form, and with ``/``.

    File systems differ in both.

    >>> canonical("A/Mu\u0308ller") == canonical("a/m\u00fcller")
    True
    """
    return unicodedata.normalize("NFC", name).casefold().replace(os.sep, "/")


def suffix(name: str) -> str:
    """Returns the extension of a path, with its dot.

    >>> suffix("some.photo.JPG")
    '.JPG'
    """
    return os.path.splitext(name)[1]  # noqa: PTH122 - a Path object for each of a million names takes seconds


def names_of(part: str) -> tuple[str, ...]:
    """Returns the common names of the folder of a part, in lower case.

    >>> names_of("test")
    ('test', 'testing')
    """
    return (part.lower(), *OTHER_NAMES.get(part.lower(), ()))


def parts_named(folder: Path, part: str) -> list[str]:
    """Returns the folders in a folder that have one of the names of a part, the usual name first.

    Raises:
        DataError: one is a dead link, such as one to a disk that is not mounted.
    """
    names = names_of(part)
    for name in (part, *names):
        refuse_dead_link(folder / name)
    there = [name for name in subfolders(folder) if name.lower() in names]
    return sorted(there, key=lambda name: (name != part, names.index(name.lower()), name.lower() != name, name))


def refuse_dead_link(path: Path) -> None:
    """Raises a DataError if a path is a link that leads nowhere."""
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: is a link to {path.readlink()}, which is not there; correct or remove the link")


def part_folder(root: Path, part: str) -> str:
    """Returns the name of a part's folder below a root: ``valid`` or ``Val`` also count as ``val``, and so on.

    Folders of images that only have the word in their name, such as ``val_images``, are not used; a warning says so.

    >>> part_folder(Path("nowhere"), "val")
    'val'
    """
    there = parts_named(root, part)
    if len(there) > 1:
        note("folder not used", f"{root}: of {' and '.join(there)} only {there[0]} is used; join them")
    if there or not part:
        return there[0] if there else part
    if similar := [name for name in subfolders(root) if called_like(name, part) and holds_images(root / name)]:
        note("folder not used", f"{root}: not used: {', '.join(similar)}; the folder for this is called {part}")
    return part


def called_like(name: str, part: str) -> bool:
    """Tells whether a folder has a name of a part as a word in its own.

    >>> called_like("val_images", "val"), called_like("interval", "val")
    (True, False)
    """
    words = "|".join(names_of(part))
    return re.fullmatch(rf"(?:.*[_\-. ])?(?:{words})(?:[_\-. \d].*)?", name, re.IGNORECASE) is not None


def subfolders(root: Path) -> list[str]:
    """Returns the names of the folders in a root, sorted, without those made by systems; empty if there is no root."""
    try:
        with os.scandir(root) as entries:  # needs no further call for each entry, of which there may be a million
            return sorted(entry.name for entry in entries if not is_foreign(entry.name) and entry.is_dir())
    except OSError as error:
        refuse_unread(error)
        return []


def holds_images(folder: Path) -> bool:
    """Tells whether a folder has a file with the extension of an image, at any depth."""
    return any(suffix(name).lower() in IMAGE_SUFFIXES for _, names in walk(folder) for name in names)


def spelled(path: str) -> str:
    """Says, for a message, that a missing file is there with another case, Unicode form or extension; empty if not."""
    folder, name = os.path.split(path)
    with suppress(OSError):
        for other in os.listdir(folder):  # noqa: PTH208 - as in `suffix`
            if name != other and canonical(name) in (canonical(other), canonical(os.path.splitext(other)[0])):  # noqa: PTH122
                return f" (but {other!a} is there; write it so)"
    return ""


def what_is_there(folder: Path) -> str:
    """Lists the first folders in a folder, or else its first files, for the message that something in it is missing."""
    if not folder.is_dir():
        return ""
    names = subfolders(folder)
    if not names and (file := next((path.name for path in folder.iterdir() if "\\" in path.name), None)):
        return f" ({file} has its folder in its name, as Windows' archives do; unpack the archive with unzip or 7z)"
    if not names:
        names = sorted(path.name for path in folder.iterdir() if not is_foreign(path.name))
    return f" ({folder} has {', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""


def note(kind: str, text: str) -> None:
    """Warns of what was left out or interpreted; :func:`notes_taken` collects such warnings by their kind."""
    log.warning("%s", text, extra={"finding": kind})


@contextmanager
def notes_taken() -> Iterator[list[tuple[str, str]]]:
    """Collects the kinds and texts of the warnings that :func:`note` logs within the block."""
    notes: list[tuple[str, str]] = []

    def take(record: logging.LogRecord) -> bool:
        if kind := getattr(record, "finding", None):
            notes.append((kind, record.getMessage()))
        return True

    log.addFilter(take)
    try:
        yield notes
    finally:
        log.removeFilter(take)
