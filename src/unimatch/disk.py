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
"""How many bytes are handed to the operating system at a time."""

TEMPORARY_PREFIX = ".unimatch-"
"""How the names of files and folders begin while they are being written."""

LOCK = ".lock"
"""A file that exists in a run directory while the training runs."""

SPARE = 2**26
"""How many bytes must stay free on the disk where data sets are prepared."""


@contextmanager
def replacing(path: Path, *, previous: Path | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """Opens a file under a random name in the same folder, and renames it after it is written and synced.

    At every moment the complete old file or the complete new one exists, and a failed attempt leaves nothing behind. A
    link in the file's place is replaced, never written through.

    Args:
        path: the file; its folder is made if it is missing.
        previous: the path that the old file is renamed to; None to drop it.
        sync: whether to wait until the name is on the disk too; if not, :func:`sync_below` does so for many files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    file = open(temporary, "xb", buffering=BUFFER, opener=no_link)  # noqa: SIM115 - a file that cannot be opened must not be removed
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)  # noqa: PTH105
        os.replace(temporary, path)  # noqa: PTH105
        if sync:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch's writer hides the OSError
        if not isinstance(cause, OSError):
            raise
        raise with_filename(cause, path) from None


def replace_file(
    path: Path, write: Callable[[BinaryIO], object], *, previous: Path | None = None, sync: bool = True
) -> None:
    """Writes a file as :func:`replacing` does; ``write`` is called with the open file."""
    with replacing(path, previous=previous, sync=sync) as file:
        write(file)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file as :func:`replacing` does."""
    replace_file(path, lambda file: file.write(encoded(path, text)))


def encoded(path: Path, text: str) -> bytes:
    r"""Encodes a text as UTF-8. File names that are not UTF-8 keep their bytes, or are escaped in JSON and HTML."""
    return text.encode(errors="backslashreplace" if path.suffix in (".json", ".html") else "surrogateescape")


def write_output(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Writes one of many files that can be made again; :func:`sync_below` syncs the names of all of them.

    Args:
        path: the file.
        content: its text, or a function that is called with the open file.

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
def temporary_folder(target: Path) -> Iterator[Path]:
    """Makes a folder with a random name beside ``target``; at the end of the block it is removed, if still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Removes a file, a folder with its content, or a link but not what it leads to; a missing path is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Returns an unpredictable path in the folder of a path."""
    return path.absolute().with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp")


def no_link(path: str, flags: int) -> int:
    """Opens a file, but follows no link in its place; an ``opener`` for :func:`open`."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # Windows has no such flag


def with_filename(error: OSError, path: Path) -> OSError:
    """Adds the file's name to an error of writing: the system leaves it out if the disk is full."""
    if error.errno is not None and error.filename is None:
        error.filename = str(path)
    return error


def append(path: Path, text: str, *, sync: bool = True) -> None:
    """Appends text to a file, all of it or nothing.

    Args:
        path: the file, which must exist.
        text: what to append.
        sync: whether to wait until it is on the disk.

    Raises:
        OSError: it cannot be written, or a link lies in its place.
    """
    whole = path.lstat().st_size
    file = open(path, "ab", opener=no_link)  # noqa: SIM115 - if it cannot be opened, there is nothing to undo
    try:
        with file:
            file.write(encoded(path, text))
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except OSError as error:
        with open(path, "r+b", opener=no_link) as longer:
            longer.truncate(whole)
        raise with_filename(error, path) from None


def sync_below(folder: Path) -> None:
    """Syncs the names of the files in a folder and in all folders below it to the disk.

    Raises:
        WriteError: the disk is full.
        DataError: they cannot be written.
    """
    try:
        for place, _, _ in os.walk(folder):
            sync_folder(Path(place))
    except OSError as error:
        raise unwritable(f"{folder}: cannot be written ({error.strerror or error})", error) from error


def sync_folder(folder: Path) -> None:
    """Syncs the names of the files in a folder to the disk, if the system can."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):  # from file systems that do not support it
                raise
        finally:
            os.close(descriptor)


NO_ROOM = frozenset(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if hasattr(errno, name))
"""Errors of writing for which the program is not at fault."""


def lacks_room(error: BaseException) -> bool:
    """Tells whether an error, or its cause, is that of a full disk or quota."""
    full = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
    return any(isinstance(one, OSError) and one.errno in full for one in (error, error.__cause__))


def unwritable(message: str, error: OSError) -> UnimatchError:
    """Converts an error of writing to a :class:`WriteError` if the disk is full, else to a :class:`DataError`."""
    return WriteError(f"{message}; make room") if lacks_room(error) else DataError(message)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends the process with the status that a command returns, or that of a full disk if it cannot print."""
    try:
        status = main()
        sys.stdout.flush()
    except OSError as error:
        if not lacks_room(error):
            raise
        failed = unwritable(f"what this prints cannot be written ({error.strerror or error})", error)
        print(f"unimatch: {failed}", file=sys.stderr)  # noqa: T201 - it ends a command
        status = failed.status
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - Python flushes it on exit
    sys.exit(status)


unwritten: dict[Path, str] = {}
"""Files of the training whose last attempt to be written failed, each with a line that says why."""


@contextmanager
def training_goes_on(
    path: Path, errors: type[Exception] | tuple[type[Exception], ...] = OSError, of: str = ""
) -> Iterator[None]:
    """Lets a training go on if a file cannot be written: warns, and notes it in :data:`unwritten`.

    A full disk is no reason to lose what is in memory.

    Args:
        path: the file or folder.
        errors: the errors that do not end the training.
        of: which state of the training the file is of, for messages; appended to the path.
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
    """Checks at the end of a training that all its files were written.

    Args:
        remedy: how to get the missing files, for the message.

    Raises:
        WriteError: some could not be written.
    """
    if unwritten:
        raise WriteError(
            "trained to the end, but files are missing, or are older or shorter than they should be:\n"
            + "".join(f"  {text}\n" for text in unwritten.values())
            + f"Make room, or correct what stands in the way; {remedy}"
        )


def check_writable(folder: Path, needed: int = 0) -> None:
    """Makes a folder if it is missing, and checks that it can be written to.

    Raises:
        ConfigError: it cannot.
        WriteError: fewer than ``needed`` bytes are free on its disk.
    """
    probe = temporary_name(folder / "probe")
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
    """Removes the files that a killed process was writing in a folder; no other process may be writing there."""
    for left in folder.glob(f"{TEMPORARY_PREFIX}*.tmp"):
        with suppress(OSError):
            left.unlink()


def check_space(folder: Path, needed: int) -> None:
    """Checks that there is room for a number of bytes on the disk of a folder, which need not exist yet.

    Raises:
        WriteError: there is not.
    """
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed + SPARE > free:
        raise WriteError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB are free; make room or "
            "choose another folder"
        )
