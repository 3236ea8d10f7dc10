"""Checks a configuration's values against the arguments of a function or class, before it is called."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import EllipsisType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from unimatch.errors import ConfigError
from unimatch.options import refuse_others

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null", Path: "text"}
"""What messages call types."""


def check_arguments(
    function: Callable[..., Any], values: Mapping[str, Any], given: Collection[str] = (), *, partial: bool = False
) -> None:
    """Refuses values with which a function or class cannot be called.

    Args:
        function: the function or class.
        values: plain values by the names of its arguments.
        given: arguments that it gets in addition: their names, or their positions as text.
        partial: whether it gets further arguments later, so that none is missing yet.

    Raises:
        ConfigError: there is no argument of a name, its value is of the wrong kind, or it is missing. The message
            begins with the argument.

    >>> def area(width: int, *, height: float = 2.0) -> float: ...
    >>> check_arguments(area, {"width": 3, "height": 4})
    >>> check_arguments(area, {"width": "wide"})
    Traceback (most recent call last):
    unimatch.errors.ConfigError: width=wide: must be a whole number
    >>> check_arguments(area, {"height": 1})
    Traceback (most recent call last):
    unimatch.errors.ConfigError: width: missing; area needs it
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # a built-in without a signature
        return
    refuse_others(function, values, signature)
    ours = str(getattr(function, "__module__", "")).startswith("unimatch.")
    for name, value in values.items():
        parameter = signature.parameters.get(name)
        if parameter is None or (value is None and parameter.default is None):
            continue
        if fits(value, parameter.annotation, lenient=not ours):
            continue
        kind, remedy = accepted(parameter.annotation), ""
        if type(value) in (int, float) and "text" in kind:
            remedy = (
                f"; text that looks like a number goes in quotes: \"{name}='{value}'\". A YAML file needs them too: "
                "there 2024_01_05 without quotes is read as 20240105"
            )
        raise ConfigError(f"{name}={written(value)}: must be {kind}{remedy}")
    if partial:
        return
    positional = sum(name.isdigit() for name in given)
    for name, parameter in list(signature.parameters.items())[positional:]:
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and name not in {*values, *given}:
            raise ConfigError(f"{name}: missing; {function.__qualname__} needs it")


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
        return listed and (not each or all(any(fits(item, kind) for kind in each) for item in value))
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


def written(value: Any) -> Any:
    """Returns a value as it is written in a configuration.

    >>> written(None), written(True), written("text"), written([None, "a", 1])
    ('null', 'true', 'text', '[null, a, 1]')
    """
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {written(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(str(written(inner)) for inner in value)}]"
    return str(value).lower() if isinstance(value, bool) else value


def accepted(hint: Any) -> str:
    """Returns in words what a type hint accepts.

    >>> accepted(float | None), accepted(int | float)
    ('a number or null', 'a number')
    """
    words = dict.fromkeys(kinds(hint))
    if "a number" in words:
        words.pop("a whole number", None)
    return " or ".join(words)


def kinds(hint: Any) -> list[str]:
    """Returns the kinds of values that a type hint accepts, in words.

    >>> kinds(float | None), kinds(Literal["a", "b"]), kinds(list[list[int]])
    (['a number', 'null'], ['a', 'b'], ['a list of lists of whole numbers'])
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
        return [str(choice) for choice in get_args(hint)]
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
