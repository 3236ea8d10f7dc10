"""FixMatch for segmentation. Source: Sohn et al., arXiv 2001.07685, as compared in UniMatch V2, table 5.

``B`` images, ``C`` classes, ``*S`` a label's shape: the crop's ``H W``, or nothing for one class an image; ``*s`` the
shape of the decoder's logits.
"""

from typing import ClassVar, Unpack

import torch
from typing_extensions import override

from unimatch.methods.losses import Losses, PseudoLabels, mask_ratio
from unimatch.methods.options import CutMixOptions
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.models.base import Model
from unimatch.types import TrainBatch


class FixMatch(SemiSupervised):
    """Trains one strong view on the weak view's pseudo labels; labelled and strong images pass in one batch.

    Args:
        model: the student.
        **options: of :class:`unimatch.SemiSupervised` and :class:`unimatch.Method`, explained there; there is one
            strong view.

    >>> from unimatch import SegmentationModel
    >>> method = FixMatch(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    keeps_parts_apart: ClassVar[bool] = True

    def __init__(self, model: Model, **options: Unpack[CutMixOptions]) -> None:
        super().__init__(model, strong_views=1, **options)

    @override
    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes ``L = (L_x + lambda L_s) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        w, v = batch["unlabeled"]["weak"], batch["unlabeled"]["valid"]

        q, c = self.training_labels(w, y)  # (B, *S) twice
        tau = self.threshold(q)
        strong = self.cutmixed(batch, q, c, self.partner_labels(batch))

        logits = self.student.coarse(torch.cat([x, strong[0].image]))  # (2B, C, *s)
        f_x, f_s = torch.split(logits, [len(x), len(w)])
        loss_x = self.part_mean(self.criterion, f_x, y)
        loss_s = self.consistency([f_s], strong)

        return Losses(
            total=(loss_x + self.loss_weight * loss_s) / 2,
            parts={"loss_x": loss_x, "loss_s": loss_s, "mask_ratio": self.part_mean(mask_ratio, c, v, tau)},
            pseudo=PseudoLabels(q, c, v, tau),
        )
