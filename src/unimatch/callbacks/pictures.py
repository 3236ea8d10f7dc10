"""Draws pictures of a finished run: validation images beside truth and predictions, and curves."""

from pathlib import Path

import lightning
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.disk import replace_file, training_goes_on
from unimatch.images.arrays import dates_by_name
from unimatch.images.pictures import Cell, colorize, drawing, legend_of, save_figure, spread_evenly
from unimatch.methods.base import Method
from unimatch.methods.sharding import gather
from unimatch.models.base import Model
from unimatch.options import at_least_one
from unimatch.report.examples import label_with
from unimatch.report.run_files import read_curves
from unimatch.tasks import Task
from unimatch.types import IGNORE_INDEX

SMOOTHING = 20
"""How many rows of ``metrics.csv`` are averaged into one point of a long curve."""

MOST_NAMED = 40
"""How many classes the legend below the validation images names at most."""


class Pictures(lightning.Callback):
    """Writes ``validation.png`` and ``curves.png`` when training ends.

    Args:
        run_dir: the run directory.
        data: the data set, whose validation images are shown in the colours of its classes.
        count: how many images are shown; at least 1.

    Raises:
        ConfigError: ``count`` is below 1.
    """

    def __init__(self, run_dir: Path, data: SegmentationData, count: int = 4) -> None:
        at_least_one(count=count)
        self.run_dir, self.source, self.info, self.count = run_dir, data.val, data.info, count

    @override
    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Method)
        for model in pl_module.evaluated_models.values():
            gather(model)  # by all processes, although only the first one predicts
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        pl_module.eval()
        indices = spread_evenly(len(self.source), self.count)
        models = {"student": pl_module.student, "teacher": pl_module.teacher.model}
        with drawing(path := self.run_dir / "validation.png"), training_goes_on(path):
            draw_predictions(pl_module.task, models, self.source, self.info, indices, path)
        with drawing(path := self.run_dir / "curves.png"), training_goes_on(path):
            draw_curves(self.run_dir / "metrics.csv", pl_module.task, path)


def draw_predictions(
    task: Task, models: dict[str, Model], source: Source, info: DatasetInfo, indices: list[int], path: Path
) -> None:
    """Draws a row for each image (image or both dates, truth, each model's prediction) and a legend of the classes.

    In classification, titles above the images name their classes.

    Args:
        task: how the models predict.
        models: in eval mode, by name.
        source: images with their truth.
        info: classes and colours.
        indices: which images of the source are drawn.
        path: of the PNG.
    """
    rows, present, colors = [], set[int](), info.colors
    for index in indices:
        seen = label_with(models, task, source, index, info.bands)
        image = seen.picture
        first = index == indices[0]
        cells = [Cell(date, name if first else "") for name, date in dates_by_name(image)]
        for name, label in seen.labels.items():
            if label.ndim == 0:
                cells.append(Cell(image, f"{name}: {info.classes[int(label)]}"))
            else:
                present.update(np.unique(label).tolist())
                cells.append(Cell(colorize(label.astype(np.uint8), colors), name if first else ""))
        rows.append(cells)
    height, width = rows[0][0].picture.shape[:2]
    columns = max(map(len, rows))
    size = (2.4 * columns, 2.4 * height / width * len(rows) + 0.9)
    legend = legend_of(info.classes, colors, sorted(present - {IGNORE_INDEX})[:MOST_NAMED])
    save_figure(path, rows, legend, columns=columns, size=size)


def draw_curves(metrics: Path, task: Task, path: Path) -> None:
    """Draws losses, the pseudo labels' share and accuracy, and the headline score over the steps of ``metrics.csv``.

    Panels without values are left out; without any nothing is drawn.
    """
    known = read_curves(metrics)
    headline = task.scores_type.headline
    evaluated = f"{task.scores_type.titles[headline]} on validation, %"
    panels = {
        "losses": ("train/loss", "train/loss_x", "train/loss_s"),
        f"confident {task.scores_type.unit}, share": ("train/mask_ratio",),
        "pseudo labels against the truth, %": [
            f"pseudo_label/{key}" for key in ("accuracy", "accuracy_mean", "share", "share_mean")
        ],
        evaluated: (f"student/{headline}", f"teacher/{headline}"),
    }
    curves = {title: {key: known[key] for key in keys if key in known} for title, keys in panels.items()}
    shown = {title: lines for title, lines in curves.items() if lines}
    if not shown:
        return
    figure = Figure(figsize=(4.2 * len(shown), 3.2), layout="constrained", dpi=110)
    for axis, (title, lines) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        for key, points in lines.items():
            steps, values = np.array(points).T
            is_long = len(steps) > 5 * SMOOTHING
            if is_long:
                steps, values = smoothed(steps), smoothed(values)
            part, _, name = key.partition("/")
            axis.plot(steps, values, marker=None if is_long else ".", label=part if title == evaluated else name)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    replace_file(path, lambda file: figure.savefig(file, format="png"))


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the means of each :data:`SMOOTHING` values in a row (N,), without the remainder at the end.

    >>> smoothed(np.arange(45.0))
    array([ 9.5, 29.5])
    """
    whole = len(values) // SMOOTHING * SMOOTHING
    return values[:whole].reshape(-1, SMOOTHING).mean(axis=1)
