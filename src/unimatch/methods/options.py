"""Keyword arguments that a method's constructor hands on to its base class, typed, shown and checked by name.

``**options: Unpack[MethodOptions]`` tells type checkers and editors what ``**options`` may hold. :class:`NamedOptions`
tells ``help`` and ``inspect`` the same, and refuses other names at once. An argument is explained in the class whose
constructor lists it.
"""

import inspect
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, Literal, Self, TypedDict, get_args

from unimatch.errors import ConfigError
from unimatch.tasks import Task

PseudoLabelsFrom = Literal["teacher", "student"]
CutMixPartner = Literal["reversed", "second_batch"]
Alignment = Literal["none", "uniform", "labeled"]


class MethodOptions(TypedDict, total=False):
    """The arguments of :class:`unimatch.Method` beside the model."""

    learning_rate: float
    decoder_multiplier: float
    optimizer: Literal["adamw", "sgd"]
    schedule: Literal["poly", "cosine"]
    weight_decay: float
    decay_norms: bool
    layer_decay: float
    ema_decay: float
    criterion: Literal["ce", "ohem"]
    ohem_threshold: float
    ohem_min_kept: int
    freeze_batch_statistics: bool
    reference_batch: int | None
    seed: int
    task: Task | None


class PseudoLabelOptions(MethodOptions, total=False):
    """And of every method with pseudo labels."""

    tau: float
    loss_weight: float
    pseudo_labels_from: PseudoLabelsFrom
    distribution_alignment: Alignment


class CutMixOptions(PseudoLabelOptions, total=False):
    """And where CutMix pastes from the same batch unless told otherwise."""

    cutmix_partner: CutMixPartner


class SemiSupervisedOptions(CutMixOptions, total=False):
    """All arguments of :class:`unimatch.SemiSupervised` beside the model."""

    strong_views: int


class NamedOptions:
    """Shows every keyword argument of its subclasses in their signatures, and refuses all others by name."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Refuses a keyword argument that the class does not take, and names the closest one that it does."""
        known = inspect.signature(cls).parameters
        for name, value in options.items():
            if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
                close = get_close_matches(name, known, n=1, cutoff=0.5)
                meant = f"; did you mean {close[0]}?" if close else f". There are: {', '.join(known)}"
                raise ConfigError(f"{name}={value}: {cls.__name__} has no such argument{meant}")
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = full_signature(cls)  # type: ignore[attr-defined]


def full_signature(cls: type) -> inspect.Signature:
    """Returns the signature of a class with its base class's keyword arguments in place of ``**options``.

    ``**options: Unpack[SomeOptions]`` takes those of the base that ``SomeOptions`` has, any other ``**options`` all.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in base.__dict__)
    own = inspect.signature(owner.__dict__["__init__"])
    parameters = list(own.parameters.values())[1:]  # without self
    rest = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
    if rest is not None:
        base = owner.__mro__[1]
        accepted = get_args(rest.annotation)  # of Unpack
        taken = {p.name for p in parameters}
        parameters[parameters.index(rest) :] = [
            p.replace(kind=p.KEYWORD_ONLY)
            for p in full_signature(base).parameters.values()
            if p.name not in taken and (not accepted or p.name in accepted[0].__annotations__)
        ]
    return own.replace(parameters=parameters)


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Refuses a setting that is none of its choices.

    Raises:
        ConfigError: naming the argument and the choices.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value}: must be one of {', '.join(map(str, choices))}")
