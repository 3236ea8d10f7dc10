"""The scores of an evaluation, which are computed from counts over a whole data set, and how they are shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from unimatch.terminal import text_table
from unimatch.types import IGNORE_INDEX

Absent = Literal["exclude", "zero"]
Ignored = Literal["exclude", "wrong"]


@dataclass(frozen=True)
class Scores:
    """Holds the scores of one model in one evaluation, in percent. Each task has a subclass.

    Fields are floats, or tuples with a value per class, None where the class did not occur.
    """

    headline: ClassVar[str]
    """The field that the best checkpoint is chosen by, and that is shown first."""
    titles: ClassVar[Mapping[str, str]]
    """The heading of each field in tables, charts and reports."""
    unit: ClassVar[str] = "pixels"
    """What is counted: ``pixels``, or ``images`` if each image has one class."""

    @property
    def main(self) -> float:
        """The value of the headline's field."""
        return float(getattr(self, self.headline))

    def overall(self) -> dict[str, float]:
        """Returns the fields that have one value, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), float)}

    def per_class(self) -> dict[str, tuple[float | None, ...]]:
        """Returns the fields that have a value per class, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), tuple)}


def confusion_metric(num_classes: int) -> MulticlassConfusionMatrix:
    """Builds a count of (truth, prediction) over all pixels that are not ignored, exact at any number of processes."""
    return MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE_INDEX, validate_args=False)


class IgnoredPixels(Metric):
    """Counts the pixels whose label is ignored, over all processes."""

    full_state_update = False
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, prediction: Tensor, label: Tensor) -> None:
        self.count += (label == IGNORE_INDEX).sum()

    @override
    def compute(self) -> Tensor:
        return self.count


def mean_iou(confusion: Tensor) -> Tensor:
    """Returns one image's mIoU in percent, over the classes in its truth or prediction, as a scalar on the device.

    In classification it is 100 if the image's class is predicted and 0 if not.
    """
    right = confusion.diag().float()
    union = (confusion.sum(0) + confusion.sum(1)).float() - right
    return 100 * (right / union.clamp(min=1)).sum() / (union > 0).sum().clamp(min=1)


def scores_table(results: Mapping[str, Mapping[str, Any]], scores: type[Scores]) -> str:
    """Returns a table with a column per model: the scores per class, then the overall scores.

    Args:
        results: by the model's name, its scores as in ``evaluations.jsonl``: each field's value, or a dictionary of
            values by the class's name.
        scores: the task's type of scores.
    """
    rows: list[list[str]] = []

    def add(title: str, cells: Iterable[float | None]) -> None:
        rows.append([title, *("-" if value is None else f"{value:.1f}" for value in cells)])

    # Fields with a value per class come first.
    per_class = {field for field in scores.titles if all(isinstance(found[field], dict) for found in results.values())}
    for field, title in sorted(scores.titles.items(), key=lambda item: item[0] not in per_class):
        columns = [found[field] for found in results.values()]
        if field in per_class:
            rows.append([f"{title}, %", *results])
            for name in columns[0]:
                add(name, (column[name] for column in columns))
        else:
            add(title, columns)
    return "\n".join(text_table(rows))


def ratios(part: Tensor, whole: Tensor) -> list[float | None]:
    """Returns ``part / whole`` in percent, entry by entry; None where ``whole`` is zero."""
    return [float(100 * p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]
