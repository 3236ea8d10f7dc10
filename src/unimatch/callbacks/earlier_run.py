"""Removes the run that another one replaces, once it is sure that the other one trains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from typing_extensions import override


class EarlierRun(lightning.Callback):
    """Removes an earlier run's files after the first step, so that a fault which shows by then costs none of them.

    Args:
        files: of the earlier run.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any, **options: Any) -> None:
        while self.files and trainer.global_step > 0 and trainer.is_global_zero:
            self.files.pop().unlink(missing_ok=True)
