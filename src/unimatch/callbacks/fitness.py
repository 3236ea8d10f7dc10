"""Warns at the start of a training if its length or its sizes do not fit the data."""

import logging

import lightning
from typing_extensions import override

from unimatch.augment import ScaledCrop
from unimatch.data import SemiSupervisedDataModule
from unimatch.data.check.fitness import misfits
from unimatch.methods.base import Method

log = logging.getLogger("unimatch")


class Fitness(lightning.Callback):
    """Logs the findings of :func:`unimatch.data.check.fitness.misfits` once, as warnings."""

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not isinstance(module, SemiSupervisedDataModule):
            return
        assert isinstance(pl_module, Method)
        weak, steps = module.views.weak, int(trainer.estimated_stepping_batches)
        low, high = weak.scale if isinstance(weak, ScaledCrop) else (1.0, 1.0)
        decay = pl_module.ema_decay if pl_module.uses_unlabeled else None
        for text in misfits(module.data, steps=steps, ema_decay=decay, crop=module.crop, scale=(low, high)):
            log.warning("%s", text)
