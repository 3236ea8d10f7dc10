"""Ends a training whose teacher has stopped getting better."""

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.methods.base import Method
from unimatch.trainer import evaluates_training


class EarlyStopping(Callback):
    """Ends the training after some evaluations without a better headline score of the teacher, such as its mIoU.

    It looks at all evaluations of the run, also those before it was resumed, and keeps nothing itself.

    Args:
        patience: evaluations, at least 1, in a row without a better score.
        min_delta: points, at least 0, by which a score must exceed the best so far to be a better one.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ConfigError(f"patience={patience}: must be at least 1")
        if min_delta < 0:
            raise ConfigError(f"min_delta={min_delta}: must not be negative")
        self.patience, self.min_delta = patience, min_delta

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.look(trainer, pl_module)  # the run that is resumed may have ended so

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if evaluates_training(trainer):
            self.look(trainer, pl_module)

    def look(self, trainer: Trainer, method: LightningModule) -> None:
        """Ends the training if it is time to."""
        assert isinstance(method, Method)
        best, waited = float("-inf"), 0
        for evaluation in method.evaluations:
            better = evaluation.teacher.main > best + self.min_delta
            best, waited = (evaluation.teacher.main, 0) if better else (best, waited + 1)
        if waited >= self.patience:
            trainer.should_stop = True
