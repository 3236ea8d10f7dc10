"""The errors a user can act on: each says what is wrong, where, and what to do."""

import errno
import pathlib
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from typing_extensions import override

from unimatch.texts import printable

TRACEBACKS = "HYDRA_FULL_ERROR"
"""The environment variable that asks, with the value 1, for the traceback of each error."""


class UnimatchError(ValueError):
    """Something in the user's input is wrong. Commands print it without a traceback and exit with :attr:`status`."""

    status = 2
    """The same command would fail again."""

    @override
    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(UnimatchError):
    """A setting, or a combination of settings, cannot work."""


class TakenError(ConfigError):
    """A run directory is another training's."""


class DataError(UnimatchError):
    """A file of the data set is missing, unreadable, or not what it should be."""


class WeightsError(UnimatchError):
    """A weights file does not fit the model it was meant for."""


class ProcessError(UnimatchError):
    """A process of the run has died, or has reached a limit of the system."""

    status = 75
    """``EX_TEMPFAIL`` of sysexits.h: resuming may well succeed."""


class WriteError(UnimatchError):
    """A disk has no room, or files of a training could not be written; the training itself went on to its end."""

    status = 74
    """``EX_IOERR`` of sysexits.h: it may succeed when there is room."""


class NumericalError(UnimatchError):
    """A loss or gradient is not finite."""


def chain_of(error: BaseException | None, handled: BaseException | None = None) -> Iterator[BaseException]:
    """Yields an error and those that it came after, up to one that was being handled already."""
    while error is not None and error is not handled:
        yield error
        error = error.__cause__ or error.__context__


def lacks_shared_memory(error: BaseException) -> bool:
    """Tells whether shared memory was full, for an error or one that came before it."""
    return any(
        (isinstance(one, OSError) and one.errno == errno.ENOSPC and one.filename is None)
        or "shared memory" in str(one)
        or "Bus error" in str(one)
        for one in chain_of(error)
    )


def lacks_open_files(error: BaseException) -> bool:
    """Tells whether a process had as many files open as it may, for an error or one that came before it."""
    return any(
        (isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE)) or "Too many open files" in str(one)
        for one in chain_of(error)
    )


OPEN_FILES = (
    "more files are open at once than the system allows: raise the limit (ulimit -n 4096 in the shell, LimitNOFILE of "
    "a service), or use fewer loading processes (workers)"
)
"""What to do about :func:`lacks_open_files`."""


def is_of_a_worker(error: BaseException) -> bool:
    """Tells whether PyTorch raised this because a process that loads images has died."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)


def worker_behind(error: BaseException) -> BaseException | None:
    """Returns the error of :func:`is_of_a_worker` that an error is or comes from; None where there is none."""
    return next(filter(is_of_a_worker, chain_of(error)), None)


def interruption(error: BaseException, handled: BaseException | None = None) -> BaseException | None:
    """Finds what must end a run behind an error: Ctrl-C, an exit, or a process that loads images and has died.

    Each comes by a signal, wherever the main process is just then: also within a ``try`` that is about files. What is
    open there may raise an error of its own when it is closed, such as torch's writer of an archive that is half done.

    Args:
        error: what was raised.
        handled: what was being handled before, and is known.

    Returns:
        The error that tells of it; None where there is none.
    """
    ends = (one for one in chain_of(error, handled) if is_of_a_worker(one) or not isinstance(one, Exception))
    return next(ends, None)


def told(error: BaseException) -> str:
    """Says in a line what an error is, and where own code has raised it: ``KeyError: 'a' (own.py, line 8)``."""
    kind, message, place = type(error).__name__, first_line(error), own_place(error)
    return (kind if message == kind else f"{kind}: {message}") + (f" ({place})" if place else "")


def own_place(error: BaseException) -> str | None:
    """Returns where the user's own code was when an error was raised, ``own.py, line 8``; None if it was not there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = pathlib.Path(frame.filename)
        if path.is_file() and is_own(path):
            return f"{path.name}, line {frame.lineno}"
    return None


def is_own(path: pathlib.Path) -> bool:
    """Tells whether a file of code is neither Python's, nor an installed library's, nor this package's.

    >>> is_own(pathlib.Path("/home/me/mine.py")), is_own(pathlib.Path("/home/me/.local/lib/site-packages/torch/nn.py"))
    (True, False)
    """
    installed = (sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    others = [*map(pathlib.Path, installed), pathlib.Path(__file__).parent]
    named = {"site-packages", "dist-packages"} & set(path.parts)  # also where they are the user's, or another system's
    return not named and not any(path.is_relative_to(folder) for folder in others)


@contextmanager
def own_code_told(name: Callable[[], str], *, foreign: bool = False) -> Iterator[None]:
    """Turns what the user's own code raises into an error of ours that says where; other errors pass.

    A process that loads images hands over no more of an error than its text, so that this is done there.

    Args:
        name: says what it was about, such as an image; asked once there is an error.
        foreign: whether an error is also told where an installed library has raised it.

    Raises:
        DataError: own code could not read a file.
        ConfigError: it has failed otherwise.
    """
    try:
        yield
    except UnimatchError:
        raise
    except Exception as error:
        if worker_behind(error) or (not foreign and own_place(error) is None):
            raise
        kind = DataError if isinstance(error, OSError) else ConfigError
        raise kind(f"{name()}: {told(error)}; {TRACEBACKS}=1 before the command shows the traceback") from error


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
