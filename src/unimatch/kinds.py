"""Compares values with type hints, and says in words what a hint accepts."""

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import EllipsisType, MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from unimatch.errors import ConfigError

Called = TypeVar("Called", bound=Callable[..., Any])

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null", Path: "text"}
"""What messages call types."""


IN_PYTHON = {"true or false": "True or False", "null": "None"}
"""How messages name these kinds to those who call Python."""
OBJECT = object()
"""Stands for a value that no configuration holds."""
FEW = 1000
"""Longer arrays and tensors are not looked into."""


def checked(called: Called) -> Called:
    """Makes a function, or a class's constructor, refuse arguments that its type hints do not accept.

    Objects of any class fit a hint that names a class. Hints of code outside this package are read leniently
    (:func:`fits`).

    >>> @checked
    ... def area(width: int, *, height: float = 2.0) -> float:
    ...     return width * height
    >>> area(3, height=4)
    12
    >>> area("3")
    Traceback (most recent call last):
    unimatch.errors.ConfigError: width=3: must be a whole number
    """
    if inspect.isclass(called):
        setattr(called, "__init__", checked(vars(called)["__init__"]))  # noqa: B010
        return called
    signature = inspect.signature(called)
    lenient = not called.__module__.startswith("unimatch.")

    @functools.wraps(called)
    def call(*arguments: Any, **options: Any) -> Any:
        refuse_other_kinds(signature, arguments, options, lenient=lenient)
        return called(*arguments, **options)

    return call  # type: ignore[return-value]


def refuse_other_kinds(
    signature: inspect.Signature, arguments: Sequence[Any], options: Mapping[str, Any], *, lenient: bool = False
) -> None:
    """Refuses arguments that a signature's type hints do not accept; names that it lacks are not looked at.

    Args:
        signature: of what is called.
        arguments: those without a name.
        options: those with one.
        lenient: as for :func:`fits`.

    Raises:
        ConfigError: naming the argument, and what it may be.
    """
    names = [
        name for name, parameter in signature.parameters.items() if parameter.kind <= parameter.POSITIONAL_OR_KEYWORD
    ]
    for name, value in [*zip(names, arguments, strict=False), *options.items()]:
        parameter = signature.parameters.get(name)
        if parameter is None or parameter.kind is parameter.VAR_KEYWORD or value is parameter.default:
            continue
        if not fits(simplified(value), parameter.annotation, lenient=lenient):
            raise ConfigError(f"{name}={value}: must be {accepted(parameter.annotation, IN_PYTHON)}")


def simplified(value: Any) -> Any:
    """Returns a value of Python as a configuration would hold it; :data:`OBJECT` for what no configuration holds.

    >>> simplified(np.int64(3)), simplified(3.0), simplified((1, Path("a"))), simplified(abs) is OBJECT
    (3, 3, [1, 'a'], True)
    """
    if hasattr(value, "tolist") and math.prod(np.shape(value)) <= FEW:  # numbers and arrays of NumPy and PyTorch
        value = value.tolist()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (str, Path)):
        return value.value if isinstance(value, Enum) else str(value)
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, Mapping):
        return {key: simplified(inner) for key, inner in value.items()}
    if type(value) in (list, tuple, set, frozenset, range):  # a named tuple is an object
        return [simplified(inner) for inner in value]
    return OBJECT


