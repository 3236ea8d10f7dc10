"""Keyword options that several functions or classes share: each is defined once and listed in every signature.

A function or constructor takes them by ``**options: Unpack[SomeTypedDict]``, from which type checkers and editors know
them. :func:`with_options` shows them to ``help`` and ``inspect`` too, for functions, and :class:`NamedOptions` for
classes; both refuse any other name at once.
"""

import difflib
import functools
import inspect
import math
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar, get_args, get_type_hints

import numpy as np

from unimatch.errors import ConfigError
from unimatch.kinds import checked, refuse_other_kinds

Function = TypeVar("Function", bound=Callable[..., Any])

MOST = 2**31 - 1
"""The largest count that every library takes."""


def with_options(**defaults: Any) -> Callable[[Function], Function]:
    """Fills in the defaults of a function's ``**options: Unpack[...]``: within it, ``options`` holds every entry.

    The entries of the ``TypedDict`` are ``name: Annotated[type, default, "description"]``; they are listed in the
    function's signature and in the ``Args:`` of its docstring.

    Args:
        defaults: defaults of this function that differ from those of the entries.

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
            refuse_other_kinds(signature, args, given)
            return function(*args, **{**options, **given})

        before, raises, after = inspect.cleandoc(function.__doc__ or "").partition("\n\nRaises:")
        call.__doc__ = f"{before}\n{textwrap.indent(texts, '    ').rstrip()}{raises}{after}"
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


class NamedOptions:
    """Lists, in its subclasses' signatures, the base class's keyword arguments in place of ``**options``.

    ``**options: Unpack[SomeOptions]`` stands for those of the base that ``SomeOptions`` has, any other ``**options``
    for all of them. An argument is explained, and its kind :func:`unimatch.kinds.checked`, in the class whose
    constructor lists it.
    """

    given: Mapping[str, Any]
    """The arguments with which the object was made, by name."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Refuses arguments that the class does not take, and keeps the others in :attr:`given`."""
        signature = inspect.signature(cls)
        refuse_others(cls, options, signature)
        self = super().__new__(cls)
        with suppress(TypeError):  # the constructor will raise it
            vars(self)["given"] = dict(signature.bind_partial(*arguments, **options).arguments)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" not in vars(cls):  # the signature is inherited with it
            return
        checked(cls)
        own = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]  # without self
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            unpacked = get_args(own.pop().annotation)  # the TypedDict in Unpack, if there is one
            base = next(base for base in cls.__mro__[1:] if "__init__" in vars(base))
            overridden = {parameter.name for parameter in own}
            for name, parameter in inspect.signature(base).parameters.items():
                if name not in overridden and (not unpacked or name in unpacked[0].__annotations__):
                    own.append(parameter.replace(kind=max(parameter.kind, parameter.KEYWORD_ONLY)))
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]


def refuse_others(owner: Callable[..., Any], given: Mapping[str, Any], signature: inspect.Signature) -> None:
    """Refuses keyword arguments that a signature does not have.

    Raises:
        ConfigError: naming the closest argument, or all arguments if none is close.
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
    """Refuses a setting that is not one of its choices.

    Raises:
        ConfigError: naming the argument and the choices.
    """
    try:
        known = bool(value in choices) and not isinstance(value, bool)
    except (TypeError, ValueError, RuntimeError):  # such as a list, or an array of several values
        known = False
    if not known:
        raise ConfigError(f"{name}={value}: must be one of {', '.join(map(str, choices))}")


def is_between(number: Any, lowest: float, highest: float) -> bool:
    """Returns whether a value is a number in a range, both ends included; False for NaN and for what is no number."""
    try:
        return not isinstance(number, bool) and bool(lowest <= number <= highest)
    except (TypeError, ValueError, RuntimeError):  # such as a text, an array, or a tensor of several numbers
        return False


def not_negative(**numbers: float) -> None:
    """Refuses numbers that are negative, infinite or NaN.

    Raises:
        ConfigError: naming the argument.
    """
    for name, number in numbers.items():
        if not is_between(number, 0, sys.float_info.max):
            raise ConfigError(f"{name}={number}: must be a number, at least 0")


def at_least_one(**numbers: int | None) -> None:
    """Refuses whole numbers below 1; None passes.

    Raises:
        ConfigError: naming the argument.
    """
    within(1, MOST, **numbers)


def within(lowest: int, highest: int, **numbers: int | None) -> None:
    """Refuses whole numbers out of a range, both ends included; None passes.

    Raises:
        ConfigError: naming the argument.
    """
    for name, number in numbers.items():
        if number is None:
            continue
        if not is_between(number, lowest, math.inf):
            raise ConfigError(f"{name}={number}: must be at least {lowest}")
        if number > highest:
            raise ConfigError(f"{name}={number}: must be at most {highest}")
        if not is_whole(number):
            raise ConfigError(f"{name}={number}: must be a whole number")


def is_whole(number: Any) -> bool:
    """Returns whether a number has no fraction.

    >>> is_whole(3), is_whole(3.0), is_whole(np.int64(3)), is_whole(3.5)
    (True, True, True, False)
    """
    return bool(number == math.floor(number))


def ascending(**ranges: Sequence[float]) -> None:
    """Refuses what is not a lowest and a highest number, both above 0 and finite.

    Raises:
        ConfigError: naming the argument.
    """
    for name, values in ranges.items():
        given = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
        ends = [number for number in given if is_between(number, 0, sys.float_info.max) and number > 0]
        if len(given) != 2 or len(ends) != 2 or ends[0] > ends[1]:
            raise ConfigError(f"{name}={given}: must be the lowest and the highest number, both above 0")


def probability(**numbers: float) -> None:
    """Refuses numbers that are no probability.

    Raises:
        ConfigError: naming the argument.
    """
    for name, number in numbers.items():
        if not is_between(number, 0, 1):
            raise ConfigError(f"{name}={number}: must be a probability, 0 to 1")


def seed_of_numpy(**numbers: int) -> None:
    """Refuses seeds that NumPy's generators do not take.

    Raises:
        ConfigError: naming the argument.
    """
    for name, number in numbers.items():
        if not is_between(number, 0, 2**32 - 1):
            raise ConfigError(f"{name}={number}: must be at least 0 and below {2**32}")
        if not is_whole(number):
            raise ConfigError(f"{name}={number}: must be a whole number")


def number_of(variable: str, default: int = 0) -> int:
    """Returns the value of an environment variable, a whole number of at least 0; the default if it is not set.

    Raises:
        ConfigError: the value is another text.
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
