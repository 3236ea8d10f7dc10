"""Downloads published archives: continues interrupted downloads, and checks complete ones."""

import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from unimatch.data.prepare.archives import Archive
from unimatch.disk import check_space, no_link, sync_folder
from unimatch.errors import DataError
from unimatch.terminal import progress_bar

log = logging.getLogger("unimatch")

CHUNK = 2**20
"""Bytes read at a time."""

ATTEMPTS = 5
"""How often a connection may break in a row before a byte has arrived."""

PAUSE = 2.0
"""Seconds before the first new attempt; doubled before each further one."""

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads an archive unless it exists, and checks its size and its checksum, if one is known.

    The bytes received so far lie in ``NAME.part``, where a later call continues.

    Args:
        archive: an archive with a ``url``.
        folder: where to write it.

    Returns:
        The file.

    Raises:
        DataError: the server refuses the file or sends one of another size or content.
        WriteError: the disk has too little room.
    """
    assert archive.url is not None
    target = folder / archive.name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{archive.name}.part")
    if part.is_symlink():
        raise DataError(f"{part}: is a link, which a download is not written through; remove it")
    broken = 0
    while True:
        before = size_of(part)
        try:
            total = receive(archive, part)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise DataError(f"{archive.url}: the server says {error.code} {error.reason}") from error
            broken = 0 if size_of(part) > before else broken + 1
            if broken == ATTEMPTS:
                raise DataError(
                    f"{archive.url}: {error}; {size_of(part)} bytes are in {part}, and the same command continues there"
                ) from error
            time.sleep(PAUSE * 2 ** max(0, broken - 1))
    verify(archive, part, total)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    sync_folder(folder)
    return target


def receive(archive: Archive, part: Path) -> int | None:
    """Appends the missing rest of a file to ``part``, until the connection ends.

    Returns:
        The bytes of the whole file; None if the server does not say.

    Raises:
        ConnectionError: bytes are still missing.
    """
    have = size_of(part)
    if archive.size is not None and have == archive.size:
        return have
    request = urllib.request.Request(archive.url or "", headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        part.unlink()  # it is longer than the file on the server, which must be another one now
        raise ConnectionError("the file on the server has changed; starting again") from error
    with response:
        if have and response.status != http.client.PARTIAL_CONTENT:
            have = 0  # this server always sends the whole file
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        if archive.size is not None and total not in (None, archive.size):
            raise DataError(f"{archive.url}: the server offers {total} bytes, the published file has {archive.size}")
        check_space(part.parent, (total or archive.size or 0) - have)
        with (
            open(part, "ab" if have else "wb", opener=no_link) as file,
            progress_bar(total or archive.size, archive.name, "B", done=have, scaled=True) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and size_of(part) < total:
        raise ConnectionError(f"the connection ended at byte {size_of(part)} of {total}")
    return total


def verify(archive: Archive, part: Path, total: int | None) -> None:
    """Compares a complete file with the known size and checksum of the published one, and removes a wrong one.

    Raises:
        DataError: it is wrong.
    """
    expected = archive.size if archive.size is not None else total
    if expected is not None and size_of(part) != expected:
        found = size_of(part)
        part.unlink()
        raise DataError(f"{archive.url}: {found} bytes came, the published file has {expected}; it was removed")
    if archive.checksum is None:
        log.warning("%s: of this file no checksum is known; its size is right", archive.name)
        return
    kind, _, value = archive.checksum.partition(":")
    with part.open("rb") as file:
        found_sum = hashlib.file_digest(file, kind).hexdigest()
    if found_sum != value:
        part.unlink()
        raise DataError(
            f"{archive.url}: the {kind} checksum is {found_sum}, that of the published file {value}; it was removed"
        )


def size_of(path: Path) -> int:
    """Returns the bytes of a file; 0 if it does not exist."""
    return path.stat().st_size if path.is_file() else 0
