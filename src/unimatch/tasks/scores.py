"""What an evaluation finds: scores from counts over the whole set, and pseudo labels' quality."""

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
    """Holds what one evaluation of one model found, in percent; a subclass for each task.

    Fields are floats, or tuples with a value per class, None where the class did not occur.
    """

    headline: ClassVar[str]
    """The field that the best checkpoint is chosen by, and that is shown first."""
    titles: ClassVar[Mapping[str, str]]
    """What people call each field: the headings of tables, charts and reports."""
    unit: ClassVar[str] = "pixels"
    """What is counted: ``pixels``, or ``images`` where each has one class."""

    @property
    def main(self) -> float:
        """Returns the headline's value."""
        return float(getattr(self, self.headline))

    def overall(self) -> dict[str, float]:
        """Returns the fields of one value, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), float)}

    def per_class(self) -> dict[str, tuple[float | None, ...]]:
        """Returns the fields of a value per class, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), tuple)}


def confusion_metric(num_classes: int) -> MulticlassConfusionMatrix:
    """Builds a count of (truth, prediction) over all pixels that are not ignored, exact at any number of processes."""
    return MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE_INDEX, validate_args=False)


class IgnoredPixels(Metric):
    """Counts the labels that say nothing, of all processes together."""

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
    """Returns one image's mIoU in percent, over the classes in its truth or prediction; nothing leaves the device.

    Where the image has one class, that is 100 if the class is found and 0 if not.
    """
    right = confusion.diag().float()
    union = (confusion.sum(0) + confusion.sum(1)).float() - right
    return 100 * (right / union.clamp(min=1)).sum() / (union > 0).sum().clamp(min=1)


def scores_table(results: Mapping[str, Mapping[str, Any]], scores: type[Scores]) -> str:
    """Draws a table of a column per model: its scores per class, then overall.

    Args:
        results: by the model's name, what ``evaluations.jsonl`` holds of it: each field's value, those per class by
            the class's name.
        scores: whose fields those are.
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
    """Returns percentages, None where the whole is zero."""
    return [float(100 * p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]
