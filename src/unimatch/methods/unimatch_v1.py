"""UniMatch V1. Source: Yang et al.: Revisiting Weak-to-Strong Consistency, arXiv 2208.09910, section 3, algorithm 1.

``B`` images, ``C`` classes, ``*S`` a label's shape: the crop's ``H W``, or nothing for one class an image; ``*s`` the
shape of the decoder's logits, ``D_l *s_l`` the encoder's level ``l``.
"""

from functools import partial
from typing import ClassVar, Unpack

import torch
from typing_extensions import override

from unimatch.methods.losses import Losses, PseudoLabels, consistency_loss, mask_ratio
from unimatch.methods.options import CutMixPartner, PseudoLabelOptions
from unimatch.methods.parts_in_batch import masks_of_parts
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.models.base import Model
from unimatch.models.dropout import drop_channels, feature_masks
from unimatch.speed.upsampling import size_of
from unimatch.types import TrainBatch


class UniMatchV1(SemiSupervised):
    """Trains on two strong views and, as a third stream, on the weak view with dropped features.

    In V1's own setting, ``pseudo_labels_from=student``, the pseudo labels are the student's prediction in the same
    pass, detached. The V2 paper compares with V1 under an EMA teacher, the default here.

    Args:
        model: the student.
        cutmix_partner: as for :class:`unimatch.SemiSupervised`; V1 pastes from a second unlabelled batch.
        feature_dropout: probability of dropping each feature channel of the weak view's third stream.
        **options: of :class:`unimatch.SemiSupervised` and :class:`unimatch.Method`, explained there; there are two
            strong views.

    >>> from unimatch import SegmentationModel
    >>> method = UniMatchV1(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    keeps_parts_apart: ClassVar[bool] = True

    def __init__(
        self,
        model: Model,
        *,
        cutmix_partner: CutMixPartner = "second_batch",
        feature_dropout: float = 0.5,
        **options: Unpack[PseudoLabelOptions],
    ) -> None:
        super().__init__(model, strong_views=2, cutmix_partner=cutmix_partner, **options)
        self.feature_dropout = feature_dropout

    @override
    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes ``L = (L_x + lambda (L_s1 / 4 + L_s2 / 4 + L_fp / 2)) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        w, v = batch["unlabeled"]["weak"], batch["unlabeled"]["valid"]

        # First, because the student's next pass moves its BatchNorm statistics.
        other = self.partner_labels(batch)

        # Labelled images and weak views in one pass; the weak views' features once more with dropped channels.
        levels = self.student.encode(torch.cat([x, w]))  # of (2B, D_l, *s_l)
        levels_w = [level[len(x) :] for level in levels]  # of (B, D_l, *s_l)
        draw = partial(feature_masks, widths=[level.shape[1] for level in levels], drop=self.feature_dropout)
        masks = masks_of_parts(draw, len(w), generator)
        levels_fp = drop_channels(levels_w, masks)
        together = [torch.cat(pair) for pair in zip(levels, levels_fp, strict=True)]  # of (3B, D_l, *s_l)
        f_x, f_w, f_fp = torch.split(self.student.decode(together), [len(x), len(w), len(w)])

        if self.pseudo_labels_from == "student":
            q, c = self.labels_of(f_w, size_of(w), observed=y)  # (B, *S) twice
        else:
            q, c = self.training_labels(w, y)
        tau = self.threshold(q)
        strong = self.cutmixed(batch, q, c, other)
        logits = self.student.coarse(torch.cat([view.image for view in strong])).chunk(2)  # (B, C, *s) twice

        loss_x = self.part_mean(self.criterion, f_x, y)
        loss_s = self.consistency(logits, strong)
        loss_fp = self.part_mean(consistency_loss, f_fp, q, c, v, tau)
        return Losses(
            total=(loss_x + self.loss_weight * (loss_s + loss_fp) / 2) / 2,
            parts={
                "loss_x": loss_x,
                "loss_s": loss_s,
                "loss_fp": loss_fp,
                "mask_ratio": self.part_mean(mask_ratio, c, v, tau),
            },
            pseudo=PseudoLabels(q, c, v, tau),
        )
