"""Ends a training whose teacher no longer improves."""

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from unimatch.kinds import checked
from unimatch.methods.base import Method
from unimatch.options import at_least_one, not_negative
from unimatch.trainer import evaluates_training


@checked
class EarlyStopping(Callback):
    """Ends the training when the teacher's headline score, such as mIoU, has not improved for several evaluations.

    It counts all evaluations of the run, including those before a resume, so that it needs no state of its own.

    Args:
        patience: how many evaluations in a row without a better score end the training; at least 1.
        min_delta: percentage points by which a score must exceed the best so far to count as better; at least 0.

    Raises:
        ConfigError: an argument is out of its range.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        at_least_one(patience=patience)
        not_negative(min_delta=min_delta)
        self.patience, self.min_delta = patience, min_delta

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop_if_stalled(trainer, pl_module)  # a run that ended early ends at once if it is resumed

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if evaluates_training(trainer):
            self.stop_if_stalled(trainer, pl_module)

    def stop_if_stalled(self, trainer: Trainer, method: LightningModule) -> None:
        """Ends the training if the last ``patience`` evaluations brought no better score."""
        assert isinstance(method, Method)
        best, without_gain = float("-inf"), 0
        for evaluation in method.evaluations:
            score = evaluation.teacher.main
            if score > best + self.min_delta:
                best, without_gain = score, 0
            else:
                without_gain += 1
        if without_gain >= self.patience:
            trainer.should_stop = True
