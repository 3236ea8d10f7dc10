"""Reads published archives without unpacking them, or the folders they were unpacked to."""

import gzip
import logging
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from unimatch.data.sources.files import lies_within
from unimatch.disk import SPARE, check_space, write_output
from unimatch.errors import DataError, UnimatchError
from unimatch.images.folders import walk
from unimatch.safe_text import one_line

log = logging.getLogger("unimatch")

LARGEST_FILE = 128 * 2**20
"""The most bytes of an image or mask; the largest published ones have 4 MB."""

LARGEST_TEXT = 2 * 2**30
"""The most bytes of an annotation file; COCO's have 470 MB."""

LARGEST_TAR = 16 * 2**30
"""The most bytes of a decompressed tar archive; SBD's has about 1.5 GB."""

UNREADABLE = (
    *(OSError, EOFError),  # unreadable or truncated files, damaged bzip2
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),  # those of each format
    *(struct.error, ValueError),  # truncated headers, impossible numbers or names
    RuntimeError,  # encrypted zip files, unknown compression methods
)
"""Errors that Python's readers of archives raise for files that are damaged or that they cannot unpack."""


@dataclass(frozen=True)
class Archive:
    """An archive that a data set's authors publish."""

    name: str
    contents: str
    """A description of its contents for messages."""
    page: str
    """The web page where it is published."""
    url: str | None = None
    """Where it can be downloaded without an account; None if it cannot."""
    size: int | None = None
    """Its bytes; None if not known."""
    checksum: str | None = None
    """``sha256:...``, ``sha1:...`` or ``md5:...``; None if not known."""
    required: bool = True
    """Whether the data set cannot be prepared without it."""


