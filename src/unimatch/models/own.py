"""Models of your own in checkpoints.

A checkpoint names the class or function that makes such a model, and its arguments. It is called only where it was
registered, or where its package is allowed: a checkpoint is a stranger's file.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from unimatch.errors import WeightsError
from unimatch.images.bands import Bands
from unimatch.options import as_plain

if TYPE_CHECKING:
    from unimatch.models.base import Model

REGISTERED: dict[str, Callable[..., Any]] = {}
"""Models of your own, by the name that checkpoints give them."""

ALLOWED = "UNIMATCH_ALLOW_IMPORT"
"""The environment variable that names, with commas between, packages out of which a checkpoint's model may be made."""

Build = TypeVar("Build", bound=Callable[..., Any])


def register_model(build: Build, *, name: str | None = None) -> Build:
    """Makes checkpoints of a model of your own loadable: use it as a decorator, also where they are loaded.

    Args:
        build: a subclass of one of our models, or a function that returns a model, with an encoder of your own for
            example. A checkpoint keeps the arguments that it was called with, which must be plain values.
        name: what checkpoints call it; None for its import path, such as ``mypackage.nets.StreetNet``.

    Returns:
        The class, or the function, which from now on marks the models that it makes.

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
        model.made_by = maker(name, inspect.signature(build).bind(*arguments, **options).arguments)
        return model

    REGISTERED[name] = made
    return made  # type: ignore[return-value]


def build_own(name: str | None, arguments: Mapping[str, Any] | None) -> "Model":
    """Builds a model of your own by its name.

    Raises:
        WeightsError: it is not registered, or its arguments are no plain values.
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
    """Imports a model's class, or a function that registers itself, if it lies in a package that the user allows."""
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
    """Returns what checkpoints call a class."""
    return str(vars(kind).get("registered_as") or import_path(kind))


def import_path(build: Callable[..., Any]) -> str:
    """Returns where a class or function is imported from."""
    return f"{build.__module__}.{build.__qualname__}"


def maker(name: str, arguments: Mapping[str, Any]) -> dict[str, object]:
    """Describes what made a model: its name and its arguments, None where these are no plain values."""
    try:
        values = {key: None if key == "weights" else plain_value(value) for key, value in arguments.items()}
    except TypeError:
        return {"name": name, "arguments": None}
    return {"name": name, "arguments": values}


def plain_value(value: Any) -> Any:
    """Returns an argument as a checkpoint keeps it; raises as :func:`unimatch.options.as_plain` does."""
    return value.plain() if isinstance(value, Bands) else as_plain(value)


def layers(model: nn.Module) -> list[tuple[object, ...]]:
    """Lists the kind and the settings of every layer, and the shape of every tensor."""
    kinds = [(name, kind_of(module), module.extra_repr()) for name, module in model.named_modules()]
    return [*kinds, *((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())]


def kind_of(module: nn.Module) -> type:
    """Returns a layer's class, whatever has been done to it for speed or for several processes."""
    if isinstance(module, _BatchNorm):
        return _BatchNorm
    return next(kind for kind in type(module).__mro__ if not kind.__module__.startswith(MADE_FASTER))


MADE_FASTER = ("unimatch.speed", "torch.distributed")
"""Where the classes are defined that layers get during training."""
