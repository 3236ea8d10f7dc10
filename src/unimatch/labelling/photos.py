"""Finds the photos that labels name, and tells under which names and in which parts of the data they are written."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.images.folders import canonical, names_of, suffix
from unimatch.labelling.export_files import decode_base64, read_json

PARTS = {word: part for part in ("val", "test") for word in names_of(part)}
"""Words in the path of a file by which its photos are for validation or for testing."""

PART_WORDS = {**PARTS, **dict.fromkeys(names_of("train"), "train")}
"""The same, with the words by which photos are for training."""

UNREAD_SUFFIXES = (".arw", ".cr2", ".dcm", ".dng", ".heic", ".heif", ".jxl", ".nef", ".nii", ".svg")
"""Extensions of photos in formats that are not read."""

FIRST_FOLDERS = (*PARTS, "train", "images", "img", "jpegimages")
"""Folders, in lower case, that are left out of the name a photo is written under."""


class Photo(Protocol):
    """A photo's file, wherever it lies."""

    @property
    def name(self) -> str:
        """Its path in the export."""
        ...

    def read(self) -> bytes:
        """Reads the file's bytes."""
        ...


@dataclass(frozen=True)
class Embedded:
    """A photo inside a LabelMe file, as base64."""

    member: Member
    name: str

    def read(self) -> bytes:
        """Reads the photo's bytes.

        Raises:
            DataError: the text is not base64.
        """
        return decode_base64(str(read_json(self.member).get("imageData", "")), self.member.name)


class Photos:
    """Finds the photos that labels name, by the end of their paths.

    Args:
        members: image files.
        setting: the setting that names their folder, for messages.
        called_masks: image files with names of masks, which are photos only if a label file gives their full name.
    """

    def __init__(self, members: Iterable[Member], setting: str = "images", called_masks: Iterable[Member] = ()) -> None:
        self.setting = setting
        self.called_masks: dict[str, list[Member]] = defaultdict(list)
        for member in called_masks:
            self.called_masks[member.name.rpartition("/")[2]].append(member)
        self.by_name: dict[str, list[Member]] = defaultdict(list)
        self.by_stem: dict[str, list[Member]] = defaultdict(list)
        self.by_canonical_name: dict[str, list[Member]] = defaultdict(list)
        """By names and stems without case and Unicode form, for labels that spell them differently."""
        for member in members:
            base = member.name.rpartition("/")[2]
            self.by_name[base].append(member)
            self.by_stem[base.rpartition(".")[0]].append(member)
            for name in {canonical(base), canonical(base.rpartition(".")[0])}:
                self.by_canonical_name[name].append(member)

    def find(self, name: str, near: Member) -> Member:
        """Finds the photo that the label file ``near`` calls ``name``: a path, also without extension, or a URL.

        Of several candidates the best is taken, by these criteria in turn: how many folders its path and ``name`` share
        at their ends; how many leading folders it shares with the label file; whether its folders and the label file's
        path name the same part of the data; whether its whole path is ``name``.

        Raises:
            DataError: there is none, or several are equally good.
        """
        wanted, candidates = self._found(name)
        if not candidates:
            end = suffix(wanted[-1]).lower()
            kind = f" (photos {end} are not read; convert them, and their names here)" if end in UNREAD_SUFFIXES else ""
            raise DataError(
                f"{near.where}: {name}: no such photo in the export{kind}; add it, or name the folder of "
                f"photos with {self.setting}=FOLDER"
            )

        parts = parts_in(near.name)

        def nearness(member: Member) -> tuple[int, int, bool, bool]:
            folders = member.name.split("/")[:-1]
            same = common(reversed(folders), reversed(wanted[:-1]))
            beside = common(folders, near.name.split("/")[:-1]) if member.place == near.place else -1
            return same, beside, not parts.isdisjoint(parts_in("/".join(folders))), folders == wanted[:-1]

        best = max(map(nearness, candidates))
        found = [member for member in candidates if nearness(member) == best]
        if len(found) > 1:
            raise DataError(
                f"{near.where}: {name}: may be {found[0].name} or {found[1].name}; name the folder of "
                f"photos with {self.setting}=FOLDER"
            )
        return found[0]

    def has(self, name: str) -> bool:
        """Tells whether there is a photo of this name, in any folder."""
        return bool(self._found(name)[1])

    def _found(self, name: str) -> tuple[list[str], list[Member]]:
        """Returns the parts of a name as a path, and the photos it may mean: taken literally or as a URL."""
        for path in (name, unquote(name.partition("?")[0])):
            wanted = path.replace("\\", "/").split("/")
            if candidates := self._candidates(wanted[-1]):
                return wanted, candidates
        return wanted, []

    def _candidates(self, base: str) -> list[Member]:
        """Returns the photos that a name without folders may mean."""
        found = self.by_name.get(base) or self.by_stem.get(base) or self.by_canonical_name.get(canonical(base))
        return found or self.called_masks.get(base, [])

    def others(self, used: Iterable[Photo]) -> list[Member]:
        """Returns the photos that are not ``used`` but lie in a folder with one that is."""
        taken = {(photo.place, photo.name) for photo in used if isinstance(photo, Member)}
        folders = {(place, name.rpartition("/")[0]) for place, name in taken}
        return [
            member
            for group in self.by_name.values()
            for member in group
            if (member.place, member.name.rpartition("/")[0]) in folders and (member.place, member.name) not in taken
        ]


