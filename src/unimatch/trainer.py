"""Lightning's trainer, with optimizer steps of a given number of images at any number of processes."""

from typing import Any

import lightning
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.options import NamedOptions
from unimatch.speed.compile import Compile


class Trainer(lightning.Trainer, NamedOptions):
    """Lightning's trainer that also takes ``global_batch`` and ``compile``.

    The published step is the mean of ``P`` *parts*, one for each process: 16 images are four parts of four. CutMix
    pastes within a part, each part's losses are divided by its own pixels, and the gradients of the parts are averaged.
    Here a part is ``datamodule.batch_size`` labelled images, and a step has ``P = global_batch / batch_size`` parts
    at any number of processes: each process computes ``P / processes`` of them, one after the other. Which samples a
    part holds and what is drawn for it depends on the step and the part alone. The gradients of a step are therefore
    the same, to rounding, on 1, 2 or ``P`` processes, and so is the number of steps in an epoch. Only BatchNorm in
    training mode still sees the images alone that its process holds at once.

    Args:
        global_batch: labelled images of an optimizer step, all processes together; None for as many as the processes
            hold at once, times ``accumulate_grad_batches``. If given, a whole-number ``val_check_interval`` counts
            optimizer steps (without it, Lightning counts batches).
        compile: whether ``torch.compile`` compiles student and teacher (:class:`unimatch.speed.compile.Compile`).
        **options: those of ``lightning.Trainer``.

    Raises:
        ConfigError: ``accumulate_grad_batches`` is given too.
    """

    def __init__(self, *, global_batch: int | None = None, compile: bool = False, **options: Any) -> None:
        if global_batch is not None and options.get("accumulate_grad_batches", 1) != 1:
            raise ConfigError("accumulate_grad_batches: follows from global_batch; give one of the two")
        if compile:
            options["callbacks"] = [*(options.get("callbacks") or []), Compile()]
        super().__init__(**options)
        self.global_batch = global_batch

    @override
    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Trains as Lightning's trainer does; how many images a part has is read from the data module."""
        if self.global_batch is not None:
            self._accumulate(self.global_batch, (datamodule or train_dataloaders).batch_size)
        options = {} if weights_only is None else {"weights_only": weights_only}  # Lightning 2.5 has no such argument
        super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, **options)

    def _accumulate(self, global_batch: int, batch_size: int) -> None:
        """Sets how many parts of a step each process computes; refuses parts that cannot be shared evenly."""
        together = batch_size * self.world_size
        if global_batch < 1 or global_batch % together:
            raise ConfigError(
                f"global_batch={global_batch}: must be a multiple of {together}, what {self.world_size} "
                f"process(es) hold at batch_size={batch_size}; change one of the three"
            )
        before, self.accumulate_grad_batches = self.accumulate_grad_batches, global_batch // together
        if type(self.val_check_interval) is int:
            self.val_check_interval = self.val_check_interval // before * self.accumulate_grad_batches


def evaluates_training(trainer: lightning.Trainer) -> bool:
    """Returns whether an evaluation is part of training: no sanity check, ``trainer.validate`` or ``trainer.test``."""
    return trainer.state.fn not in ("validate", "test") and not trainer.sanity_checking


def parts_of(trainer: Any) -> int:
    """Returns how many parts of a step of ``global_batch`` images each process computes; 1 without it."""
    return trainer.accumulate_grad_batches if getattr(trainer, "global_batch", None) is not None else 1
