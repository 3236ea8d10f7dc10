"""The keyword arguments that a method's constructor hands on to its base class (:mod:`unimatch.options`)."""

from typing import Literal, TypedDict

from unimatch.methods.criteria import ClassWeights
from unimatch.methods.losses import Criterion
from unimatch.methods.optim import Factor, MakeOptimizer
from unimatch.tasks import Task

PseudoLabelsFrom = Literal["teacher", "student"]
CutMixPartner = Literal["reversed", "second_batch"]
Alignment = Literal["none", "uniform", "labeled"]
Thresholds = Literal["fixed", "reliable"]


class MethodOptions(TypedDict, total=False):
    """The arguments of :class:`unimatch.Method` beside the model."""

    learning_rate: float
    decoder_multiplier: float
    optimizer: Literal["adamw", "sgd"] | MakeOptimizer
    schedule: Literal["poly", "cosine"] | Factor
    weight_decay: float
    decay_norms: bool
    layer_decay: float
    ema_decay: float | None
    criterion: Literal["ce", "ohem"] | Criterion
    ohem_threshold: float
    ohem_min_kept: int
    class_weights: ClassWeights | None
    dice: float
    freeze_batch_statistics: bool
    reference_batch: int | None
    seed: int
    task: Task | None


class PseudoLabelOptions(MethodOptions, total=False):
    """The arguments of every method with pseudo labels."""

    tau: float
    thresholds: Thresholds
    loss_weight: float
    labeled_first: float
    pseudo_labels_from: PseudoLabelsFrom
    distribution_alignment: Alignment


class CutMixOptions(PseudoLabelOptions, total=False):
    """The same, for methods whose CutMix pastes from the same batch by default."""

    cutmix_partner: CutMixPartner


class SemiSupervisedOptions(CutMixOptions, total=False):
    """All arguments of :class:`unimatch.SemiSupervised` beside the model."""

    strong_views: int
