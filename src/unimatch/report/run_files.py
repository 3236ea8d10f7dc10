"""Reads the files of a run directory as plain values; missing files give empty values."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unimatch.errors import DataError
from unimatch.untrusted import parse_json, whole_rows, written_by_others

if TYPE_CHECKING:
    from unimatch.tasks.scores import Scores


EXAMPLES = "examples/examples.json"
LOG_BYTES = 2**20
"""How much of the end of ``run.log`` is read."""
MOST_WARNINGS, LONGEST_WARNING = 12, 500
"""How many warnings, of how many characters, are taken from ``run.log`` at most."""
REPEATED = "pseudo labels on "
"""The beginning of the warnings that each evaluation repeats with new numbers: only the last one counts."""

MOST_CLASSES = 1000
"""How many classes a page shows at most; ImageNet has as many."""


@dataclass(frozen=True)
class RunFiles:
    """The content of a run directory."""

    place: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    evaluations: list[dict[str, Any]]
    curves: dict[str, list[tuple[float, float]]]
    """``metrics.csv``: the (step, value) pairs of each column."""
    confusion: list[list[int]]
    """The number of pixels, or images, of each class (row) that are predicted as each class (column)."""
    examples: dict[str, Any]
    """``examples/examples.json``: see :mod:`unimatch.report.examples`."""
    logged: tuple[str, ...] = ()
    """The run's warnings, from ``run.log``."""

    @property
    def idle(self) -> str | None:
        """A warning, if no pseudo label was confident in any logged step."""
        ratios = self.curves.get("train/mask_ratio")
        if not ratios or any(value for _, value in ratios):
            return None
        return (
            "No pseudo label was confident to the end (mask ratio 0): the unlabelled images have taught nothing. Train "
            "longer, lower method.tau, or see whether the labelled images and their masks are right."
        )

    @property
    def collapsed(self) -> str | None:
        """A warning, if the teacher predicts a single class although there are several."""
        predicted = [i for i, column in enumerate(zip(*self.confusion, strict=True)) if any(column)]
        if len(predicted) != 1 or sum(map(any, self.confusion)) < 2:
            return None
        return (
            f"The teacher predicts {self.classes[predicted[0]]} everywhere. Likely: too high a method.learning_rate, "
            "method.ema_decay so near 1 that the teacher has hardly moved, too few steps, or labelled masks that hold "
            "little else."
        )

    @property
    def palette(self) -> list[list[int]]:
        """The classes' colours in the pictures; empty if they are not known."""
        colors = self.examples.get("palette") or []
        return [[min(max(int(channel), 0), 255) for channel in (*color, 0, 0, 0)[:3]] for color in colors][:256]

    @property
    def scores(self) -> type[Scores]:
        """The task's scores: their measures, the measures' titles, and the unit that is counted."""
        from unimatch.tasks import TASKS, Segmentation  # imported late: it imports PyTorch, which takes seconds

        return TASKS.get(self.summary.get("task", ""), Segmentation).scores_type

    @property
    def measure(self) -> str:
        """The measure by which evaluations are compared, such as ``miou``."""
        if self.summary.get("headline"):
            return str(self.summary["headline"])
        names = [key for key in self.summary if key.startswith("teacher/") and key.endswith("_best")]
        return names[0].removeprefix("teacher/").removesuffix("_best") if names else "miou"

    def title_of(self, measure: str) -> str:
        """Returns the usual name of a measure: ``mIoU`` for ``miou``."""
        return self.scores.titles.get(measure, measure.replace("_", " "))

    @property
    def class_measure(self) -> str:
        """The measure that each class has, such as ``iou``."""
        return next((key for key, value in self.summary_of("teacher").items() if isinstance(value, dict)), "iou")

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their ids."""
        return list(self.per_class("teacher"))

    @property
    def shown_classes(self) -> list[str]:
        """The classes that a page shows, the first :data:`MOST_CLASSES`."""
        return self.classes[:MOST_CLASSES]

    def summary_of(self, model: str) -> dict[str, Any]:
        """Returns what the last evaluation says of ``teacher``, ``student`` or ``pseudo_label``."""
        return dict(self.evaluations[-1].get(model, {})) if self.evaluations else {}

    def per_class(self, model: str) -> dict[str, float | None]:
        """Returns a model's score of each class in the last evaluation."""
        return next((value for value in self.summary_of(model).values() if isinstance(value, dict)), {})


