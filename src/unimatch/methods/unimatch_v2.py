"""UniMatch V2. Source: Yang, Zhao, Zhao: UniMatch V2, arXiv 2410.10777, section 3 and algorithm 1.

``B`` images, ``C`` classes, ``H W`` the crop, ``D_l h_l w_l`` the encoder's level ``l``; names follow the paper.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from unimatch.errors import ConfigError
from unimatch.methods.base import Losses, PseudoLabels
from unimatch.methods.losses import mask_ratio
from unimatch.methods.semi_supervised import SemiSupervised, one_of
from unimatch.models.dpt import size_of
from unimatch.models.dropout import channel_masks, drop_channels
from unimatch.models.networks import Model
from unimatch.types import TrainBatch

ChannelDropout = Literal["complementary", "independent", "none"]


class UniMatchV2(SemiSupervised):
    """One weak view teaches two strong views, whose features are dropped complementarily.

    The ablations of the paper are arguments: ``strong_views=1 channel_dropout=independent`` is figure 4a,
    ``channel_dropout=none`` 4b, ``channel_dropout=independent`` 4c (table 6); ``dropout_at=classifier`` table 12;
    ``pseudo_labels_from=student`` table 10.

    Args:
        model: the student.
        channel_dropout: masks of the two strong views: the one's the other's complement, drawn independently,
            or none.
        keep_ratio: share of the unlabelled images whose features are not dropped.
        dropout_at: the encoder's output, or the input of the decoder's last layer, its classifier.
        **options: see :class:`unimatch.methods.semi_supervised.SemiSupervised`.

    >>> from unimatch import SegmentationModel
    >>> method = UniMatchV2(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    def __init__(
        self,
        model: Model,
        *,
        channel_dropout: ChannelDropout = "complementary",
        keep_ratio: float = 0.5,
        dropout_at: Literal["encoder", "classifier"] = "encoder",
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        one_of("channel_dropout", channel_dropout, ("complementary", "independent", "none"))
        one_of("dropout_at", dropout_at, ("encoder", "classifier"))
        if not 0 <= keep_ratio <= 1:
            raise ConfigError(f"method.keep_ratio={keep_ratio}: must be a share, 0 to 1")
        if channel_dropout == "complementary" and self.strong_views == 1:
            raise ConfigError(
                "method.channel_dropout=complementary needs two strong views; with method.strong_views=1 choose "
                "independent or none"
            )
        self.channel_dropout, self.keep_ratio, self.dropout_at = channel_dropout, keep_ratio, dropout_at

    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """``L = (L_x + lambda (L_s1 + L_s2) / 2) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        w, v = batch["unlabeled"]["weak"], batch["unlabeled"]["valid"]

        # The teacher's pseudo labels on the weak view, and their confidence.
        q, c = self.pseudo_labels(w)  # (B, H, W) twice

        # CutMix moves each strong view together with its pseudo labels.
        strong = self.cutmixed(batch, q, c, self.partner_labels(batch))

        # The student: labelled images without dropout, both strong views with Complementary Dropout.
        loss_x = self.criterion(self.student(x), y)
        s = torch.cat([view.image for view in strong])  # (2B, 3, H, W)
        logits = self.student_with_dropout(s, len(w), generator).chunk(len(strong))  # (B, C, H, W) twice
        loss_s = self.consistency(logits, strong)

        return Losses(
            total=(loss_x + self.loss_weight * loss_s) / 2,
            parts={"loss_x": loss_x, "loss_s": loss_s, "mask_ratio": mask_ratio(c, v, self.tau)},
            pseudo=PseudoLabels(q, c, v, self.tau),
        )

    def student_with_dropout(self, s: Tensor, images: int, generator: torch.Generator) -> Tensor:
        """Strong views (2B, 3, H, W), first views before second views -> logits, with channel dropout."""
        levels = self.student.encode(s)  # of (2B, D_l, h_l, w_l)
        if self.channel_dropout == "none":
            return self.student.decode(levels, size_of(s))
        at_encoder = self.dropout_at == "encoder"
        masks = channel_masks(
            images,
            [level.shape[1] for level in levels] if at_encoder else [self.student.features],
            views=len(s) // images,
            complementary=self.channel_dropout == "complementary",
            keep_ratio=self.keep_ratio,
            generator=generator,
        )
        if at_encoder:
            return self.student.decode(drop_channels(levels, masks), size_of(s))
        return self.student.decode(levels, size_of(s), classifier_mask=masks[0])