def common(first: Iterable[str], second: Iterable[str]) -> int:
    """Counts the leading folders that two paths share."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def clean(name: str) -> str:
    r"""Returns the name to write a photo under, without a first folder such as ``train`` or ``images``.

    Of a path that leads out of the export only the last part is kept.

    >>> clean("a/./b.jpg"), clean("../../b.jpg"), clean("C:\\photos\\b.jpg"), clean("train/b.jpg")
    ('a/b.jpg', 'b.jpg', 'b.jpg', 'b.jpg')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if leads_out(name) or len(parts) < 2:
        return parts[-1].rpartition(":")[2] if parts else "photo"
    return "/".join(parts[1:] if parts[0].lower() in FIRST_FOLDERS else parts)


def leads_out(name: str) -> bool:
    r"""Tells whether a name is an absolute path or a URL, or has ``..`` in it.

    >>> leads_out("a/b.jpg"), leads_out("../b.jpg"), leads_out("C:\\b.jpg")
    (False, True, True)
    """
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or any(":" in part for part in parts)


def named_as(name: str, photo: Photo) -> str:
    """Returns the name to write a photo under that a label file lists as ``name``; its last part is the file's own.

    >>> from pathlib import Path
    >>> named_as("s1/my%20photo", Embedded(Member(Path(), "", 0), "images/my photo.jpg"))
    's1/my photo.jpg'
    """
    return str(PurePosixPath(clean(name)).with_name(PurePosixPath(photo.name).name))


def name_of(path: str) -> str:
    """Returns the name to write a photo under, without any folder such as ``train`` or ``images`` in its path.

    >>> name_of("train/images/a.jpg"), name_of("images/val2017/drive1/a.jpg")
    ('a.jpg', 'drive1/a.jpg')
    """
    *folders, base = path.split("/")
    kept = [folder for folder in folders if folder.lower().rstrip("0123456789") not in FIRST_FOLDERS]
    return clean("/".join([*kept, base]))


def parts_in(path: str) -> set[str]:
    """Returns the parts of the data that the words in a path name.

    >>> sorted(parts_in("train2017/valid/a")), parts_in("images/a")
    (['train', 'val'], set())
    """
    return {PART_WORDS[word] for word in re.split(r"[\W_\d]+", path.lower()) if word in PART_WORDS}


def part_of_listed(file: str, name: str) -> str:
    """Returns the part of a photo, by the path of its label file or else by the folders in the photo's name.

    Folders of an absolute path or a URL do not count: they may be those of any computer.

    >>> part_of_listed("train.json", "val/a.jpg"), part_of_listed("all.json", "val/a.jpg")
    ('train', 'val')
    >>> part_of_listed("all.json", "/home/test/a.jpg")
    'train'
    """
    folders = "" if leads_out(name) else name.replace("\\", "/").rpartition("/")[0]
    return part_of(file if parts_in(file) else folders)


def part_of(path: str) -> str:
    """Returns the part of the data that the words in a path name: ``val``, ``test``, else ``train``.

    >>> part_of("annotations/instances_val2017.json"), part_of("valid/a.jpg"), part_of("interval/a.jpg")
    ('val', 'val', 'train')
    """
    words = re.split(r"[\W_\d]+", path.lower())
    return next((PARTS[word] for word in words if word in PARTS), "train")
