"""Removes the files of an earlier run from the run directory, once the run that replaces it trains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from typing_extensions import override


class EarlierRun(lightning.Callback):
    """Removes an earlier run's files after the first optimizer step, so that a run that fails to start removes none.

    Args:
        files: the earlier run's.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any, **options: Any) -> None:
        while self.files and trainer.global_step > 0 and trainer.is_global_zero:
            self.files.pop().unlink(missing_ok=True)
