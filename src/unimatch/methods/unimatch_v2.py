"""UniMatch V2. Source: Yang, Zhao, Zhao: UniMatch V2, arXiv 2410.10777, section 3 and algorithm 1.

``B`` images, ``C`` classes, ``H W`` the crop, ``D_l h_l w_l`` the encoder's level ``l``; names follow the paper.
"""

from typing import Any

import torch

from unimatch.augment.cutmix import cutmix
from unimatch.errors import ConfigError
from unimatch.methods.base import Losses, Method, PseudoLabels
from unimatch.methods.losses import consistency_loss, cross_entropy, mask_ratio
from unimatch.models.dpt import size_of
from unimatch.models.dropout import complementary_masks, drop_channels
from unimatch.models.networks import SegmentationModel
from unimatch.types import TrainBatch


class UniMatchV2(Method):
    """One weak view teaches two strong views, whose features are dropped complementarily.

    Args:
        model: the student.
        tau: pseudo labels below this confidence are not trained on.
        loss_weight: lambda, the weight of the unlabelled loss.
        keep_ratio: share of the pairs of strong views whose features are not dropped.
        **options: see :class:`unimatch.methods.base.Method`.

    >>> from unimatch import SegmentationModel
    >>> method = UniMatchV2(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        tau: float = 0.95,
        loss_weight: float = 1.0,
        keep_ratio: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if not 0 <= tau <= 1:
            raise ConfigError(f"method.tau={tau}: must be a probability, 0 to 1")
        if not 0 <= keep_ratio <= 1:
            raise ConfigError(f"method.keep_ratio={keep_ratio}: must be a share, 0 to 1")
        self.tau, self.loss_weight, self.keep_ratio = tau, loss_weight, keep_ratio

    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """``L = (L_x + lambda (L_s1 + L_s2) / 2) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["mask"]
        unlabeled = batch["unlabeled"]
        w, v = unlabeled["weak"], unlabeled["valid"]

        # The teacher's pseudo labels on the weak view.
        p = self.teacher(w).float().softmax(dim=1)  # (B, C, H, W)
        c, q = p.max(dim=1)  # (B, H, W) twice

        # CutMix moves each strong view together with its pseudo labels.
        s1, q1, c1, v1 = cutmix(unlabeled["box1"], unlabeled["strong1"], q, c, v)
        s2, q2, c2, v2 = cutmix(unlabeled["box2"], unlabeled["strong2"], q, c, v)

        # The student: labelled images without dropout, both strong views with Complementary Dropout.
        loss_x = cross_entropy(self.student(x), y)
        features = self.student.encode(torch.cat([s1, s2]))  # levels of (2B, D_l, h_l, w_l)
        widths = [level.shape[1] for level in features]
        masks = complementary_masks(len(w), widths, generator=generator, keep_ratio=self.keep_ratio)
        features = drop_channels(features, masks)
        logits1, logits2 = self.student.decode(features, size_of(w)).chunk(2)  # (B, C, H, W) twice

        loss_s1 = consistency_loss(logits1, q1, c1, v1, self.tau)
        loss_s2 = consistency_loss(logits2, q2, c2, v2, self.tau)
        loss_s = (loss_s1 + loss_s2) / 2
        return Losses(
            total=(loss_x + self.loss_weight * loss_s) / 2,
            parts={"loss_x": loss_x, "loss_s": loss_s, "mask_ratio": mask_ratio(c, v, self.tau)},
            pseudo=PseudoLabels(q, c, v, self.tau),
        )
