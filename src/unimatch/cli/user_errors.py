"""Tells errors that a user can act on as one message, without a traceback."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig
from omegaconf.errors import InterpolationResolutionError, InterpolationToMissingValueError, MissingMandatoryValue

from unimatch.cli.building import error_to_tell, message_of, with_key
from unimatch.errors import TRACEBACKS, ConfigError
from unimatch.safe_text import printable

LONGEST_MESSAGE = 20_000
"""The most characters of a message: it may quote the content of a file."""


@contextmanager
def exit_on_user_error(config: DictConfig | None = None) -> Iterator[None]:
    """Prints an error that a user can act on, and exits with its status; other errors pass.

    Those are :class:`UnimatchError`, also inside errors of Hydra's ``instantiate``, full disks, wrong names of files,
    and errors that the user's own code raises. The traceback comes first if the user asks for tracebacks.

    Args:
        config: in which the argument that a message begins with is looked up, to print its full name.
    """
    try:
        yield
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error).splitlines()[0].rpartition(" ")[2]
        print(f"unimatch: {key}: missing; give {key}=VALUE", file=sys.stderr)
        sys.exit(ConfigError.status)
    except InterpolationResolutionError as error:
        why = str(error).splitlines()[0]
        key = f"{error.full_key}: " if error.full_key else ""
        print(f"unimatch: {key}{why}; correct what it refers to", file=sys.stderr)
        sys.exit(ConfigError.status)
    except Exception as error:
        cause = error_to_tell(error)
        if cause is None:
            raise
        if tracebacks_wanted():
            print(printable("".join(traceback.format_exception(error))), file=sys.stderr)
        message = message_of(cause)
        text = message if config is None else with_key(message, config)
        if len(text) > LONGEST_MESSAGE:
            text = f"{text[:LONGEST_MESSAGE]} ..."
        print(f"unimatch: {text}", file=sys.stderr)
        sys.exit(cause.status)


asked: list[bool] = []
"""Whether the user asks for tracebacks, while :func:`raised_by_hydra` tells Hydra that somebody does."""


def tracebacks_wanted() -> bool:
    """Returns whether the user asks for the traceback of each error."""
    return asked[-1] if asked else os.environ.get(TRACEBACKS) == "1"


@contextmanager
def raised_by_hydra() -> Iterator[None]:
    """Makes Hydra raise errors, which it would print itself before it exits."""
    asked.append(tracebacks_wanted())
    try:
        with variable(TRACEBACKS, "1"):
            yield
    finally:
        asked.pop()


@contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Sets an environment variable, or removes it for None, and restores its former value at the end."""
    former = os.environ.pop(name, None)
    try:
        if value is not None:
            os.environ[name] = value
        yield
    finally:
        os.environ.pop(name, None)
        if former is not None:
            os.environ[name] = former
