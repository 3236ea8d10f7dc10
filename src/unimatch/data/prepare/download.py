"""Downloads published archives: a download that was interrupted goes on, and a complete one is checked."""

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
"""Times that a connection may break without a byte having come, before it is given up."""

PAUSE = 2.0
"""Seconds before the first new attempt; each further one waits twice as long."""

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads an archive unless it is there, and checks its size and, where one is known, its checksum.

    What has come so far lies in ``NAME.part``; a later call continues there.

    Args:
        archive: with a ``url``.
        folder: where to.

    Returns:
        The file.

    Raises:
        DataError: the server does not give the file, gives one of another size or content, or the disk has too
            little room.
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
    """Appends what is missing of the file, as far as the connection holds.

    Returns:
        The bytes the whole file has, None where the server does not say.
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
        part.unlink()  # more has come than the file has: it is another one now
        raise ConnectionError("the file on the server has changed; starting again") from error
    with response:
        if have and response.status != http.client.PARTIAL_CONTENT:
            have = 0  # this server always sends the whole
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
    """Compares a complete file with what is known of the published one; a wrong one is removed."""
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
    """Returns the bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0
