"""Shows one progress bar for the whole training, with losses, mask ratio, images per second and the time left."""

import logging
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from tqdm import tqdm
from typing_extensions import override

from unimatch.methods.base import Method
from unimatch.options import not_negative
from unimatch.terminal import is_terminal, progress_bar
from unimatch.trainer import evaluates_training

log = logging.getLogger("unimatch")

SHOWN = {"train/loss": "loss", "train/loss_x": "loss_x", "train/loss_s": "loss_s", "train/mask_ratio": "mask"}
"""The logged values that the bar shows, with their names there."""


class Progress(Callback):
    """Draws the bar in a terminal, and prints a line at intervals if the output goes elsewhere.

    Args:
        line_seconds: seconds between two lines if there is no terminal.

    Raises:
        ConfigError: ``line_seconds`` is negative.
    """

    def __init__(self, line_seconds: float = 10.0) -> None:
        not_negative(line_seconds=line_seconds)
        self.line_seconds = line_seconds
        self.bar: tqdm | None = None
        self.evaluated = ""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.bar = None  # drops that of an earlier fit

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            total = int(trainer.estimated_stepping_batches)
            self.bar = progress_bar(total, "training", "step", done=trainer.global_step, seconds=self.line_seconds)
            self.started, self.images, self.paused = time.monotonic(), 0, 0.0

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The text changes only at steps that are logged, whose numbers have been copied to the host anyway.
        if self.bar is None:
            return
        self.images += count_images(batch) * trainer.world_size
        log_interval = max(1, int(getattr(trainer, "log_every_n_steps", 50)))
        if trainer.global_step % log_interval == 0:
            logged = trainer.logged_metrics
            shown = " ".join(f"{name} {float(logged[key]):.3f}" for key, name in SHOWN.items() if key in logged)
            speed = self.images / (time.monotonic() - self.started - self.paused)
            self.bar.set_postfix_str(f"{shown} {speed:.0f} img/s{self.evaluated}", refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_started = self.shown_at = time.monotonic()
        if trainer.sanity_checking:
            count = sum(map(int, trainer.num_sanity_val_batches))  # unknown to Lightning before this
            log.info("a trial evaluation of %d image%s", count, "s" * (count != 1))

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        interval = 0.5 if is_terminal() else min(10.0, self.line_seconds)
        if self.bar is not None and time.monotonic() - self.shown_at >= interval:
            self.shown_at = time.monotonic()
            self.bar.set_postfix_str(f"evaluating {batch_idx + 1}/{sum(trainer.num_val_batches):g}")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        if self.bar is not None and evaluates_training(trainer):
            self.paused += time.monotonic() - self.validation_started
            last = pl_module.evaluations[-1]
            title = last.teacher.titles[last.teacher.headline]
            self.evaluated = f" | {title} student {last.student.main:.1f} teacher {last.teacher.main:.1f}"

    @override
    def on_train_end(self, *arguments: Any, **options: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    on_exception = on_train_end

    @override
    def on_fit_end(self, *arguments: Any, **options: Any) -> None:
        if self.bar is not None:
            log.info("training has ended; writing what the run leaves")


def count_images(batch: Any) -> int:
    """Returns how many images, labelled and unlabelled, are in a process's batch."""
    return sum(len(part["index"]) for part in batch.values())