def fits(value: Any, hint: Any, *, lenient: bool = False) -> bool:
    """Returns whether a value fits a type hint.

    Args:
        value: plain, or a node with a ``_target_``, which fits every hint: what it makes is not known yet.
        hint: a type, or several.
        lenient: whether any value but None fits a type that no plain value has: other people's functions may accept
            more than their hints say.

    >>> fits(3, float), fits(True, int), fits("a", str | None), fits(2024, Path | str), fits([1], int | list[int])
    (True, False, True, False, True)
    >>> fits([0.5, "high"], list[float])
    False
    """
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(fits(value, choice, lenient=lenient) for choice in get_args(hint))
    if origin is Annotated:
        return fits(value, get_args(hint)[0], lenient=lenient)
    if origin is Literal:
        return value in get_args(hint)
    if hint in (int, bool, str):
        return type(value) is hint
    if hint is float:
        return type(value) in (int, float)
    if hint in (None, NoneType):
        return value is None
    if inspect.isclass(hint) and issubclass(hint, Path):
        return isinstance(value, str)
    if hint in (Any, inspect.Parameter.empty) or not isinstance(origin or hint, type):
        return True
    if issubclass(origin or hint, Mapping):
        return isinstance(value, Mapping)
    if issubclass(origin or hint, Collection):
        each = elements(hint)
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if value is OBJECT or not listed:
            return value is OBJECT
        return not each or all(any(fits(item, kind) for kind in each) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, str) and issubclass(list, origin or hint):
        return True  # an iterable
    plain = (bool, int, float, str, Sequence, Mapping)
    return value is not None and (lenient or not isinstance(value, plain))


def elements(hint: Any) -> list[Any]:
    """Returns the types that a sequence's elements may have, if plain values have all of them, else none.

    >>> elements(tuple[float, ...]), elements(list[list[int]]), elements(list), elements(list[Path | Exception])
    ([<class 'float'>], [list[int]], [], [])
    """
    origin = get_origin(hint)
    if not inspect.isclass(origin) or not issubclass(origin, Sequence):
        return []
    each = [kind for kind in get_args(hint) if kind is not Ellipsis]
    return list(dict.fromkeys(each)) if all(kind in KINDS or elements(kind) for kind in each) else []


def accepted(hint: Any, words_for: Mapping[str, str] = MappingProxyType({})) -> str:
    """Returns in words what a type hint accepts; ``words_for`` replaces some of :data:`KINDS`.

    >>> accepted(float | None), accepted(int | float), accepted(bool | None, IN_PYTHON)
    ('a number or null', 'a number', 'True or False or None')
    >>> accepted(Literal["a", "b"]), accepted(Literal["a", "b"] | int | None)
    ('one of a, b', 'one of a, b, or a whole number or null')
    """
    words = dict.fromkeys(words_for.get(word, word) for word in kinds(hint))
    if "a number" in words:
        words.pop("a whole number", None)
    choices = [word for word in words if word.startswith("one of ")]
    return ", or ".join([*choices, " or ".join(word for word in words if word not in choices)]).removesuffix(", or ")


def kinds(hint: Any) -> list[str]:
    """Returns the kinds of values that a type hint accepts, in words.

    >>> kinds(float | None), kinds(Literal["a", "b"]), kinds(list[list[int]])
    (['a number', 'null'], ['one of a, b'], ['a list of lists of whole numbers'])
    """
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return [word for choice in get_args(hint) for word in kinds(choice)]
    if hint is EllipsisType:  # the mark of an argument that is not given
        return []
    if (origin or hint) is Callable:
        return ["a function"]
    if origin is Annotated:
        return kinds(get_args(hint)[0])
    if origin is Literal:
        choices = ", ".join(map(str, get_args(hint)))
        return [f"one of {choices}" if len(get_args(hint)) > 1 else choices]
    if inspect.isclass(origin or hint) and issubclass(origin or hint, Mapping):
        return ["a mapping"]
    if inspect.isclass(origin or hint) and issubclass(origin or hint, Collection) and hint is not str:
        several = " or ".join(plural(word) for kind in elements(hint) for word in kinds(kind))
        return [f"a list of {several}" if several else "a list"]
    return [KINDS.get(hint, f"an object of the class {hint.__name__}" if inspect.isclass(hint) else str(hint))]


def plural(word: str) -> str:
    """Returns the plural of one of the words that :func:`kinds` returns."""
    if word.startswith("a list"):
        return f"lists{word.removeprefix('a list')}"
    return f"{word.removeprefix('a ')}s" if word.startswith("a ") else word
