"""Writes ``metrics.csv``: a row for each logged step and for each evaluation."""

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
from unimatch.untrusted import whole_rows

log = logging.getLogger("unimatch")

PENDING = 50
"""How many rows are held in memory before they are written."""


class MetricsFile(Logger):
    """Appends rows to a CSV file. It has a column for each value ever logged, with empty cells in rows without it.

    Lightning's CSVLogger empties the file of a resumed run, and loses rows if it is killed while it adds a column.

    Args:
        path: of the file.
    """

    name = version = ""  # Lightning requires them, for the names of folders; here there are none

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.columns: list[str] = []
        self.pending: list[dict[str, float]] = []
        self.rows = 0  # how many have been logged, whether they are written yet or not
        self.has_header = False

    @override
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Writes nothing: the configuration is in ``config.json``."""

    def resume(self, rows: int, source: Path | None = None) -> None:
        """Keeps the rows that were logged before a checkpoint, and appends to them from now on.

        Args:
            rows: how many rows the checkpoint counts.
            source: the file to take them from, if another run has written it; None for this file.
        """
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
        self.rows, self.has_header = len(kept), bool(self.columns)
        if self.has_header:
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
        if not self.pending:
            return
        with training_goes_on(self.path):  # while the disk is full, the rows stay in memory
            new = sorted({key for row in self.pending for key in row} - set(self.columns))
            if new or not self.has_header:
                old = whole_rows(self.path)[1] if self.has_header else []
                columns = [*self.columns, *new]
                replace_text(self.path, table(columns, [*old, *self.pending]))
                self.columns = columns
            else:
                append(self.path, table(self.columns, self.pending, header=False))
            self.has_header, self.pending = True, []

    @rank_zero_only
    @override
    def finalize(self, status: str) -> None:
        self.save()


def table(columns: list[str], rows: list[Any], *, header: bool = True) -> str:
    """Returns rows as the text of a CSV file, or, without ``header``, of the end of one."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
