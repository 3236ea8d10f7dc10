"""Whether the values of a configuration fit the arguments of what they are given to, before it is called."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from unimatch.errors import ConfigError
from unimatch.options import refuse_others


def check_arguments(
    function: Callable[..., Any], values: Mapping[str, Any], given: Collection[str] = (), *, partial: bool = False
) -> None:
    """Refuses values that a function or class cannot be called with.

    Args:
        function: that is to be called.
        values: plain values by the names of its arguments.
        given: arguments that it is given besides.
        partial: whether others are given later, so that none is missing.

    Raises:
        ConfigError: beginning with the argument: there is none of this name, its value is of the wrong kind, or it is
            missing.

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
    except ValueError:  # a built-in that does not tell
        return
    refuse_others(function, values, signature)
    for name, value in values.items():
        parameter = signature.parameters.get(name)
        if parameter is None or (value is None and parameter.default is None) or fits(value, parameter.annotation):
            continue
        words = dict.fromkeys(kinds(parameter.annotation))
        meant = " or ".join(word for word in words if word != "a whole number" or "a number" not in words)
        number = type(value) in (int, float) and "text" in meant
        quotes = (
            f"; text that looks like a number goes in quotes: \"{name}='{value}'\". A YAML file needs them too: there "
            "2024_01_05 without quotes is read as 20240105"
        )
        quotes = quotes if number else ""
        raise ConfigError(f"{name}={written(value)}: must be {meant}{quotes}")
    if partial:
        return
    positional = len([name for name in given if name.isdigit()])  # they fill the first parameters
    for name, parameter in list(signature.parameters.items())[positional:]:
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and name not in {*values, *given}:
            raise ConfigError(f"{name}: missing; {function.__qualname__} needs it")


def fits(value: Any, hint: Any) -> bool:
    """Returns whether a plain value is of the kind that a type hint says, as far as a configuration can tell.

    >>> fits(3, float), fits(True, int), fits("a", str | None), fits(2024, Path | str), fits([1], int | list[int])
    (True, False, True, False, True)
    >>> fits([0.5, "high"], list[float])
    False
    """
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(fits(value, choice) for choice in get_args(hint))
    if origin is Annotated:
        return fits(value, get_args(hint)[0])
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
    return value is not None


def elements(hint: Any) -> list[Any]:
    """Returns the types that a list's elements may have, where they are plain; none where a configuration cannot tell.

    >>> elements(tuple[float, ...]), elements(list[list[int]]), elements(list), elements(list[Path | Exception])
    ([<class 'float'>], [list[int]], [], [])
    """
    origin = get_origin(hint)
    if not inspect.isclass(origin) or not issubclass(origin, Sequence):
        return []
    each = [kind for kind in get_args(hint) if kind is not Ellipsis]
    return list(dict.fromkeys(each)) if all(kind in NAMES or elements(kind) for kind in each) else []


NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null", Path: "text"}


def written(value: Any) -> Any:
    """Returns a value as it stands in a configuration.

    >>> written(None), written(True), written("text")
    ('null', 'true', 'text')
    """
    return {None: "null", True: "true", False: "false"}[value] if value is None or type(value) is bool else value


def kinds(hint: Any) -> list[str]:
    """Returns in words what a type hint accepts.

    >>> kinds(float | None), kinds(Literal["a", "b"]), kinds(list[list[int]])
    (['a number', 'null'], ['a', 'b'], ['a list of lists of whole numbers'])
    """
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return [word for choice in get_args(hint) for word in kinds(choice)]
    if origin is Annotated:
        return kinds(get_args(hint)[0])
    if origin is Literal:
        return [str(choice) for choice in get_args(hint)]
    if inspect.isclass(origin or hint) and issubclass(origin or hint, Collection) and hint is not str:
        several = " or ".join(plural(word) for kind in elements(hint) for word in kinds(kind))
        return ["a mapping" if issubclass(origin or hint, Mapping) else f"a list of {several}" if several else "a list"]
    return [NAMES.get(hint, getattr(hint, "__name__", str(hint)))]


def plural(word: str) -> str:
    """Returns one of the words of :func:`kinds` for several of the kind."""
    if word.startswith("a list"):
        return f"lists{word.removeprefix('a list')}"
    return f"{word.removeprefix('a ')}s" if word.startswith("a ") else word
