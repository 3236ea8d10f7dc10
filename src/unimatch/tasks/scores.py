"""What an evaluation finds: scores from counts over the whole set, and pseudo labels' quality."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from unimatch.types import IGNORE_INDEX

Absent = Literal["exclude", "zero"]


@dataclass(frozen=True)
class Scores:
    """What one evaluation of one model found, in percent; a subclass for each task.

    Its fields are floats, and tuples with a value per class, None where the class did not occur.
    """

    headline: ClassVar[str]
    """The field that the best checkpoint is chosen by, and that is shown first."""
    titles: ClassVar[Mapping[str, str]]
    """What each field is called where people read it."""

    @property
    def main(self) -> float:
        """The headline's value."""
        return float(getattr(self, self.headline))

    def overall(self) -> dict[str, float]:
        """The fields of one value, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), float)}

    def per_class(self) -> dict[str, tuple[float | None, ...]]:
        """The fields of a value per class, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), tuple)}


def confusion_metric(num_classes: int) -> MulticlassConfusionMatrix:
    """Counts of (truth, prediction) over all pixels that are not ignored; exact at any number of processes."""
    return MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE_INDEX, validate_args=False)


def scores_table(results: Mapping[str, Mapping[str, Any]], scores: type[Scores]) -> str:
    """A column per model: its scores per class, then overall.

    Args:
        results: by the model's name, what ``evaluations.jsonl`` holds of it: each field's value, those per class by
            the class's name.
        scores: whose fields those are.
    """
    columns = {name: max(7, len(name)) for name in results}
    rows: list[tuple[str, list[str]]] = []

    def add(title: str, cells: Iterable[float | None]) -> None:
        rows.append((title, ["-" if value is None else f"{value:.1f}" for value in cells]))

    kinds = {field: {type(result[field]) for result in results.values()} for field in scores.titles}
    for field in (field for field, kind in kinds.items() if kind == {dict}):
        rows.append((f"{scores.titles[field]}, %", list(columns)))
        for name in next(iter(results.values()))[field]:
            add(name, (result[field][name] for result in results.values()))
    for field in (field for field, kind in kinds.items() if kind != {dict}):
        add(scores.titles[field], (result[field] for result in results.values()))
    width = max(len(title) for title, _ in rows)
    return "\n".join(
        "  ".join([f"{title:<{width}}", *(f"{cell:>{w}}" for cell, w in zip(cells, columns.values(), strict=True))])
        for title, cells in rows
    )


class PseudoLabelQuality(Metric):
    """How many pseudo labels pass the threshold, and how many of those are right, per true class.

    Only pixels whose truth is known count, so that it needs masks of unlabelled images; they are never trained on.
    """

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Row: true class. Column: pseudo label, or the last one where the teacher is not confident.
        zeros = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, label: Tensor, confident: Tensor, valid: Tensor, truth: Tensor) -> None:
        """Count one batch; all four are (B, H, W). Nothing leaves the device."""
        columns = self.num_classes + 1
        known = valid & (truth >= 0) & (truth < self.num_classes)  # what stands for an unknown truth is no class id
        cell = truth * columns + torch.where(confident, label, self.num_classes)
        cell = torch.where(known, cell, self.num_classes * columns)  # one cell more for all that does not count
        flat = torch.zeros(self.num_classes * columns + 1, dtype=torch.int64, device=label.device)
        flat.scatter_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
        self.counts += flat[:-1].view(self.num_classes, columns)

    def restore(self, counts: Tensor) -> None:
        """Continue from the counts of a checkpoint, this process's share of them."""
        self.counts = counts.to(self.counts.device)
        self._update_count = 1  # counts as updated

    def compute(self) -> dict[str, list[float | None] | float | None]:
        """Shares and accuracies in percent, None where nothing was counted.

        ``share`` and ``accuracy`` are over all pixels, ``share_mean`` and ``accuracy_mean`` the means over the true
        classes, ``class_share`` and ``class_accuracy`` per class.
        """
        counts = self.counts.double().cpu()
        confident, total, right = counts[:, :-1].sum(1), counts.sum(1), counts[:, :-1].diag()
        class_share = ratios(confident, total)
        class_accuracy = ratios(right, confident)
        return {
            "share": ratios(confident.sum()[None], total.sum()[None])[0],
            "accuracy": ratios(right.sum()[None], confident.sum()[None])[0],
            "share_mean": mean_of(class_share),
            "accuracy_mean": mean_of(class_accuracy),
            "class_share": list(class_share),
            "class_accuracy": list(class_accuracy),
        }


def ratios(part: Tensor, whole: Tensor) -> list[float | None]:
    """Percentages, None where the whole is zero."""
    return [float(100 * p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]


def mean_of(values: list[float | None]) -> float | None:
    """The mean of those that are not None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
