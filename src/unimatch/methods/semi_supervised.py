"""What the methods with pseudo labels share: where the labels come from, and CutMix of the strong views.

Source: UniMatch V2, section 3.1; FixMatch (arXiv 2001.07685) and UniMatch V1 (arXiv 2208.09910) are built of the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from unimatch.augment.cutmix import cutmix
from unimatch.errors import ConfigError
from unimatch.methods.alignment import DistributionAlignment
from unimatch.methods.base import Method
from unimatch.methods.losses import consistency_loss
from unimatch.models.dpt import size_of
from unimatch.models.networks import Model
from unimatch.speed.cross_entropy_by_rows import label_and_confidence
from unimatch.speed.upsampling import upsample
from unimatch.types import TrainBatch, UnlabeledBatch

PseudoLabelsFrom = Literal["teacher", "student"]
CutMixPartner = Literal["reversed", "second_batch"]
Alignment = Literal["none", "uniform", "labeled"]


@dataclass(frozen=True)
class StrongView:
    """One strong view of the unlabelled batch after CutMix, with what moved along."""

    image: Tensor
    """(B, 3, H, W), ``s``."""
    label: Tensor
    """(B, H, W) int64, ``q``."""
    confidence: Tensor
    """(B, H, W) in 0-1, ``c``."""
    valid: Tensor
    """(B, H, W) bool, ``v``."""


class SemiSupervised(Method):
    """A method that trains on confident pseudo labels.

    Args:
        model: the student.
        tau: pseudo labels below this confidence are not trained on.
        loss_weight: lambda, the weight of the unlabelled loss.
        strong_views: number of strong views of each unlabelled image, 1 or 2.
        pseudo_labels_from: the teacher, or the student itself (the paper's "no EMA", table 10).
        cutmix_partner: ``reversed`` pastes from the same batch in reverse order, ``second_batch`` from a second
            unlabelled batch (UniMatch V1), which the data module then loads.
        distribution_alignment: of the pseudo labels' classes (:mod:`unimatch.methods.alignment`), for classification:
            with the ``uniform`` distribution, with that of the ``labeled`` images, or ``none``.
        **options: see :class:`unimatch.methods.base.Method`.
    """

    def __init__(
        self,
        model: Model,
        *,
        tau: float = 0.95,
        loss_weight: float = 1.0,
        strong_views: int = 2,
        pseudo_labels_from: PseudoLabelsFrom = "teacher",
        cutmix_partner: CutMixPartner = "reversed",
        distribution_alignment: Alignment = "none",
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if not 0 <= tau <= 1:
            raise ConfigError(f"method.tau={tau}: must be a probability, 0 to 1")
        one_of("strong_views", strong_views, (1, 2))
        one_of("pseudo_labels_from", pseudo_labels_from, ("teacher", "student"))
        one_of("cutmix_partner", cutmix_partner, ("reversed", "second_batch"))
        one_of("distribution_alignment", distribution_alignment, ("none", "uniform", "labeled"))
        self.tau, self.loss_weight = tau, loss_weight
        self.strong_views = strong_views
        self.pseudo_labels_from = pseudo_labels_from
        self.uses_partner = cutmix_partner == "second_batch"
        self.alignment: DistributionAlignment | None = None
        if distribution_alignment != "none":
            self.alignment = DistributionAlignment(model.num_classes, labeled=distribution_alignment == "labeled")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """See the base class; and count the labelled classes, where pseudo labels are aligned with these."""
        super().on_train_batch_start(batch, batch_idx)
        if self.alignment is not None:
            self.alignment.observe(batch["labeled"]["label"])

    @torch.no_grad()
    def pseudo_labels(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable class ``q`` of each pixel of the weak view and its probability ``c``: (B, H, W) each."""
        if self.pseudo_labels_from == "teacher":
            return self.label_and_confidence(self.teacher.coarse(w), size_of(w))
        self.student.eval()
        try:
            return self.label_and_confidence(self.student.coarse(w), size_of(w))
        finally:
            self.train()  # and not student.train(): frozen statistics stay frozen
            # In older PyTorch (2.6; not 2.11) autocast uses the casts of these weights, which have no gradient, again.
            torch.clear_autocast_cache()

    def label_and_confidence(self, logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """As :func:`unimatch.speed.cross_entropy_by_rows.label_and_confidence`, and aligned where pseudo labels are."""
        if self.alignment is None:
            return label_and_confidence(logits, size)
        if logits.dim() == 4:
            logits = upsample(logits, size)  # alignment needs the whole batch at once
        confidence, label = self.alignment(logits.detach().float().softmax(dim=1)).max(dim=1)
        return label, confidence

    def partner_labels(self, batch: TrainBatch) -> tuple[Tensor, Tensor] | None:
        """The pseudo labels of the second unlabelled batch, where CutMix pastes from one."""
        return self.pseudo_labels(batch["partner"]["weak"]) if self.uses_partner else None

    def cutmixed(
        self, batch: TrainBatch, q: Tensor, c: Tensor, other: tuple[Tensor, Tensor] | None
    ) -> list[StrongView]:
        """The strong views after CutMix: the same boxes move ``s``, ``q``, ``c`` and ``v``.

        Args:
            batch: as for ``losses``.
            q: (B, H, W) pseudo labels of the unlabelled batch.
            c: (B, H, W) their confidence.
            other: of :meth:`partner_labels`.
        """
        own = batch["unlabeled"]
        images = strong_images(own, self.strong_views)
        if other is None:
            return [StrongView(*cutmix(box, s, q, c, own["valid"])) for s, box in images]
        v_other = batch["partner"]["valid"]
        return [
            StrongView(*cutmix(box, s, q, c, own["valid"], partner=(s_other, *other, v_other)))
            for (s, box), (s_other, _) in zip(images, strong_images(batch["partner"], self.strong_views), strict=True)
        ]

    def consistency(self, logits: Sequence[Tensor], views: Sequence[StrongView]) -> Tensor:
        """The mean over the strong views of their losses, ``(L_s1 + L_s2) / 2`` where there are two."""
        losses = [
            consistency_loss(f_s, view.label, view.confidence, view.valid, self.tau)
            for f_s, view in zip(logits, views, strict=True)
        ]
        return torch.stack(losses).mean()


def strong_images(batch: UnlabeledBatch, count: int) -> list[tuple[Tensor, Tensor | None]]:
    """The first one or two strong views of a batch with their CutMix boxes, None for data without any."""
    views = [(batch["strong1"], batch.get("box1"))]
    if count == 2:
        views.append((batch["strong2"], batch.get("box2")))
    return views


def one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        ConfigError: naming the key and the choices.
    """
    if value not in choices:
        raise ConfigError(f"method.{name}={value}: must be one of {', '.join(map(str, choices))}")
