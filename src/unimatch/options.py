"""Keyword options that several functions or classes share: each is written once, and every signature lists it.

They are taken by ``**options: Unpack[SomeTypedDict]``, which tells type checkers and editors what there is.
:func:`with_options` tells ``help`` and ``inspect`` the same of a function, :class:`NamedOptions` of classes, and both
refuse any other name at once.
"""

import difflib
import functools
import inspect
import math
import os
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar, get_args, get_type_hints

import numpy as np

from unimatch.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])


def with_options(**defaults: Any) -> Callable[[Function], Function]:
    """Makes a function's ``**options: Unpack[...]`` complete: within it, ``options`` holds every entry.

    The entries of the ``TypedDict`` are ``name: Annotated[type, default, "description"]``; they stand in the function's
    signature and in the ``Args:`` of its docstring.

    Args:
        defaults: of this function, where they differ from those of the entries.

    >>> from typing import Annotated, TypedDict, Unpack
    >>> class Size(TypedDict, total=False):
    ...     height: Annotated[int, 2, "in pixels."]
    >>> @with_options()
    ... def area(width: int, **options: Unpack[Size]) -> int:
    ...     return width * options["height"]
    >>> area(3), area(3, height=4), str(inspect.signature(area))
    (6, 12, '(width: int, *, height: int = 2) -> int')
    >>> area(3, heigth=4)
    Traceback (most recent call last):
    unimatch.errors.ConfigError: heigth=4: area has no such argument; did you mean height?
    """

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        *parameters, shared = own.parameters.values()
        options, texts = dict[str, Any](), ""
        for name, hint in get_type_hints(get_args(shared.annotation)[0], include_extras=True).items():
            default, description = hint.__metadata__
            options[name] = defaults.get(name, default)
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(name, kind, default=options[name], annotation=hint.__origin__))
            texts += textwrap.fill(f"{name}: {description}", 110, subsequent_indent="    ") + "\n"
        signature = own.replace(parameters=parameters)

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            refuse_others(function, given, signature)
            return function(*args, **{**options, **given})

        before, raises, after = inspect.cleandoc(function.__doc__ or "").partition("\n\nRaises:")
        call.__doc__ = f"{before}\n{textwrap.indent(texts, '    ').rstrip()}{raises}{after}"
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


class NamedOptions:
    """Lists, in its subclasses' signatures, the base class's keyword arguments in place of ``**options``.

    ``**options: Unpack[SomeOptions]`` takes those of the base that ``SomeOptions`` has, any other ``**options`` all. An
    argument is explained in the class whose constructor lists it.
    """

    given: Mapping[str, Any]
    """The arguments that the object was made with, by name."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Refuses a keyword argument that the class does not take, and keeps what is given."""
        signature = inspect.signature(cls)
        refuse_others(cls, options, signature)
        self = super().__new__(cls)
        with suppress(TypeError):  # that the constructor raises too
            vars(self)["given"] = dict(signature.bind_partial(*arguments, **options).arguments)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" not in vars(cls):  # the signature is inherited too
            return
        own = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]  # without self
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            accepted = get_args(own.pop().annotation)  # of Unpack
            base = next(base for base in cls.__mro__[1:] if "__init__" in vars(base))
            own += [
                parameter.replace(kind=max(parameter.kind, parameter.KEYWORD_ONLY))
                for name, parameter in inspect.signature(base).parameters.items()
                if name not in {mine.name for mine in own} and (not accepted or name in accepted[0].__annotations__)
            ]
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]


def refuse_others(owner: Callable[..., Any], given: Mapping[str, Any], signature: inspect.Signature) -> None:
    """Refuses keyword arguments that a signature does not have.

    Raises:
        ConfigError: naming the closest argument, or all where none is close.
    """
    known = signature.parameters
    for name, value in given.items():
        if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            meant = did_you_mean(name, known) or f". There are: {', '.join(known) or 'none'}"
            raise ConfigError(
                f"{name}={value}: {owner.__qualname__.rpartition('<locals>.')[2]} has no such argument{meant}"
            )


def as_plain(value: Any) -> Any:
    """Returns a setting as a checkpoint can hold it: plain values, in lists and dictionaries.

    >>> as_plain({"rate": np.float64(0.5), "sizes": (1, 2)})
    {'rate': 0.5, 'sizes': [1, 2]}

    Raises:
        TypeError: it is an object.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [as_plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} is no plain value")


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Returns ``; did you mean ...?`` with the closest candidate, or nothing."""
    close = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Refuses a setting that is none of its choices.

    Raises:
        ConfigError: naming the argument and the choices.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value}: must be one of {', '.join(map(str, choices))}")


def not_negative(**numbers: float) -> None:
    """Refuses numbers below 0, infinite ones and what is none.

    Raises:
        ConfigError: naming the argument.
    """
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            raise ConfigError(f"{name}={number}: must be a number, at least 0")


def number_of(variable: str, default: int = 0) -> int:
    """Returns the whole number, at least 0, of an environment variable; a default where it is not set.

    Raises:
        ConfigError: it is another text, which ``unset`` removes.
    """
    text = os.environ.get(variable)
    if text is None:
        return default
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ConfigError(
            f"the environment variable {variable}={text!r:.80}: must be a whole number, as SLURM or torchrun sets it; "
            f"'unset {variable}' removes one that is left over"
        )
    return int(text)
