"""Reads files, with retries, and writes them so that a killed process or a full disk leaves the old file whole."""

import errno
import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unimatch.errors import ConfigError, DataError

log = logging.getLogger("unimatch")

BUFFER = 2**20
"""How many bytes are given to the operating system at once."""

SPARE = 2**26
"""How many bytes must stay free on the disk where data sets are prepared."""


def replace_file(
    path: Path, write: Callable[[BinaryIO], object], *, previous: Path | None = None, sync: bool = True
) -> None:
    """Writes a file under another name in the same folder, syncs it, and only then gives it its name.

    At every moment either the old file or the new one is there, whole. A failed attempt leaves no half of a file.

    Args:
        path: of the file.
        write: is given the open file.
        previous: what to call the old file from now on; None to do without it.
        sync: whether to wait until the disk has it; without, a machine that loses power may lose the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", buffering=BUFFER) as file:  # noqa: PTH123 - tests put failing disks in its place
            write(file)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105 - likewise
        os.replace(temporary, path)  # noqa: PTH105
        if sync:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def replace_text(path: Path, text: str) -> None:
    """Writes a text file as :func:`replace_file` does."""
    replace_file(path, lambda file: file.write(encoded(path, text)))


def encoded(path: Path, text: str) -> bytes:
    r"""Returns a file's text as UTF-8. Names that are no UTF-8 keep their bytes; in JSON and HTML they are escaped."""
    return text.encode(errors="backslashreplace" if path.suffix in (".json", ".html") else "surrogateescape")


def write_output(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Writes one of many files that can be made again: whole or not at all, without waiting for the disk.

    Args:
        path: of the file.
        content: its text, or a function that is given the open file.
    """
    try:
        write = (lambda file: file.write(encoded(path, content))) if isinstance(content, str) else content
        replace_file(path, write, sync=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from error


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder to disk, where the system can."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def training_goes_on(what: object) -> Iterator[None]:
    """Warns of what could not be written, and goes on: a full disk is no reason to lose what is in memory."""
    try:
        yield
    except OSError as error:
        log.warning("%s was not written: %s", what, error.strerror or error)


def check_writable(folder: Path, needed: int = 0) -> None:
    """Refuses a folder, made if it is not there, that cannot be written to or has less than ``needed`` bytes free."""
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(probe, lambda file: file.write(bytes(4096)))
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written to ({error.strerror or error}); choose hydra.run.dir"
        ) from error
    if free < needed:
        raise ConfigError(
            f"{folder}: {free / 1e9:.1f} GB are free, and the checkpoints of this training need about "
            f"{needed / 1e9:.1f} GB; make room, or choose another hydra.run.dir"
        )


def check_space(folder: Path, needed: int) -> None:
    """Refuses a folder, which need not exist yet, whose disk has no room for that many bytes."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise DataError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB are free; make room or "
            "choose another folder"
        )


WAITS = (0.2, 1.0, 5.0)
"""Seconds before each further attempt."""

PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EREMOTEIO"),
        *("ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNABORTED", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)
)
"""Errors of a file system that may pass in a moment. A missing file is not among them."""

LIMIT = 2**30
"""The most bytes that an image or mask may have."""


def read_file(path: Path) -> io.BytesIO:
    """Reads a file; where the file system fails, it tries again.

    Raises:
        OSError: it cannot be read, after several attempts if the error may pass; or it is larger than :data:`LIMIT`.
    """
    for wait in (*WAITS, None):
        try:
            with path.open("rb") as file:
                # As many bytes as there are and one more: Python sets aside as many as are asked for.
                content = file.read(min(os.fstat(file.fileno()).st_size, LIMIT) + 1)
        except OSError as error:
            if error.errno not in PASSING or wait is None:
                raise
            log.warning("%s: %s; trying again in %g s", path, error.strerror, wait)
            time.sleep(wait)
        else:
            if len(content) > LIMIT:
                raise OSError(errno.EFBIG, f"larger than {LIMIT >> 20} MiB")
            return io.BytesIO(content)
    raise AssertionError  # the last attempt returns or raises
