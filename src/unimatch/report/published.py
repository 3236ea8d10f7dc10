"""Reads the published scores, and finds the one that a run repeats.

``published.csv`` holds, for every run of UniMatch V2's tables and figures, the best score over epochs of the EMA
teacher (which the paper reports) and of the student, in percent: mIoU, in change detection (table 14) the changed
class's IoU, in classification (tables 15 to 17) top-1. Sources: arXiv 2410.10777 and the training logs its authors
published with their code, https://github.com/LiheYoung/UniMatch-V2. Labelled-only runs and those without EMA have no
teacher there. In the BEiT rows of table 9, the teachers' EMA averaged integer buffers too. For table 14 the paper
reports the student, which makes the pseudo labels there. Rows of classification are means of three seeds' best scores.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

DEFAULTS = {
    "method.tau": "0.95",
    "method.loss_weight": "1.0",
    "method.pseudo_labels_from": '"teacher"',
    "method.dropout_at": '"encoder"',
    "model.freeze": "false",
}
"""The paper's default values of settings in which published runs of one data set, split, encoder and method differ."""

NEEDS_EXPERIMENT = ("table11", "table13", "table14", "table15", "table16", "table17")
"""Tables whose runs differ in further settings: a run repeats one of them only with ``+experiment=`` of its name."""


@dataclass(frozen=True)
class Published:
    """One published run."""

    source: str
    """``table01`` to ``table17``, ``figure05``, ``figure06``."""
    dataset: str
    split: str
    """The split's name; in classification the number of labelled images of each class."""
    encoder: str
    method: str
    setting: str
    """What differs from the paper's defaults: ``key=value``, or a description; empty for nothing."""
    teacher: float | None
    student: float | None

    @property
    def score(self) -> float:
        """The score that the paper reports: the teacher's if there is one, but in table 14 the student's."""
        value = self.student if self.teacher is None or self.source == "table14" else self.teacher
        assert value is not None
        return value


@cache
def published() -> tuple[Published, ...]:
    """Returns all published runs, those of tables before those of figures."""
    with (files("unimatch.report") / "published.csv").open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row |= {model: float(row[model]) if row[model] else None for model in ("teacher", "student")}
    return tuple(sorted((Published(**row) for row in rows), key=lambda row: row.source.startswith("figure")))


def find_published(summary: Mapping[str, Any], settings: Mapping[str, str]) -> Published | None:
    """Finds the published run with the same data set, split, encoder, method and settings, if there is one.

    Args:
        summary: of ``summary.json``.
        settings: the run's configuration as ``{"method.tau": "0.95", ...}``, values in JSON.
    """
    split = summary.get("split") or settings.get("dataset.labeled_per_class")
    defaults = {key: comparable(value) for key, value in DEFAULTS.items()}
    experiment = summary.get("experiment")
    for row in published():
        if row.split != split or any(getattr(row, key) != summary.get(key) for key in ("dataset", "encoder", "method")):
            continue
        if row.source in NEEDS_EXPERIMENT or experiment in NEEDS_EXPERIMENT:
            if row.source == experiment:
                return row
            continue
        key, _, value = row.setting.partition("=")
        theirs = defaults | ({key: comparable(value)} if key else {})
        ours = {name: comparable(settings.get(name, DEFAULTS.get(name, ""))) for name in theirs}
        if ours == theirs:
            return row
    return None


def comparable(text: str) -> str | float:
    """Returns a number if the text is one, else the text without quotes, so that ``0.95`` equals ``0.950``."""
    try:
        return float(text)
    except ValueError:
        return text.strip('"')
