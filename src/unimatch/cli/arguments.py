"""Checks a configuration's values against the arguments of a function or class, before it is called."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from unimatch.errors import ConfigError
from unimatch.kinds import accepted, fits
from unimatch.options import refuse_others


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
