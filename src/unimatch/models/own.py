"""Models of your own in checkpoints.

A checkpoint names the class or function that makes such a model, and the arguments. It is called only if you have
registered it or allowed its package, because a checkpoint may be a stranger's file.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from unimatch.errors import WeightsError
from unimatch.images.bands import Bands
from unimatch.models.base import Model
from unimatch.options import as_plain

REGISTERED: dict[str, Callable[..., Any]] = {}
"""Registered classes and functions, by their names in checkpoints."""

ALLOWED = "UNIMATCH_ALLOW_IMPORT"
"""The environment variable that lists, separated by commas, the packages that checkpoints may import models from."""

Build = TypeVar("Build", bound=Callable[..., Any])


def register_model(build: Build, *, name: str | None = None) -> Build:
    """Registers a model of your own, so that its checkpoints can be loaded; a decorator.

    The program that loads a checkpoint must register the model too.

    Args:
        build: a subclass of one of our models, or a function that returns a model, with an encoder of your own for
            example. A checkpoint keeps the arguments of the call, which must be plain values.
        name: the name in checkpoints; None for the import path, such as ``mypackage.nets.StreetNet``.

    Returns:
        The class, or a function that does the same and marks the models that it returns.

    >>> from unimatch import SegmentationModel, register_model
    >>> from unimatch.models.descriptions import build_described, describe_model
    >>> @register_model
    ... class Negated(SegmentationModel):
    ...     def decode(self, levels, **options):
    ...         return -super().decode(levels, **options)
    >>> type(build_described(describe_model(Negated("tiny", num_classes=3)))).__name__
    'Negated'
    """
    name = name or import_path(build)
    if isinstance(build, type):
        build.registered_as = name  # type: ignore[attr-defined]
        REGISTERED[name] = build
        return build

    @functools.wraps(build)
    def made(*arguments: Any, **options: Any) -> Any:
        model = build(*arguments, **options)
        model.made_by = describe_maker(name, inspect.signature(build).bind(*arguments, **options).arguments)
        return model

    REGISTERED[name] = made
    return made  # type: ignore[return-value]


def build_own(name: str | None, arguments: Mapping[str, Any] | None) -> Model:
    """Builds a model of your own from the name and the arguments in a checkpoint.

    Raises:
        WeightsError: the checkpoint does not hold them, or the name is neither registered nor allowed.
    """
    by_hand = "build it yourself and give it as model=, as in load_model(path, model=...)"
    if name is None:
        raise WeightsError(f"the checkpoint's model has parts of your own, which it does not name: {by_hand}")
    if arguments is None:
        raise WeightsError(f"the checkpoint's model, {name}, was made from more than plain values: {by_hand}")
    build = REGISTERED.get(name) or allowed_import(name)
    if build is None:
        raise WeightsError(
            f"the checkpoint's model is your own, {name}: register it (unimatch.register_model), or set "
            f"{ALLOWED}={name.partition('.')[0]} if you trust the file, or {by_hand}"
        )
    return build(**arguments)


def allowed_import(name: str) -> Callable[..., Any] | None:
    """Imports a model's class, or a function that registers itself, if the user has allowed its package.

    Raises:
        WeightsError: the import fails.
    """
    packages = [package.strip() for package in os.environ.get(ALLOWED, "").split(",")]
    if not any(package and name.startswith(f"{package}.") for package in packages):
        return None
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise WeightsError(f"the checkpoint's model {name} cannot be imported ({error})") from error
    return REGISTERED.get(name) or (found if isinstance(found, type) and issubclass(found, nn.Module) else None)


def own_name(kind: type) -> str:
    """Returns the name of a class in checkpoints."""
    return str(vars(kind).get("registered_as") or import_path(kind))


def import_path(build: Callable[..., Any]) -> str:
    """Returns where a class or function is imported from, such as ``mypackage.nets.StreetNet``."""
    return f"{build.__module__}.{build.__qualname__}"


def describe_maker(name: str, arguments: Mapping[str, Any]) -> dict[str, object]:
    """Describes the class or function that made a model: its name, and its arguments, None if not all are plain."""
    try:
        values = {key: None if key == "weights" else plain_value(value) for key, value in arguments.items()}
    except TypeError:
        return {"name": name, "arguments": None}
    return {"name": name, "arguments": values}


def plain_value(value: Any) -> Any:
    """Returns an argument as a checkpoint keeps it; raises as :func:`unimatch.options.as_plain` does."""
    return value.plain() if isinstance(value, Bands) else as_plain(value)
