"""Keyword options that several functions share: each is written once, and every function's signature and help list it.

A set of options is a ``TypedDict`` with entries ``name: Annotated[type, default, "description"]``. A function takes it
by ``**options: Unpack[...]``, so that type checkers know each option, and :func:`with_options` does the rest.
"""

import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_type_hints

Function = TypeVar("Function", bound=Callable[..., Any])


def with_options(**defaults: Any) -> Callable[[Function], Function]:
    """Makes a function's ``**options: Unpack[...]`` complete: within it, ``options`` holds every entry.

    The options stand in the function's signature and in the ``Args:`` of its docstring; any other name is a
    ``TypeError`` that suggests the closest one.

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
    TypeError: area() has no argument 'heigth'; did you mean 'height'?
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
            for name in given.keys() - signature.parameters.keys():
                close = difflib.get_close_matches(name, signature.parameters, n=1, cutoff=0.5)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"{function.__qualname__}() has no argument {name!r}{hint}")
            return function(*args, **{**options, **given})

        before, raises, after = inspect.cleandoc(function.__doc__ or "").partition("\n\nRaises:")
        call.__doc__ = f"{before}\n{textwrap.indent(texts, '    ').rstrip()}{raises}{after}"
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate
