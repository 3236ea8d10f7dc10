"""Labelled only: the baseline. Source: UniMatch V2, table 1."""

from typing import ClassVar

import torch
from typing_extensions import override

from unimatch.augment.cutmix import cutmix
from unimatch.methods.base import Method
from unimatch.methods.losses import Losses
from unimatch.types import TrainBatch


class Supervised(Method):
    """Trains on the labelled images alone. The teacher is evaluated too, but teaches nothing.

    Where the data module augments labelled images strongly, CutMix pastes among them.

    Args:
        model: the student; this and all further arguments are explained in :class:`unimatch.Method`.
    """

    uses_unlabeled: ClassVar[bool] = False
    keeps_parts_apart: ClassVar[bool] = True

    @override
    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """Computes ``L = criterion(f(x), y)``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        if "box" in batch["labeled"]:
            x, y = cutmix(batch["labeled"]["box"], x, y, parts=self.parts_at_once)
        loss_x = self.part_mean(self.criterion, self.student.coarse(x), y)
        return Losses(loss_x, {"loss_x": loss_x})
