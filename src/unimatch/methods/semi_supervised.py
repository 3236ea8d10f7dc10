"""What all methods with pseudo labels share: making the labels, choosing those to train on, and CutMix.

Source: UniMatch V2, section 3.1; FixMatch (arXiv 2001.07685) and UniMatch V1 (arXiv 2208.09910) have the same parts.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.augment.cutmix import cutmix
from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.errors import ConfigError
from unimatch.methods.alignment import DistributionAlignment
from unimatch.methods.base import Method
from unimatch.methods.fit_checks import total_steps
from unimatch.methods.losses import Losses, consistency_loss
from unimatch.methods.options import Alignment, CutMixPartner, MethodOptions, PseudoLabelsFrom, Thresholds
from unimatch.methods.reliability import NEVER, Reliability, measure, poor_classes, warning_of
from unimatch.models.base import Model
from unimatch.options import is_between, not_negative, one_of, probability
from unimatch.speed.cross_entropy_by_rows import label_and_confidence
from unimatch.speed.upsampling import size_of, upsample
from unimatch.types import TrainBatch, UnlabeledBatch

log = logging.getLogger("unimatch")


@dataclass(frozen=True)
class StrongView:
    """One strong view of the unlabelled batch after CutMix, with the pseudo labels that were pasted along."""

    image: Tensor
    """(B, ..., H, W), ``s``."""
    label: Tensor
    """(B, *S) int64, ``q``."""
    confidence: Tensor
    """(B, *S) in 0-1, ``c``."""
    valid: Tensor
    """(B, *S) bool, ``v``."""


class SemiSupervised(Method):
    """A method that trains on confident pseudo labels.

    Args:
        model: the student.
        tau: the threshold: pseudo labels below this confidence are not trained on.
        thresholds: ``fixed``: ``tau`` for every class. ``reliable``: for each class the lowest threshold, from ``tau``
            up, at which a share of at least ``tau`` of its pseudo labels is right; a class without such a threshold
            gives no pseudo labels. Each evaluation measures the thresholds on labelled images that the data module
            holds out (:mod:`unimatch.methods.reliability`).
        loss_weight: lambda, the weight of the unlabelled loss.
        labeled_first: share of the training, from its start, that trains on the labelled images alone, as if lambda
            were 0; such a step takes no longer than one of labelled-only training. A teacher that has learned from the
            labels before its pseudo labels count makes fewer wrong ones.
        strong_views: number of strong views of each unlabelled image, 1 or 2.
        pseudo_labels_from: the teacher, or the student itself (the paper's "no EMA", table 10).
        cutmix_partner: ``reversed`` pastes from the same batch in reverse order, ``second_batch`` from a second
            unlabelled batch (UniMatch V1), which the data module then loads. In classification nothing is pasted.
        distribution_alignment: aligns the class distribution of pseudo labels (:mod:`unimatch.methods.alignment`), for
            classification: to the ``uniform`` one, to that of the ``labeled`` images, or not at all (``none``).
        **options: of :class:`unimatch.Method`, explained there.
    """

    def __init__(
        self,
        model: Model,
        *,
        tau: float = 0.95,
        thresholds: Thresholds = "fixed",
        loss_weight: float = 1.0,
        labeled_first: float = 0.0,
        strong_views: int = 2,
        pseudo_labels_from: PseudoLabelsFrom = "teacher",
        cutmix_partner: CutMixPartner = "reversed",
        distribution_alignment: Alignment = "none",
        **options: Unpack[MethodOptions],
    ) -> None:
        super().__init__(model, **options)
        probability(tau=tau)
        not_negative(loss_weight=loss_weight)
        if not is_between(labeled_first, 0, 1) or labeled_first == 1:
            raise ConfigError(f"labeled_first={labeled_first}: must be at least 0 and below 1; 1 is method=supervised")
        one_of("strong_views", strong_views, (1, 2))
        self.tau, self.loss_weight, self.strong_views = tau, loss_weight, strong_views
        self.labeled_first, self.labeled_steps = labeled_first, 0
        self.pseudo_labels_from = pseudo_labels_from
        self.uses_partner = cutmix_partner == "second_batch" and self.task.cutmix
        self.alignment: DistributionAlignment | None = None
        if distribution_alignment != "none":
            self.alignment = DistributionAlignment(model.num_classes, labeled=distribution_alignment == "labeled")
        self.reliability = Reliability(model.num_classes, tau)
        self.thresholds: Tensor | None
        self.register_buffer("thresholds", torch.full((model.num_classes,), tau) if thresholds == "reliable" else None)

    def threshold(self, q: Tensor) -> float | Tensor:
        """Returns the confidence that labels ``q`` (B, *S) must reach: ``tau``, or (B, *S) thresholds by class."""
        return self.tau if self.thresholds is None else self.thresholds[q]

    @override
    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.thresholds is not None:
            self.thresholds.fill_(self.tau)  # those of a checkpoint to continue from are read later

    @override
    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self.labeled_first:
            total = total_steps(self.trainer)
            self.labeled_steps = round(self.labeled_first * total)
            log.info("the first %d of %d steps train on labelled images alone", self.labeled_steps, total)

    @override
    def losses_at(self, step: int, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes the losses of a step; those of the labelled images alone in the first steps, if it is asked for."""
        if step >= self.labeled_steps:
            return self.losses(batch, generator)
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        loss_x = self.part_mean(self.criterion, self.student.coarse(x), y)
        return Losses(loss_x / 2, {"loss_x": loss_x})  # the methods' total with lambda 0

    @override
    def reason_for_one_part(self) -> str | None:
        if self.alignment is not None:
            return "distribution alignment takes in the parts one after the other"
        return super().reason_for_one_part()

    @override
    def check_datamodule(self, datamodule: object) -> None:
        super().check_datamodule(datamodule)
        if self.thresholds is not None and with_held_out(datamodule) is None:
            raise ConfigError(
                "method.thresholds=reliable: follows from labelled images that are held out; set "
                "datamodule.held_out=auto, or method.thresholds=fixed"
            )

    @override
    def measure_pseudo_labels(self) -> dict[str, Any]:
        """Measures the pseudo labels' reliability on held-out images, warns if it is low, and sets the thresholds.

        Returns:
            The result of :meth:`unimatch.methods.reliability.Reliability.compute`; empty without held-out images.
        """
        datamodule = with_held_out(getattr(self.trainer, "datamodule", None))
        if datamodule is None:
            return {}
        measure(self, datamodule, self.reliability)
        found: dict[str, Any] = self.reliability.compute()
        before = self.evaluations[-1].pseudo if self.evaluations else {}
        (low, silent), (low_before, silent_before) = poor_classes(found, self.tau), poor_classes(before, self.tau)
        news = set(low) != set(low_before) or set(silent) != set(silent_before)
        if news and self.trainer.is_global_zero:
            classes, images = datamodule.data.info.classes, len(datamodule.data.held_out or ())
            warning = warning_of(found, self.tau, classes, images)
            if warning is not None:
                log.warning("%s", warning)
        if self.thresholds is not None:
            values = [NEVER if value is None else value for value in found["class_threshold"]]
            self.thresholds.copy_(torch.tensor(values))
        return found

    @torch.no_grad()
    def pseudo_labels(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the most probable class ``q`` in the weak view and its probability ``c``: (B, *S) each."""
        return self.labels_of(self.labelling_logits(w), size_of(w))

    @torch.no_grad()
    def training_labels(self, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the same pseudo labels to train on: alignment first observes the labels ``y`` and the views ``w``."""
        return self.labels_of(self.labelling_logits(w), size_of(w), observed=y)

    def partner_labels(self, batch: TrainBatch) -> tuple[Tensor, Tensor] | None:
        """Returns the pseudo labels of the second unlabelled batch; None if CutMix pastes from the same batch."""
        return self.pseudo_labels(batch["partner"]["weak"]) if self.uses_partner else None

    def labelling_logits(self, w: Tensor) -> Tensor:
        """Returns the logits of the model that gives the pseudo labels, in eval mode, at the decoder's size."""
        if self.pseudo_labels_from == "teacher":
            return self.teacher.coarse(w)
        self.student.eval()
        try:
            return self.student.coarse(w)
        finally:
            self.train()  # not student.train(), which would unfreeze frozen BatchNorm statistics
            # PyTorch 2.6 (not 2.11) would reuse autocast's casts of these weights, which have no gradient, in training.
            torch.clear_autocast_cache()

    def labels_of(
        self, logits: Tensor, size: tuple[int, int], *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the most probable classes and their probabilities, aligned where the method aligns them.

        Args:
            logits: (B, C, *s) of the weak views.
            size: height and width of the weak views, in pixels.
            observed: in training, (B, *S) labels of the step's labelled images: alignment first observes these and the
                logits.
        """
        if self.alignment is None:
            return label_and_confidence(logits, size)
        if logits.dim() == 4:
            logits = upsample(logits, size)  # not row by row: alignment needs the whole batch
        probabilities = logits.detach().float().softmax(dim=1)
        if observed is not None:
            self.alignment.observe(observed, probabilities)
        confidence, label = self.alignment(probabilities).max(dim=1)
        return label, confidence

    def cutmixed(
        self, batch: TrainBatch, q: Tensor, c: Tensor, other: tuple[Tensor, Tensor] | None
    ) -> list[StrongView]:
        """Returns the strong views after CutMix: the same boxes move ``s``, ``q``, ``c`` and ``v``.

        Args:
            batch: as for ``losses``.
            q: (B, *S) pseudo labels of the unlabelled batch.
            c: (B, *S) their confidence.
            other: what :meth:`partner_labels` returns.
        """
        v = batch["unlabeled"]["valid"]
        images = strong_images(batch["unlabeled"], self.strong_views)
        if other is None:
            return [StrongView(*cutmix(box, s, q, c, v, parts=self.parts_at_once)) for s, box in images]
        others = strong_images(batch["partner"], self.strong_views)
        return [
            StrongView(*cutmix(box, s, q, c, v, partner=(s_other, *other, batch["partner"]["valid"])))
            for (s, box), (s_other, _) in zip(images, others, strict=True)
        ]

    def consistency(self, logits: Sequence[Tensor], views: Sequence[StrongView]) -> Tensor:
        """Returns the mean of the strong views' losses: ``(L_s1 + L_s2) / 2`` where there are two."""
        losses = [
            self.part_mean(consistency_loss, f_s, view.label, view.confidence, view.valid, self.threshold(view.label))
            for f_s, view in zip(logits, views, strict=True)
        ]
        return torch.stack(losses).mean()


def with_held_out(datamodule: object) -> SemiSupervisedDataModule | None:
    """Returns a data module if it holds out labelled images, else None."""
    if isinstance(datamodule, SemiSupervisedDataModule) and datamodule.data.held_out is not None:
        return datamodule
    return None


def strong_images(batch: UnlabeledBatch, count: int) -> list[tuple[Tensor, Tensor | None]]:
    """Returns the first one or two strong views of a batch, each with its CutMix box; None for data without CutMix."""
    views = [(batch["strong1"], batch.get("box1"))]
    return views if count == 1 else [*views, (batch["strong2"], batch.get("box2"))]
