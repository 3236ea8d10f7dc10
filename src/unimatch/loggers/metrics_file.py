"""``metrics.csv``: a row for each step that is logged and for each evaluation."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from unimatch.disk import append, replace_text, training_goes_on
from unimatch.plain import whole_rows

log = logging.getLogger("unimatch")

PENDING = 50
"""Rows held in memory before they are written."""


class MetricsFile(Logger):
    """Appends rows to a CSV file; the columns are all that was ever logged, and empty where a row has no value.

    Lightning's own empties the file when it is opened again, and loses rows if it is killed while it adds a column.
    """

    name = version = ""  # Lightning wants them; no folder is called so here

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.columns: list[str] = []
        self.pending: list[dict[str, float]] = []
        self.rows = 0  # logged, written or not
        self.begun = False

    @override
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Writes nothing: the configuration is in ``config.json``."""

    def resume(self, rows: int, source: Path | None = None) -> None:
        """Keeps the first rows of a file (``source``: another run's), those a checkpoint knows of, and goes on."""
        source = source or self.path
        kept: list[dict[str, str]] = []
        try:
            if source.is_file():
                self.columns, found = whole_rows(source)
                kept = found[:rows]
        except ValueError as error:
            log.warning("%s: cannot be read (%s)", source, error)
        if len(kept) < rows:
            log.warning("%s: of %d rows up to the checkpoint %d are lost", source, rows, rows - len(kept))
        self.rows, self.begun = len(kept), bool(self.columns)
        if self.begun:
            replace_text(self.path, table(self.columns, kept))

    @rank_zero_only
    @override
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.pending.append({**metrics, "step": self.rows if step is None else step})
        self.rows += 1
        if len(self.pending) >= PENDING:
            self.save()

    @rank_zero_only
    @override
    def save(self) -> None:
        # Where the disk is full the rows stay in memory.
        if not self.pending:
            return
        with training_goes_on(self.path):
            new = sorted({key for row in self.pending for key in row} - set(self.columns))
            if new or not self.begun:
                old: list[dict[str, str]] = []
                if self.begun:
                    old = whole_rows(self.path)[1]
                columns = [*self.columns, *new]
                replace_text(self.path, table(columns, [*old, *self.pending]))
                self.columns = columns
            else:
                append(self.path, table(self.columns, self.pending, header=False))
            self.begun, self.pending = True, []

    @rank_zero_only
    @override
    def finalize(self, status: str) -> None:
        self.save()


def table(columns: list[str], rows: list[Any], *, header: bool = True) -> str:
    """Returns rows as CSV, with a header or without."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