def read_run(place: Path) -> RunFiles:
    """Reads a run directory.

    Raises:
        DataError: the folder is no run directory, has no evaluation yet, or holds a file that cannot be read.
    """
    try:
        if not (place / "summary.json").is_file():
            raise DataError(
                f"{place}: no summary.json: not a run directory, or its training has not been evaluated yet"
            )
        names = (
            "summary.json",
            "config.json",
            "evaluations.jsonl",
            "metrics.csv",
            "confusion.csv",
            "run.log",
            EXAMPLES,
        )
        for name in names:
            if not (place / name).resolve().is_relative_to(place.resolve()):
                raise DataError(
                    f"{place / name}: is a link that leads out of the run directory; put the file itself there"
                )
        lines = read_text(place / "evaluations.jsonl").splitlines()
        run = RunFiles(
            place=place,
            summary=read_json(place / "summary.json"),
            config=read_json(place / "config.json"),
            evaluations=[as_object(line, "evaluations.jsonl") for line in lines if line.strip()],
            curves=read_curves(place / "metrics.csv"),
            confusion=read_confusion(place / "confusion.csv"),
            examples=read_json(place / EXAMPLES),
            logged=read_warnings(place / "run.log"),
        )
    except DataError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{place}: cannot be read ({error})") from error
    with written_by_others(place):
        count = len(run.classes)
        if run.confusion and {len(run.confusion), *map(len, run.confusion)} != {count}:
            raise DataError(f"{place}: confusion.csv is not of the {count} classes in evaluations.jsonl; remove it")
    return run


def read_text(path: Path) -> str:
    """Returns the text of a file, or an empty one if there is no file."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:  # which does not say of which of a run's files
        raise ValueError(f"{path.name}: {error}") from error


def read_warnings(path: Path) -> tuple[str, ...]:
    """Returns the first line of each of unimatch's warnings in ``run.log``, without repetitions.

    Only the end of a long file is read. Of the warnings that each evaluation repeats, the last one is kept.
    """
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    found = re.findall(r"^\[[^\]\n]*\]\[unimatch[^\]\n]*\]\[WARNING\] - (.*)$", text, re.MULTILINE)
    kept = {REPEATED if line.startswith(REPEATED) else line: line[:LONGEST_WARNING] for line in found}
    return tuple(dict.fromkeys(kept.values()))[:MOST_WARNINGS]


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file, or an empty one if there is no file.

    Raises:
        ValueError: something else is in it.
    """
    return as_object(read_text(path), path.name) if path.is_file() else {}


def as_object(text: str, name: str) -> dict[str, Any]:
    """Returns the JSON object in the text of the file ``name``; raises a ValueError for anything else."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no object")
    return content


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Returns the (step, value) pairs of each column of ``metrics.csv``, without those that are not finite."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in whole_rows(path)[1] if path.is_file() else []:
        step = finite(row.get("step"))
        for key, text in row.items():
            if key != "step" and step is not None and (value := finite(text)) is not None:
                curves.setdefault(key, []).append((step, value))
    return curves


def finite(value: Any) -> float | None:
    """Returns a value as a number; None if it is not finite, or no number.

    >>> finite("0.5"), finite("nan"), finite("1e999"), finite(""), finite([1])
    (0.5, None, None, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def over_evaluations(run: RunFiles, part: str, key: str) -> list[tuple[float, float]]:
    """Returns (step, value) for each evaluation that has a finite value in ``evaluation[part][key]``."""
    found = [(evaluation["step"], (evaluation.get(part) or {}).get(key)) for evaluation in run.evaluations]
    return [(float(step), number) for step, value in found if (number := finite(value)) is not None]


def classes_over_evaluations(run: RunFiles, part: str, key: str) -> dict[str, list[tuple[float, float]]]:
    """Returns, by class, (step, value) for each evaluation with a finite ``evaluation[part][key][class]``."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for evaluation in run.evaluations:
        step = float(evaluation["step"])
        for name, value in ((evaluation.get(part) or {}).get(key) or {}).items():
            if (number := finite(value)) is not None:
                curves.setdefault(name, []).append((step, number))
    return curves


def equally_spaced(evaluations: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Returns at most ``most`` evaluations at equal distances, the last one among them.

    >>> [evaluation["step"] for evaluation in equally_spaced([{"step": i} for i in range(10)], 4)]
    [0, 3, 6, 9]
    """
    every = max(1, math.ceil(len(evaluations) / most))
    return evaluations[(len(evaluations) - 1) % every :: every]


def read_confusion(path: Path) -> list[list[int]]:
    """Returns the counts in ``confusion.csv``, without the names."""
    return [[int(cell) for cell in row[1:]] for row in list(csv.reader(StringIO(read_text(path))))[1:]]
