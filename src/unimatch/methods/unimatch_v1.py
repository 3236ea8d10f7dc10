"""UniMatch V1. Source: Yang et al.: Revisiting Weak-to-Strong Consistency, arXiv 2208.09910, section 3, algorithm 1.

``B`` images, ``C`` classes, ``H W`` the crop, ``h w`` the decoder's size, ``D_l h_l w_l`` the encoder's level ``l``.
"""

from typing import Any

import torch

from unimatch.methods.base import Losses, PseudoLabels
from unimatch.methods.losses import consistency_loss, mask_ratio
from unimatch.methods.semi_supervised import CutMixPartner, SemiSupervised
from unimatch.models.dpt import size_of
from unimatch.models.dropout import drop_channels, feature_masks
from unimatch.models.networks import Model
from unimatch.types import TrainBatch


class UniMatchV1(SemiSupervised):
    """Two strong views and, as a third stream, the weak view with its features dropped.

    ``pseudo_labels_from=student`` is V1's own setting: the pseudo labels are the student's prediction in the same
    pass, detached. The V2 paper compares with V1 under an EMA teacher, the default here.

    Args:
        model: the student.
        cutmix_partner: V1 pastes from a second unlabelled batch.
        feature_dropout: probability of dropping each feature channel of the weak view's third stream.
        **options: see :class:`unimatch.methods.semi_supervised.SemiSupervised`; there are two strong views.

    >>> from unimatch import SegmentationModel
    >>> method = UniMatchV1(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    def __init__(
        self,
        model: Model,
        *,
        cutmix_partner: CutMixPartner = "second_batch",
        feature_dropout: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(model, strong_views=2, cutmix_partner=cutmix_partner, **options)
        self.feature_dropout = feature_dropout

    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """``L = (L_x + lambda (L_s1 / 4 + L_s2 / 4 + L_fp / 2)) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        w, v = batch["unlabeled"]["weak"], batch["unlabeled"]["valid"]

        # First, because the student's next pass moves its BatchNorm statistics.
        other = self.partner_labels(batch)

        # Labelled images and weak views in one pass; the weak views' features once more with dropped channels.
        levels = self.student.encode(torch.cat([x, w]))  # of (2B, D_l, h_l, w_l)
        levels_w = [level[len(x) :] for level in levels]  # of (B, D_l, h_l, w_l)
        masks = feature_masks(len(w), [level.shape[1] for level in levels], self.feature_dropout, generator=generator)
        levels_fp = drop_channels(levels_w, masks)
        together = [torch.cat(pair) for pair in zip(levels, levels_fp, strict=True)]  # of (3B, D_l, h_l, w_l)
        f_x, f_w, f_fp = torch.split(self.student.decode(together), [len(x), len(w), len(w)])

        if self.pseudo_labels_from == "teacher":
            q, c = self.pseudo_labels(w)  # (B, H, W) twice
        else:
            q, c = self.label_and_confidence(f_w, size_of(w))
        strong = self.cutmixed(batch, q, c, other)
        logits = self.student.coarse(torch.cat([view.image for view in strong])).chunk(2)  # (B, C, h, w) twice

        loss_x = self.criterion(f_x, y)
        loss_s = self.consistency(logits, strong)
        loss_fp = consistency_loss(f_fp, q, c, v, self.tau)
        return Losses(
            total=(loss_x + self.loss_weight * (loss_s + loss_fp) / 2) / 2,
            parts={
                "loss_x": loss_x,
                "loss_s": loss_s,
                "loss_fp": loss_fp,
                "mask_ratio": mask_ratio(c, v, self.tau),
            },
            pseudo=PseudoLabels(q, c, v, self.tau),
        )
