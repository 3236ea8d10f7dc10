"""The errors a user can act on: each says what is wrong, where, and what to do."""

import errno
import pathlib
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from typing_extensions import override

from unimatch.safe_text import printable

TRACEBACKS = "HYDRA_FULL_ERROR"
"""The environment variable that asks, with the value 1, for the traceback of each error."""


class UnimatchError(ValueError):
    """Something in the user's input is wrong. Commands print it without a traceback and exit with :attr:`status`."""

    status = 2
    """The exit status of commands. 2: the same command would fail again."""

    @override
    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(UnimatchError):
    """A setting, or a combination of settings, cannot work."""


class TakenError(ConfigError):
    """A run directory belongs to another training."""


class DataError(UnimatchError):
    """A file of the data set is missing, unreadable, or not what it should be."""


class WeightsError(UnimatchError):
    """A weights file does not fit the model it was meant for."""


class ProcessError(UnimatchError):
    """A process of the run has died, or has reached a limit of the system."""

    status = 75
    """``EX_TEMPFAIL`` of sysexits.h: resuming may succeed."""


class WriteError(UnimatchError):
    """A disk is full, or files of a training could not be written; the training itself went on to its end."""

    status = 74
    """``EX_IOERR`` of sysexits.h: the command may succeed when there is room."""


class NumericalError(UnimatchError):
    """A loss or gradient is not finite."""


def chain_of(error: BaseException | None, handled: BaseException | None = None) -> Iterator[BaseException]:
    """Yields an error and the earlier errors that led to it, up to one that had been ``handled`` before."""
    while error is not None and error is not handled:
        yield error
        error = error.__cause__ or error.__context__


def lacks_shared_memory(error: BaseException) -> bool:
    """Tells whether an error, or an earlier one that led to it, means that shared memory is full."""
    return any(
        (isinstance(one, OSError) and one.errno == errno.ENOSPC and one.filename is None)
        or "shared memory" in str(one)
        or "Bus error" in str(one)
        for one in chain_of(error)
    )


def lacks_open_files(error: BaseException) -> bool:
    """Tells whether an error, or an earlier one that led to it, means that a process has too many files open."""
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
    """Tells whether PyTorch raised an error because a process that loads images has died."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)


def worker_behind(error: BaseException) -> BaseException | None:
    """Returns the error of :func:`is_of_a_worker` that an error is or that led to it; None if there is none."""
    return next(filter(is_of_a_worker, chain_of(error)), None)


def interruption(error: BaseException, handled: BaseException | None = None) -> BaseException | None:
    """Finds an interruption behind an error: Ctrl-C, an exit, or the death of a process that loads images.

    Interruptions come as signals, wherever the main process is at that moment, which may be within a ``try`` that
    handles errors of files. An open file may then raise another error when it is closed, such as torch's writer of an
    unfinished archive.

    Args:
        error: what was raised.
        handled: an error that was being handled before, which is left out.

    Returns:
        The error of the interruption; None if there is none.
    """
    ends = (one for one in chain_of(error, handled) if is_of_a_worker(one) or not isinstance(one, Exception))
    return next(ends, None)


def describe_error(error: BaseException) -> str:
    """Describes an error in a line, and where the user's own code raised it: ``KeyError: 'a' (own.py, line 8)``."""
    kind, message, place = type(error).__name__, first_line(error), own_place(error)
    return (kind if message == kind else f"{kind}: {message}") + (f" ({place})" if place else "")


def own_place(error: BaseException) -> str | None:
    """Returns where in the user's own code an error was raised, such as ``own.py, line 8``; None if not there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = pathlib.Path(frame.filename)
        if path.is_file() and is_own(path):
            return f"{path.name}, line {frame.lineno}"
    return None


def is_own(path: pathlib.Path) -> bool:
    """Tells whether a file of code is the user's own: not Python's, an installed library's or this package's.

    >>> is_own(pathlib.Path("/home/me/mine.py")), is_own(pathlib.Path("/home/me/.local/lib/site-packages/torch/nn.py"))
    (True, False)
    """
    installed = (sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    others = [*map(pathlib.Path, installed), pathlib.Path(__file__).parent]
    in_packages = {"site-packages", "dist-packages"} & set(path.parts)  # also the user's, or another environment's
    return not in_packages and not any(path.is_relative_to(folder) for folder in others)


@contextmanager
def own_errors_explained(name: Callable[[], str], *, foreign: bool = False) -> Iterator[None]:
    """Turns an error that the user's own code raises into one of ours that says where; other errors pass unchanged.

    A process that loads images must do this itself, because it hands over only the text of an error.

    Args:
        name: returns what the code was working on, such as an image's name; called only if there is an error.
        foreign: whether to explain errors of installed libraries too.

    Raises:
        DataError: the code could not read a file.
        ConfigError: it failed in another way.
    """
    try:
        yield
    except UnimatchError:
        raise
    except Exception as error:
        if worker_behind(error) or (not foreign and own_place(error) is None):
            raise
        kind = DataError if isinstance(error, OSError) else ConfigError
        what = describe_error(error)
        raise kind(f"{name()}: {what}; {TRACEBACKS}=1 before the command shows the traceback") from error


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the name of its class if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def in_one_line(error: BaseException) -> str:
    """Returns an error's message in one line; of a fault in YAML, where it is and what is wrong there."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    place = f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    return place if mark.name.startswith("<") else f"{mark.name}, {place}"
