"""The files of an export: a folder, a zip archive or a single file, read without unpacking and without leaving it."""

import base64
import binascii
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from PIL import Image

from unimatch.data.prepare.archives import LARGEST_TEXT, Member, members, open_zip
from unimatch.data.sources.files import lies_within
from unimatch.errors import DataError
from unimatch.folders import alike, is_foreign, walk
from unimatch.images import IMAGE_SUFFIXES, open_image

LARGEST_NOTE = 256 * 2**20
"""Bytes of an annotation file that is read as a whole; longer ones are read in pieces."""

PARTS = {"val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}
"""Words in the path of a file that say to which part of the data its photos belong."""

FIRST_FOLDERS = (*PARTS, "train", "images", "img", "jpegimages")
"""Folders that are no part of a photo's name."""


JSON_KINDS = {
    "coco": r'\s*\{.*"(images|annotations|categories)"\s*:\s*\[',
    "labelme": r'\s*\{.*"shapes"\s*:\s*\[',
    "labelstudio": r'\s*\[\s*\{.*"(annotations|predictions|completions)"\s*:',
    "supervisely": r'\s*\{.*"(classes|objects)"\s*:\s*\[',
}
"""What the first 64 kB of JSON files of these formats look like; the first that fits counts."""


class Photo(Protocol):
    """A photo's file, wherever it lies."""

    @property
    def name(self) -> str:
        """Its path in the export."""
        ...

    def read(self) -> bytes:
        """The file's bytes."""
        ...


@dataclass(frozen=True)
class Embedded:
    """A photo inside a LabelMe file, as base64."""

    member: Member
    name: str

    def read(self) -> bytes:
        """The photo's bytes.

        Raises:
            DataError: they are no base64.
        """
        return decode_base64(str(read_json(self.member).get("imageData", "")), str(self.member.name))


class Source:
    """The files of one export.

    Args:
        path: a folder, a zip archive, or one file of a folder.

    Raises:
        DataError: there is no such file, it is a damaged archive, or a name or link in it leads out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            found = folder_files(path)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder; give the export that the label tool has written")
        elif path.suffix.lower() in (".zip", ".tar"):
            with path.open("rb") as file:
                if file.read(2) == b"\x1f\x8b":
                    raise DataError(f"{path}: is compressed as a whole; unpack it and give the folder")
            found = members(path, path.parent)
        else:
            found = iter([Member(path.parent, path.name, path.stat().st_size)])
        self.files = {member.name: member for member in sorted(found, key=lambda member: member.name)
                      if not any(map(is_foreign, filter(None, member.name.split("/"))))}  # fmt: skip

    def matching(self, pattern: str) -> list[Member]:
        """The files whose whole path fits a regular expression, with any folders before it, sorted."""
        expression = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        return [member for name, member in self.files.items() if expression.fullmatch(name) and not member.link]

    @cached_property
    def json_kinds(self) -> dict[str, list[Member]]:
        """The JSON files of each of :data:`JSON_KINDS`, sorted."""
        kinds: dict[str, list[Member]] = {kind: [] for kind in JSON_KINDS}
        for member in self.matching(r"[^/]+\.json"):
            text = head(member)
            kind = next((kind for kind, form in JSON_KINDS.items() if re.match(form, text, re.DOTALL)), None)
            if kind is not None:
                kinds[kind].append(member)
        return kinds

    def images(self) -> list[Member]:
        """The files that are images by their endings, sorted."""
        return [member for name, member in self.files.items() if Path(name).suffix.lower() in IMAGE_SUFFIXES]


def folder_files(folder: Path) -> Iterator[Member]:
    """The files below a folder; those behind links that lead out of it are marked as links, and never read."""
    for prefix, names in walk(folder):
        inside = not prefix or lies_within(str(folder / prefix), (str(folder),))
        for name in names:
            path = folder / (prefix + name)
            if path.is_file():
                leads_out = not inside or (path.is_symlink() and not lies_within(str(path), (str(folder),)))
                yield Member(folder, path.relative_to(folder).as_posix(), path.stat().st_size, link=leads_out)


class Photos:
    """Finds the photos that labels name, by the end of their paths.

    Args:
        members: image files.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self.by_name: dict[str, list[Member]] = defaultdict(list)
        self.by_stem: dict[str, list[Member]] = defaultdict(list)
        self.by_likeness: dict[str, list[Member]] = defaultdict(list)
        """By names without case and Unicode form, for those that are written otherwise."""
        for member in members:
            base = member.name.rpartition("/")[2]
            self.by_name[base].append(member)
            self.by_stem[base.rpartition(".")[0]].append(member)
            for name in {alike(base), alike(base.rpartition(".")[0])}:
                self.by_likeness[name].append(member)

    def find(self, name: str, near: Member) -> Member:
        """The photo that a label file calls ``name``; its ending may be left out.

        Of several the one whose path agrees longest with ``name`` from its end is taken, then the one that lies in
        the same folders as the label file.

        Raises:
            DataError: there is none, or several are equally near.
        """
        wanted = name.replace("\\", "/").split("/")
        candidates = self._candidates(wanted[-1])
        if not candidates:
            raise DataError(
                f"{near.place / near.name}: {name}: no such photo in the export; add it, or name the folder of "
                "photos with images=FOLDER"
            )

        def nearness(member: Member) -> tuple[int, int]:
            path = member.name.split("/")
            same = common(reversed(path[:-1]), reversed(wanted[:-1]))
            return same, common(path[:-1], near.name.split("/")[:-1]) if member.place == near.place else -1

        best = max(map(nearness, candidates))
        found = [member for member in candidates if nearness(member) == best]
        if len(found) > 1:
            raise DataError(
                f"{near.place / near.name}: {name}: may be {found[0].name} or {found[1].name}; name the folder of "
                "photos with images=FOLDER"
            )
        return found[0]

    def has(self, name: str) -> bool:
        """Whether there is a photo of this name, in any folder."""
        return bool(self._candidates(name.replace("\\", "/").rpartition("/")[2]))

    def _candidates(self, base: str) -> list[Member]:
        """The photos that a name without folders may mean."""
        return self.by_name.get(base) or self.by_stem.get(base) or self.by_likeness.get(alike(base), [])

    def others(self, used: Iterable[Photo]) -> list[Member]:
        """The photos that are not in use but lie in a folder with one that is."""
        taken = {(photo.place, photo.name) for photo in used if isinstance(photo, Member)}
        folders = {(place, name.rpartition("/")[0]) for place, name in taken}
        return [
            member
            for group in self.by_name.values()
            for member in group
            if (member.place, member.name.rpartition("/")[0]) in folders and (member.place, member.name) not in taken
        ]


def common(first: Iterable[str], second: Iterable[str]) -> int:
    """How many names two paths share from their beginning."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def clean(name: str) -> str:
    r"""A photo's name to write it under: a path that leads elsewhere is cut to its last part.

    A first folder that only says what the photos are for is left out.

    >>> clean("a/./b.jpg"), clean("../../b.jpg"), clean("C:\\photos\\b.jpg"), clean("train/b.jpg")
    ('a/b.jpg', 'b.jpg', 'b.jpg', 'b.jpg')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    leads_out = name.startswith(("/", "\\")) or ".." in parts or any(":" in part for part in parts)
    if leads_out or len(parts) < 2:
        return parts[-1].rpartition(":")[2] if parts else "photo"
    return "/".join(parts[1:] if parts[0].lower() in FIRST_FOLDERS else parts)


def part_of(path: str) -> str:
    """The part of the data that a path speaks of: ``val``, ``test``, else ``train``.

    >>> part_of("annotations/instances_val2017.json"), part_of("valid/a.jpg"), part_of("interval/a.jpg")
    ('val', 'val', 'train')
    """
    words = re.split(r"[\W_\d]+", path.lower())
    return next((PARTS[word] for word in words if word in PARTS), "train")


def read_text(member: Member) -> str:
    """A file's text.

    Raises:
        DataError: it cannot be read, or is no UTF-8.
    """
    try:
        return member.read(LARGEST_NOTE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{member.place / member.name}: is no UTF-8 text ({error}); export it again") from error


def read_json(member: Member) -> dict[str, Any]:
    """What a small JSON file holds, an object.

    Raises:
        DataError: it is cut short or holds something else.
    """
    try:
        content = json.loads(read_text(member))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{member.place / member.name}: is no whole JSON ({error}); export it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{member.place / member.name}: expected a JSON object; export it again")
    return content


def head(member: Member) -> str:
    """The first 64 kB of a file as text, to tell what it is."""
    with opened(member) as file:
        return file.read(2**16).decode("utf-8", "replace")


@contextmanager
def opened(member: Member) -> Iterator[BinaryIO]:
    """A file, to be read in pieces.

    Raises:
        DataError: it is a link, or too large.
    """
    if member.link or member.size > LARGEST_TEXT:
        raise DataError(f"{member.place / member.name}: is a link, or larger than {LARGEST_TEXT / 1e9:.0f} GB")
    if member.path is not None:
        with member.path.open("rb") as file:
            yield file
    elif member.offset is not None:
        yield io.BytesIO(member.read(LARGEST_TEXT))
    else:
        with open_zip(member.place).open(member.name) as packed:
            yield packed  # type: ignore[misc]


def decode_base64(text: str, where: str) -> bytes:
    """Bytes written as base64.

    Raises:
        DataError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: its picture is no base64 ({error}); export it again") from error


def open_picture(content: bytes, where: str) -> Image.Image:
    """An image, not yet decoded, from a file's bytes.

    Raises:
        DataError: it is none, or of more pixels than Pillow allows.
    """
    try:
        return open_image(io.BytesIO(content))
    except Exception as error:  # a damaged file can raise nearly anything in Pillow
        raise DataError(f"{where}: cannot be read as an image ({error}); repair or remove it") from error


def size_of(content: bytes, where: str) -> tuple[int, int]:
    """Width and height of a photo, upright as its EXIF orientation says, from its header.

    Raises:
        DataError: it is no image, or of more pixels than Pillow allows.
    """
    with open_picture(content, where) as image:
        width, height = image.size
        # Pillow decodes all of a PNG to look for EXIF behind the pixels.
        described = image.format != "PNG" or any(mark in content for mark in (b"xif", b"XIf", b"rientation"))
        try:
            turned = described and image.getexif().get(274, 1) in (5, 6, 7, 8)
        except Exception as error:
            raise DataError(f"{where}: its EXIF cannot be read ({error}); repair or remove it") from error
    return (height, width) if turned else (width, height)


@contextmanager
def opened_mask(content: bytes, where: str, size: tuple[int, int]) -> Iterator[Image.Image]:
    """Opens a mask image, which is not yet decoded; whatever goes wrong with it becomes a DataError.

    Args:
        content: the file's bytes.
        where: for messages.
        size: width and height that it must have, upright; compared before memory for it is taken.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    found = size_of(content, where)
    if found != size:
        raise DataError(
            f"{where}: the mask has {found[0]} x {found[1]} pixels and its photo {size[0]} x {size[1]}; export both "
            "at one size"
        )
    try:
        with open_picture(content, where) as image:
            yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{where}: cannot be read as an image ({error}); repair or remove it") from error
