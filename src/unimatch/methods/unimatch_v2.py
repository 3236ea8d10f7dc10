"""UniMatch V2. Source: Yang, Zhao, Zhao: UniMatch V2, arXiv 2410.10777, section 3 and algorithm 1.

``B`` images, ``C`` classes, ``*S`` a label's shape: the crop's ``H W``, or nothing for one class an image; ``*s`` the
shape of the decoder's logits, ``D_l *s_l`` the encoder's level ``l``. Names follow the paper.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal, Unpack

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.methods.losses import Losses, PseudoLabels, mask_ratio
from unimatch.methods.options import SemiSupervisedOptions
from unimatch.methods.parts_in_batch import masks_of_parts
from unimatch.methods.semi_supervised import SemiSupervised
from unimatch.models.base import Model
from unimatch.models.dropout import channel_masks, drop_channels
from unimatch.options import is_between
from unimatch.types import TrainBatch

ChannelDropout = Literal["complementary", "independent", "none"]


class UniMatchV2(SemiSupervised):
    """Trains two strong views on the weak view's pseudo labels, with complementary dropout of their features.

    The ablations of the paper are arguments: ``strong_views=1 channel_dropout=independent`` is figure 4a,
    ``channel_dropout=none`` 4b, ``channel_dropout=independent`` 4c (table 6); ``dropout_at=classifier`` table 12;
    ``pseudo_labels_from=student`` table 10.

    Args:
        model: the student.
        channel_dropout: the masks of the two strong views: each the other's complement, drawn independently, or none.
        keep_ratio: share of the unlabelled images whose features are not dropped.
        dropout_at: the encoder's output, or the input of the decoder's last layer, its classifier.
        **options: of :class:`unimatch.SemiSupervised` and :class:`unimatch.Method`, explained there.

    >>> from unimatch import SegmentationModel
    >>> method = UniMatchV2(SegmentationModel("tiny", num_classes=11), tau=0.8, learning_rate=3e-3)
    """

    keeps_parts_apart: ClassVar[bool] = True

    def __init__(
        self,
        model: Model,
        *,
        channel_dropout: ChannelDropout = "complementary",
        keep_ratio: float = 0.5,
        dropout_at: Literal["encoder", "classifier"] = "encoder",
        **options: Unpack[SemiSupervisedOptions],
    ) -> None:
        super().__init__(model, **options)
        if not is_between(keep_ratio, 0, 1):
            raise ConfigError(f"keep_ratio={keep_ratio}: must be a share, 0 to 1")
        if channel_dropout == "complementary" and self.strong_views == 1:
            raise ConfigError(
                "channel_dropout=complementary: needs two strong views; with strong_views=1 choose independent or none"
            )
        if dropout_at == "classifier" and model.features == 0:
            raise ConfigError("dropout_at=classifier: the model's decoder does not say the width of its classifier")
        self.channel_dropout, self.keep_ratio, self.dropout_at = channel_dropout, keep_ratio, dropout_at

    @override
    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes ``L = (L_x + lambda (L_s1 + L_s2) / 2) / 2``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        w, v = batch["unlabeled"]["weak"], batch["unlabeled"]["valid"]

        # The teacher's pseudo labels on the weak view, and their confidence.
        q, c = self.training_labels(w, y)  # (B, *S) twice
        tau = self.threshold(q)

        # CutMix moves each strong view together with its pseudo labels.
        strong = self.cutmixed(batch, q, c, self.partner_labels(batch))

        # The student: labelled images without dropout, both strong views with
        # Complementary Dropout.
        s = torch.cat([view.image for view in strong])  # (2B, ..., H, W)
        f_x, *f_s = self.student_logits(x, s, generator)  # (B, C, *s) three times
        loss_x = self.part_mean(self.criterion, f_x, y)
        loss_s = self.consistency(f_s, strong)
        return Losses(
            total=(loss_x + self.loss_weight * loss_s) / 2,
            parts={"loss_x": loss_x, "loss_s": loss_s, "mask_ratio": self.part_mean(mask_ratio, c, v, tau)},
            pseudo=PseudoLabels(q, c, v, tau),
        )

    def student_logits(self, x: Tensor, s: Tensor, generator: torch.Generator) -> Sequence[Tensor]:
        """Returns ``f(x)`` and each ``f(s)``, in one pass unless images of a batch are normalised together."""
        images = len(s) // self.strong_views
        if self.uses_batch_statistics:  # which labelled images and strong views do not share, as published
            return self.student.coarse(x), *torch.split(self.coarse_with_dropout(s, 0, generator), images)
        everything = self.coarse_with_dropout(torch.cat([x, s]), len(x), generator)
        return torch.split(everything, [len(x), *[images] * self.strong_views])

    def coarse_with_dropout(self, images: Tensor, undropped: int, generator: torch.Generator) -> Tensor:
        """Returns the student's logits (N, C, *s), with channel dropout for all but the first ``undropped`` images.

        Those others are the strong views: all first views, then all second views.
        """
        levels = self.student.encode(images)  # of (N, D_l, *s_l)
        if self.channel_dropout == "none":
            return self.student.decode(levels)
        at_encoder = self.dropout_at == "encoder"
        draw = partial(
            channel_masks,
            widths=[level.shape[1] for level in levels] if at_encoder else [self.student.features],
            views=self.strong_views,
            complementary=self.channel_dropout == "complementary",
            keep_ratio=self.keep_ratio,
        )
        pairs = (len(images) - undropped) // self.strong_views
        masks = masks_of_parts(draw, pairs, generator, views=self.strong_views)
        masks = [torch.cat([mask.new_ones(undropped, *mask.shape[1:]), mask]) for mask in masks]
        if at_encoder:
            return self.student.decode(drop_channels(levels, masks))
        return self.student.decode(levels, classifier_mask=masks[0])