@dataclass(frozen=True)
class Member:
    """A file in an archive or a folder."""

    place: Path
    """The archive or the folder."""
    name: str
    """The path in it, with ``/``."""
    size: int
    """Bytes of the uncompressed file, as the archive declares them."""
    offset: int | None = None
    """The position of the file in a tar archive."""
    link: bool = False
    """Whether it is a link or device in an archive, or a link out of a folder; such files are never read."""
    packed: int | None = None
    """Bytes that it takes in a zip archive."""

    @property
    def where(self) -> str:
        """The path by which messages name the file: that in the archive follows that of the archive."""
        return str(self.place / self.name)

    @property
    def path(self) -> Path | None:
        """The file on disk; None in an archive."""
        return None if self.place.is_file() else self.place / self.name

    def read(self, largest: int = LARGEST_FILE) -> bytes:
        """Reads the file's bytes.

        Raises:
            DataError: it is a link, larger than ``largest`` or than the archive declares, or damaged.
        """
        if self.link:
            raise DataError(f"{self.place}: {self.name} is a link or a device, which is not read; get the archive anew")
        if self.size > largest:
            raise DataError(f"{self.place}: {self.name} has {self.size} bytes; at most {largest} are expected")
        try:
            if self.path is not None:
                return self.path.read_bytes()
            if self.offset is not None:
                with self.place.open("rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
            else:
                with open_zip(self.place).open(self.name) as file:
                    content = file.read(self.size + 1)
        except UNREADABLE as error:
            raise DataError(f"{self.place}: {self.name} cannot be read ({error}); get the archive anew") from error
        if len(content) != self.size:
            raise DataError(f"{self.place}: {self.name} has not the {self.size} bytes declared; get the archive anew")
        return content


@lru_cache(maxsize=8)
def open_zip(path: Path) -> zipfile.ZipFile:
    """Opens a zip archive, once in each process."""
    return zipfile.ZipFile(path)


class Published:
    """The files in the archives of a data set, or the files that were unpacked from them.

    Args:
        source: the folder of the archives or of the unpacked files.
        archives: the archives of the data set.
        root: the folder to prepare, which is not searched unless it is the source itself.
        scratch: a folder for decompressed tar archives, in which files can be read at any position.

    Raises:
        DataError: an archive is damaged, or names a file outside its folder.
    """

    def __init__(self, source: Path, archives: Sequence[Archive], root: Path, scratch: Path) -> None:
        self.source, self.root = source, root
        self.archives = {archive.name: archive for archive in archives}
        self.found = {
            name: list(members(source / name, scratch)) for name in self.archives if (source / name).is_file()
        }
        self._unpacked: list[Member] | None = None

    def match(self, archive: str, pattern: str) -> list[tuple[re.Match[str], Member]]:
        """Returns the files of an archive whose path matches, below any folders, sorted by path.

        Args:
            archive: the archive's published name.
            pattern: a regular expression for the path below these folders.
        """
        expression = re.compile(rf"(?:.*/)?(?:{pattern})")
        if archive not in self.found and self._unpacked is None:
            self._unpacked = list(folder_members(self.source, self.root))
        matches = [
            (found, member)
            for member in self.found.get(archive, self._unpacked) or []
            if member.name.rpartition("/")[2][:1] != "." and (found := expression.fullmatch(member.name))
        ]
        for _, member in matches:
            check_name(member.place, member.name)
        return sorted(matches, key=lambda pair: pair[1].name)

    def require(self, archive: str, pattern: str) -> list[tuple[re.Match[str], Member]]:
        """Returns the files as :meth:`match` does.

        Raises:
            DataError: there are none; the message says where the missing archives are published.
        """
        matches = self.match(archive, pattern)
        if not matches:
            absent = [name for name, about in self.archives.items() if about.required and name not in self.found]
            raise DataError("\n".join(self.where_to_get(name) for name in dict.fromkeys([archive, *absent])))
        return matches

    def where_to_get(self, name: str) -> str:
        """Says what is missing of an archive, and where it is published."""
        archive = self.archives[name]
        state = "holds nothing of the kind" if name in self.found else "is not there, nor what it unpacks to"
        how = f"it is at {archive.page}, behind an account"
        if archive.url is not None:
            how = f"it is at {archive.url}, and download=true fetches it"
        return f"{self.source / name} ({archive.contents}) {state}; {how}"


def members(archive: Path, scratch: Path) -> Iterator[Member]:
    """Yields the files of a zip or tar archive.

    Raises:
        DataError: it is damaged, or names a file outside its folder.
    """
    try:
        if zipfile.is_zipfile(archive):
            yield from zip_members(archive)
        else:
            tar = decompressed(archive, scratch)
            try:
                yield from tar_members(tar, archive)
            except UNREADABLE:  # includes our own errors, which are ValueErrors
                if tar != archive:
                    tar.unlink()
                raise
    except UnimatchError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{archive}: cannot be read as an archive ({error}); get it anew") from error


def zip_members(archive: Path) -> Iterator[Member]:
    """Yields the files of a zip archive."""
    for info in open_zip(archive).infolist():
        check_name(archive, info.filename)
        mode = info.external_attr >> 16
        if not info.is_dir():
            link = bool(mode) and stat.S_IFMT(mode) == stat.S_IFLNK
            yield Member(archive, info.filename, info.file_size, link=link, packed=info.compress_size)


def tar_members(archive: Path, published: Path) -> Iterator[Member]:
    """Yields the files of an uncompressed tar archive; ``published`` is its name in messages."""
    with tarfile.open(archive, "r:") as file:
        for info in file:
            check_name(published, info.name)
            if info.size < 0:  # Python would go back, and read the same again for ever
                raise DataError(f"{published}: {info.name} has {info.size} bytes; get the archive anew")
            if not info.isdir():
                yield Member(archive, info.name, info.size, offset=info.offset_data, link=not info.isreg())


def decompressed(archive: Path, scratch: Path) -> Path:
    """Returns an uncompressed copy, kept in ``scratch``, of a gzipped tar archive; other archives as they are.

    A copy that is older than the archive is made anew.
    """
    if not is_gzip(archive):
        return archive
    target = scratch / f"{archive.name}.tar"
    if not target.is_file() or target.stat().st_mtime_ns < archive.stat().st_mtime_ns:
        with archive.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            check_space(scratch, int.from_bytes(file.read(4), "little"))  # the length modulo 4 GB
        write_output(target, partial(decompress, archive))
    return target


def is_gzip(path: Path) -> bool:
    """Tells whether a file is compressed by gzip."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def decompress(archive: Path, file: BinaryIO) -> None:
    """Decompresses a gzip file into an open file as long as the disk has room, whatever length it declares.

    Raises:
        DataError: it is damaged, or holds more than :data:`LARGEST_TAR` bytes or than the disk has room for.
    """
    written = 0
    for piece in pieces(archive):
        written += file.write(piece)
        if written > LARGEST_TAR:
            raise DataError(f"{archive}: more than {LARGEST_TAR / 1e9:.0f} GB when decompressed; get it anew")
        if shutil.disk_usage(Path(file.name).parent).free < SPARE:
            raise DataError(
                f"{archive}: the disk is full after {written / 1e9:.1f} GB of what it holds, and it declares less; "
                "get it anew, or make room"
            )


def pieces(archive: Path) -> Iterator[bytes]:
    """Yields the content of a gzip file in pieces of a megabyte."""
    try:
        with gzip.open(archive) as packed:
            while piece := packed.read(2**20):
                yield piece
    except UNREADABLE as error:
        raise DataError(f"{archive}: cannot be decompressed ({error}); get it anew") from error


def folder_members(folder: Path, skipped: Path | None = None) -> Iterator[Member]:
    """Yields the files below a folder, without those below a ``skipped`` folder in it.

    Links out of the folder are not followed: those to folders cause a warning, those to files are marked as links.
    """
    roots = (str(folder),)
    for prefix, names in walk(folder, () if skipped is None else (skipped,), inside=True):
        for name in names:
            path = folder / (prefix + name)
            if path.is_file():
                leads_out = path.is_symlink() and not lies_within(str(path), roots)
                yield Member(folder, path.relative_to(folder).as_posix(), path.stat().st_size, link=leads_out)


def check_name(archive: Path, name: str) -> None:
    """Checks the name of a file in an archive.

    Raises:
        DataError: it leads out of the folder in which the archive is unpacked, or has control characters.
    """
    if one_line(name) != name:
        raise DataError(f"{archive}: {name!r} has control characters; get the archive anew")
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain) or ".." in plain.split("/") or "\0" in name:
        raise DataError(f"{archive}: {name!r} leads out of the archive's folder; get the archive anew")
