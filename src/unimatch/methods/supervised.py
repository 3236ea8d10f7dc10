"""Labelled only: the baseline. Source: UniMatch V2, table 1."""

from typing import ClassVar

import torch

from unimatch.augment.cutmix import cutmix
from unimatch.methods.base import Losses, Method
from unimatch.types import TrainBatch


class Supervised(Method):
    """The criterion on the labelled images. The EMA of the student is evaluated too, but teaches nothing.

    Where the data module augments labelled images strongly, CutMix is applied among them.

    Args:
        model: see :class:`unimatch.methods.base.Method`, as for all arguments.
    """

    uses_unlabeled: ClassVar[bool] = False

    def losses(self, batch: TrainBatch, generator: torch.Generator) -> Losses:
        """``L = criterion(f(x), y)``."""
        x, y = batch["labeled"]["image"], batch["labeled"]["label"]
        if "box" in batch["labeled"]:
            x, y = cutmix(batch["labeled"]["box"], x, y)
        loss_x = self.criterion(self.student.coarse(x), y)
        return Losses(loss_x, {"loss_x": loss_x})
