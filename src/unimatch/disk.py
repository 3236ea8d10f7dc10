"""Writes files so that a killed process or a full disk leaves the old file whole."""

import errno
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from unimatch.errors import ConfigError, DataError, UnimatchError, WriteError, interruption

log = logging.getLogger("unimatch")

BUFFER = 2**20
"""How many bytes are given to the operating system at once."""

PASSING_PREFIX = ".unimatch-"
"""How the names of files and folders begin that are being written."""

LOCK = ".lock"
"""A file of a run directory that is there while training runs."""

SPARE = 2**26
"""How many bytes must stay free on the disk where data sets are prepared."""


@contextmanager
def replacing(path: Path, *, previous: Path | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """Opens a file under a random name in the same folder, syncs it, and only then gives it its name.

    At every moment either the old file or the new one is there, whole. A failed attempt leaves no half of a file. A
    link in the file's place is replaced, never written through.

    Args:
        path: of the file; its folder is made where it is missing.
        previous: what to call the old file from now on; None to do without it.
        sync: whether to wait until the disk has the name too; without, :func:`sync_below` does so for many files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = passing_name(path)
    file = open(temporary, "xb", buffering=BUFFER, opener=no_link)  # noqa: SIM115 - what cannot be opened is not removed
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105 - likewise
        os.replace(temporary, path)  # noqa: PTH105
        if sync:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch's writer makes one of another
        if not isinstance(cause, OSError):
            raise
        raise named(cause, path) from None


def replace_file(
    path: Path, write: Callable[[BinaryIO], object], *, previous: Path | None = None, sync: bool = True
) -> None:
    """Writes a file as :func:`replacing` does; ``write`` is given the open file."""
    with replacing(path, previous=previous, sync=sync) as file:
        write(file)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file as :func:`replacing` does."""
    replace_file(path, lambda file: file.write(encoded(path, text)))


def encoded(path: Path, text: str) -> bytes:
    r"""Returns a file's text as UTF-8. Names that are no UTF-8 keep their bytes; in JSON and HTML they are escaped."""
    return text.encode(errors="backslashreplace" if path.suffix in (".json", ".html") else "surrogateescape")


def write_output(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Writes one of many files that can be made again; :func:`sync_below` waits for the names of all.

    Args:
        path: of the file.
        content: its text, or a function that is given the open file.

    Raises:
        WriteError: the disk is full.
        DataError: it cannot be written.
    """
    try:
        write = (lambda file: file.write(encoded(path, content))) if isinstance(content, str) else content
        replace_file(path, write, sync=False)
    except OSError as error:
        raise unwritable(f"{path}: cannot be written ({error.strerror or error})", error) from error


@contextmanager
def passing_folder(target: Path) -> Iterator[Path]:
    """Makes a folder with a random name beside one that is to be written; what is left of it in the end is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    passing = passing_name(target)
    passing.mkdir()
    try:
        yield passing
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def remove(path: Path) -> None:
    """Removes a file, a folder with all that is in it, or a link alone; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def passing_name(path: Path) -> Path:
    """Returns a name beside a path that nobody can foresee."""
    return path.absolute().with_name(f"{PASSING_PREFIX}{secrets.token_hex(8)}.tmp")


def no_link(path: str, flags: int) -> int:
    """Opens a file itself, never the one that a link in its place leads to; an ``opener``."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # Windows has no such flag


def named(error: OSError, path: Path) -> OSError:
    """Gives an error of writing the file's name, which the system does not tell where the disk is full."""
    if error.errno is not None and error.filename is None:
        error.filename = str(path)
    return error


def append(path: Path, text: str, *, sync: bool = True) -> None:
    """Adds text to the end of a file, all of it or nothing; a link in the file's place is an ``OSError``.

    ``sync``: whether to wait until the disk has it.
    """
    whole = path.lstat().st_size
    file = open(path, "ab", opener=no_link)  # noqa: SIM115 - of what cannot be opened nothing is to be taken back
    try:
        with file:
            file.write(encoded(path, text))
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except OSError as error:
        with open(path, "r+b", opener=no_link) as longer:
            longer.truncate(whole)
        raise named(error, path) from None


def sync_below(folder: Path) -> None:
    """Writes the names in a folder and in all below it to disk.

    Raises:
        WriteError: the disk is full.
        DataError: it fails.
    """
    try:
        for place, _, _ in os.walk(folder):
            sync_folder(Path(place))
    except OSError as error:
        raise unwritable(f"{folder}: cannot be written ({error.strerror or error})", error) from error


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder to disk, where the system can."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):  # as file systems say that know no such thing
                raise
        finally:
            os.close(descriptor)


NO_ROOM = frozenset(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if hasattr(errno, name))
"""Errors of writing that are none of the program."""


def lacks_room(error: BaseException) -> bool:
    """Tells whether an error of writing, or what it was made of, is a disk or quota that is full."""
    full = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
    return any(isinstance(one, OSError) and one.errno in full for one in (error, error.__cause__))


def unwritable(message: str, error: OSError) -> UnimatchError:
    """Makes an error of ours of one of writing, with a status of its own where the disk is full."""
    return WriteError(f"{message}; make room") if lacks_room(error) else DataError(message)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends the process with the status that a command returns, or another if there is no room for what it prints."""
    try:
        status = main()
        sys.stdout.flush()
    except OSError as error:
        if not lacks_room(error):
            raise
        failed = unwritable(f"what this prints cannot be written ({error.strerror or error})", error)
        print(f"unimatch: {failed}", file=sys.stderr)  # noqa: T201 - it ends a command
        status = failed.status
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - Python writes what is left at its end
    sys.exit(status)


unwritten: dict[Path, str] = {}
"""The files of the training that could not be written, and have not been since, each with a line that says why."""


@contextmanager
def training_goes_on(
    path: Path, errors: type[Exception] | tuple[type[Exception], ...] = OSError, of: str = ""
) -> Iterator[None]:
    """Warns of what cannot be written, notes it in :data:`unwritten`, and goes on.

    A full disk is no reason to lose what is in memory.

    Args:
        path: of the file or folder.
        errors: what may happen.
        of: which state it is of, for the messages.
    """
    handled = sys.exception()
    try:
        yield
    except errors as error:
        if end := interruption(error, handled):
            raise end from None
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or f"{type(cause).__name__}: {cause}".partition("\n")[0]
        text = f"{path}{of} was not written: {reason}"
        if unwritten.get(path) != text:
            unwritten[path] = text
            log.warning("%s", text)
    else:
        unwritten.pop(path, None)


def check_written(remedy: str) -> None:
    """Ends a training; ``remedy`` says what brings back what is missing.

    Raises:
        WriteError: some of its files could not be written.
    """
    if unwritten:
        raise WriteError(
            "trained to the end, but files are missing, or are older or shorter than they should be:\n"
            + "".join(f"  {text}\n" for text in unwritten.values())
            + f"Make room, or correct what stands in the way; {remedy}"
        )


def check_writable(folder: Path, needed: int = 0) -> None:
    """Refuses a folder, made if it is not there, that cannot be written to or has less than ``needed`` bytes free."""
    probe = passing_name(folder / "probe")
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
        raise WriteError(
            f"{folder}: {free / 1e9:.1f} GB are free, and the checkpoints of this training need about "
            f"{needed / 1e9:.1f} GB; make room, or choose another hydra.run.dir"
        )


def remove_half_files(folder: Path) -> None:
    """Removes the files that a killed process was writing in a folder; no other one may be writing there."""
    for left in folder.glob(f"{PASSING_PREFIX}*.tmp"):
        with suppress(OSError):
            left.unlink()


def check_space(folder: Path, needed: int) -> None:
    """Refuses a folder, which need not exist yet, whose disk has no room for that many bytes."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise WriteError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB are free; make room or "
            "choose another folder"
        )
