"""One progress bar for the whole training: losses, mask ratio, images/s and the time left."""

import time
from typing import Any

import lightning
from tqdm import tqdm

from unimatch.methods.base import Method
from unimatch.terminal import progress_bar

SHOWN = {"train/loss": "loss", "train/loss_x": "loss_x", "train/loss_s": "loss_s", "train/mask_ratio": "mask"}


class Progress(lightning.Callback):
    """Draws the bar where there is a terminal, and a line now and then where there is none.

    Args:
        line_seconds: between lines, where output goes to a file.
    """

    def __init__(self, line_seconds: float = 30.0) -> None:
        self.line_seconds = line_seconds
        self.bar: tqdm | None = None
        self.evaluated = ""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        if trainer.is_global_zero:
            total = int(trainer.estimated_stepping_batches)
            self.bar = progress_bar(total, "training", "step", done=trainer.global_step, seconds=self.line_seconds)
            self.started, self.images, self.paused = time.monotonic(), 0, 0.0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar; its text is made anew only when a log step has brought the numbers to the host anyway."""
        if self.bar is None:
            return
        self.images += count_images(batch) * trainer.world_size
        log_interval = max(1, int(getattr(trainer, "log_every_n_steps", 50)))
        if trainer.global_step % log_interval == 0:
            shown = [
                f"{name} {float(trainer.logged_metrics[key]):.3f}"
                for key, name in SHOWN.items()
                if key in trainer.logged_metrics
            ]
            seconds = time.monotonic() - self.started - self.paused
            self.bar.set_postfix_str(
                f"{' '.join(shown)} {self.images / seconds:.0f} img/s{self.evaluated}", refresh=False
            )
        self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluation does not count in images/s."""
        self.validation_started = time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the last scores beside the bar."""
        assert isinstance(pl_module, Method)
        if self.bar is not None:
            self.paused += time.monotonic() - self.validation_started
            last = pl_module.evaluations[-1]
            title = last.teacher.titles[last.teacher.headline]
            self.evaluated = f" | {title} student {last.student.main:.1f} teacher {last.teacher.main:.1f}"

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message stands below it."""
        if self.bar is not None:
            self.bar.close()


def count_images(batch: Any) -> int:
    """Labelled and unlabelled images of one process's batch."""
    return sum(len(part["index"]) for part in batch.values())
