"""Imports the public names of a package when they are first used, so that not everything waits for PyTorch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_first_use(package: str, homes: Mapping[str, str], parts: tuple[str, ...] = ()) -> Callable[[str], Any]:
    """Returns a ``__getattr__`` for a package (PEP 562).

    Args:
        package: the package's name.
        homes: for each public name, the module of the package that defines it.
        parts: modules of the package that are attributes too.

    >>> on_first_use("unimatch", {"DataError": "errors"})("DataError").__module__
    'unimatch.errors'
    """

    def get(name: str) -> Any:
        if name in parts:
            return import_module(f"{package}.{name}")
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
