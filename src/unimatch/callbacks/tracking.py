"""Sends each class's scores and a picture to TensorBoard, Weights & Biases and MLflow."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from unimatch.data.sources.base import SegmentationData
from unimatch.disk import training_goes_on
from unimatch.images.arrays import ImageArray, dates_by_name
from unimatch.images.pictures import drawing, overlay, spread_evenly, stack_rows
from unimatch.loggers.loggers import MlflowRun
from unimatch.methods.base import Method
from unimatch.options import at_least_one
from unimatch.report.examples import label_with
from unimatch.tasks import PixelTask
from unimatch.trainer import evaluates_training

WIDTH = 320
"""The largest width of an image in the picture, in pixels."""


class Tracking(lightning.Callback):
    """Logs, at each evaluation, the teacher's scores and the pseudo labels by class, and a picture of a few images.

    In classification there is no picture, as it could not show the classes. These values are not written to
    ``metrics.csv``: ``evaluations.jsonl`` holds them, and the report shows them.

    Args:
        data: the data set, with the validation images of the picture and the classes' names and colours.
        count: how many images the picture shows; at least 1.

    Raises:
        ConfigError: ``count`` is below 1.
    """

    def __init__(self, data: SegmentationData, count: int = 4) -> None:
        at_least_one(count=count)
        self.data, self.count = data, count

    @override
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Method)
        loggers = [
            logger for logger in trainer.loggers if isinstance(logger, (TensorBoardLogger, WandbLogger, MlflowRun))
        ]
        if not evaluates_training(trainer) or not trainer.is_global_zero or not loggers:
            return
        step = max(trainer.global_step - 1, 0)  # as Lightning counts it for the other values of this evaluation
        values = self.by_class(pl_module)
        picture = None
        if isinstance(pl_module.task, PixelTask):
            with drawing("the picture of the validation images"):
                picture = self.picture(pl_module)
        for logger in loggers:
            logger.log_metrics(values, step)
            if picture is not None:
                log_picture(logger, picture, step)

    def by_class(self, method: Method) -> dict[str, float]:
        """Returns the last evaluation's values by class: ``teacher_iou/CLASS``, ``pseudo_label_accuracy/CLASS``, ..."""
        evaluation = method.evaluations[-1]
        found: dict[str, Any] = {f"teacher_{key}": value for key, value in asdict(evaluation.teacher).items()}
        found |= {key.replace("class", "pseudo_label"): value for key, value in evaluation.pseudo.items()}
        return {
            f"{key}/{name}": value
            for key, values in found.items()
            if isinstance(values, (tuple, list))
            for name, value in zip(self.data.info.classes, values, strict=True)
            if value is not None
        }

    def picture(self, method: Method) -> ImageArray:
        """Returns a picture with a row for each image: the image or its dates, then truth and predictions over it."""
        source, palette = self.data.val, self.data.info.colors
        models = {"student": method.student, "teacher": method.teacher.model}
        rows = []
        for index in spread_evenly(len(source), self.count):
            seen = label_with(models, method.task, source, index, self.data.info.bands)
            cells = [date for _, date in dates_by_name(seen.picture)]
            cells += [overlay(seen.picture, label, palette) for label in seen.labels.values()]
            rows.append([shrunk(cell) for cell in cells])
        return stack_rows(rows)


def log_picture(logger: TensorBoardLogger | WandbLogger | MlflowRun, picture: ImageArray, step: int) -> None:
    """Logs a picture (H, W, 3) under the name ``validation``; if it cannot be written, a warning names the logger."""
    if isinstance(logger, TensorBoardLogger):
        with training_goes_on(Path(logger.log_dir) / "validation"):
            logger.experiment.add_image("validation", picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        with training_goes_on(Path(logger.save_dir or "") / "wandb"):
            logger.log_image("validation", [picture], step)
    else:
        with training_goes_on(Path(logger.save_dir or "") / "mlflow"):
            logger.log_picture("validation", picture, step)


def shrunk(picture: ImageArray) -> NDArray[np.uint8]:
    """Returns a picture at a width of at most :data:`WIDTH` pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((WIDTH, 10 * WIDTH))
    return np.asarray(image)
