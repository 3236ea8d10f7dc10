"""Clears a run directory of the run that it held before, once the new one trains."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from typing_extensions import override

from unimatch.checkpoints.run_folder import BEST
from unimatch.disk import replace_file, training_goes_on


class EarlierRun(lightning.Callback):
    """Removes an earlier run's files after the first optimizer step, so that a run that fails to start removes none.

    Args:
        files: the earlier run's.
        best: the best checkpoint so far, if the training continues one in another run directory. It is copied to the
            ``checkpoints`` of this one.
        run_dir: this run directory; needed with ``best``.
    """

    def __init__(self, files: Sequence[Path], *, best: Path | None = None, run_dir: Path | None = None) -> None:
        self.files, self.best, self.run_dir = list(files), best, run_dir

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any, **options: Any) -> None:
        if trainer.global_step == 0 or not trainer.is_global_zero:
            return
        while self.files:
            self.files.pop().unlink(missing_ok=True)
        if self.best is not None and self.run_dir is not None:
            best, self.best = self.best, None
            copy = self.run_dir / "checkpoints" / BEST
            with training_goes_on(copy, (OSError,), of=f" ({best})"), best.open("rb") as source:
                replace_file(copy, lambda file: shutil.copyfileobj(source, file))
