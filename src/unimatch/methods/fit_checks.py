"""Checks before a method is trained: do trainer and data fit it?"""

import lightning

from unimatch.data.sources.base import SegmentationData
from unimatch.errors import ConfigError
from unimatch.models.base import Model
from unimatch.options import one_of
from unimatch.tasks import Task
from unimatch.trainer import PRECISIONS


def check_trainer(trainer: lightning.Trainer) -> None:
    """Refuses a trainer that would train in another precision, train nothing, or end without an evaluation.

    Raises:
        ConfigError: naming the setting.
    """
    one_of("precision", trainer.precision, PRECISIONS)
    trainer.should_stop = False  # a probe before, such as Lightning's BatchSizeFinder, leaves it set
    steps, epochs = trainer.max_steps, trainer.max_epochs or -1
    # Of an earlier fit: a checkpoint's counters are read later.
    if 0 < steps <= trainer.global_step or 0 < epochs <= trainer.current_epoch:
        raise ConfigError(
            f"this trainer has trained {trainer.global_step} steps already, all that it was made for, and would train "
            "nothing; make a new one"
        )
    every = trainer.check_val_every_n_epoch or 1
    if every > 1 and (epochs < 0 or epochs % every or steps > 0):
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={every} would leave the end of training without an evaluation: choose a "
            "divisor of trainer.max_epochs, or evaluate every N steps: trainer.val_check_interval=N "
            "trainer.check_val_every_n_epoch=null"
        )


def check_data(task: Task, datamodule: object) -> None:
    """Refuses data of another task, such as single images where pairs of dates are needed.

    Raises:
        ConfigError: naming both.
    """
    data = getattr(datamodule, "data", None)
    if isinstance(data, SegmentationData) and len(data.labeled):
        task.check_data(data)


def check_classes(model: Model, datamodule: object) -> None:
    """Refuses data with more classes than the model has; data that do not say how many have to fit.

    Raises:
        ConfigError: naming both numbers.
    """
    info = getattr(getattr(datamodule, "data", None), "info", None)
    if info is not None and info.num_classes > model.num_classes:
        raise ConfigError(
            f"num_classes={model.num_classes}: the data has {info.num_classes} classes; build the model with "
            "num_classes=data.info.num_classes"
        )
