"""Looks after the numbers: a loss or gradient that is not finite, and pseudo labels that teach nothing."""

import logging
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from typing_extensions import override

from unimatch.disk import replace_file, training_goes_on
from unimatch.errors import ConfigError, NumericalError
from unimatch.lightning_internals import is_accumulating
from unimatch.methods.base import Method
from unimatch.methods.sharding import whole
from unimatch.trainer import evaluates_training

log = logging.getLogger("unimatch")

BEHIND = 2
"""Steps by which the check may lag on a GPU: the host does not wait for the step it has just queued."""

ROW_LIMIT = 100
"""Steps skipped in a row after which skipping is no help."""


class Guard(Callback):
    """Stops a run whose numbers are lost, and warns of one that learns nothing from its unlabelled images.

    A step's loss and gradients are looked at on the device they are on. On a GPU the answer is waited for two steps
    later, when it is there, so the run stops up to two steps late; no checkpoint is written of those. With
    ``on_nan="skip"`` the answer is waited for at once, because the step must not be taken.

    Args:
        run_dir: where ``nonfinite/`` is made, with the step, the samples' names and the batches.
        on_nan: ``"stop"``, or ``"skip"`` to leave such steps out as if their batch had not been, and count them
            (``train/skipped``).
        idle_steps: optimizer steps without one confident pixel after which to warn.
    """

    def __init__(self, run_dir: Path, *, on_nan: Literal["stop", "skip"] = "stop", idle_steps: int = 500) -> None:
        if on_nan not in ("stop", "skip"):
            raise ConfigError(f"on_nan={on_nan}: must be stop or skip")
        self.run_dir, self.on_nan, self.idle_steps = run_dir, on_nan, idle_steps
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets an earlier fit."""
        self.skipped = self.skipped_in_a_row = 0
        self.idle_since: int | None = None
        self.collapsed = False
        self.warned: set[str] = set()
        self.batches: list[tuple[int, int, Any]] = []  # epoch, number and content of each batch of this step
        self.bad: Tensor | None = None  # whether anything in this step is not finite, on the device
        self.buffers: list[Tensor] = []  # the student's, before this step
        self.unread: deque[tuple[int, Tensor, torch.cuda.Event | None, list[tuple[int, int, Any]]]] = deque()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.begin_anew()  # a checkpoint's state is read later

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # The batch is kept, and where steps may be skipped the statistics that the forward pass will change.
        assert isinstance(pl_module, Method)
        if self.on_nan == "skip" and not self.batches:
            self.buffers = [buffer.clone() for buffer in pl_module.student.buffers()]
        self.batches.append((trainer.current_epoch, batch_idx, batch))

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        bad = ~loss.detach().isfinite()
        self.bad = bad if self.bad is None else self.bad | bad

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # The gradients of all processes together are looked at, and dropped where the step is to be skipped.
        assert isinstance(pl_module, Method)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if trainer.scaler is not None or not gradients:
            return  # float16 overflows now and then, and its scaler skips those steps
        bad = ~whole(get_total_norm(gradients, norm_type=2.0)).isfinite()
        if self.on_nan == "stop":
            self.bad = bad if self.bad is None else self.bad | bad
            return
        self.bad = None
        if not bool(bad):
            self.skipped_in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None  # the optimiser, and with it the teacher, passes over what has no gradient
        with torch.no_grad():
            for buffer, before in zip(pl_module.student.buffers(), self.buffers, strict=True):
                buffer.copy_(before)
        self.skipped += 1
        self.skipped_in_a_row += 1
        log.warning("step %d skipped: a gradient is not finite (%d so far)", trainer.global_step, self.skipped)
        if self.skipped_in_a_row >= ROW_LIMIT:
            raise NumericalError(f"{ROW_LIMIT} steps in a row had gradients that are not finite: skipping is no help")

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any, **options: Any) -> None:
        # The answer is read at once on the CPU, some steps later on a GPU.
        if is_accumulating(trainer):
            return
        if self.bad is not None:
            event = None
            if self.bad.is_cuda:
                flag = torch.empty((), dtype=torch.bool, pin_memory=True)
                self.bad = flag.copy_(self.bad, non_blocking=True)
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
            self.unread.append((trainer.global_step - 1, self.bad, event, self.batches))
            self.read(trainer, BEHIND if event is not None else 0)
        if self.on_nan == "skip":
            pl_module.log("train/skipped", float(self.skipped))
        self.batches, self.bad = [], None
        assert isinstance(pl_module, Method)
        if trainer.global_step % pl_module.log_interval == 0:
            self.look_at_mask_ratio(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # No checkpoint is to hold lost numbers.
        self.read(trainer, 0)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A teacher that predicts one class is warned of at its second evaluation in a row: the first may be too early.
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer):
            return
        confusion = pl_module.counts["teacher"]["confusion"]
        predicted = confusion.sum(0).nonzero().flatten().tolist()
        collapsed = len(predicted) == 1 and int((confusion.sum(1) > 0).sum()) > 1
        if collapsed and self.collapsed:
            images = pl_module.task.scores_type.unit == "images"
            every, others = ("image", "images of few others") if images else ("pixel", "masks that hold little else")
            self.warn_once(
                "collapse",
                f"at step {trainer.global_step} the teacher predicts class {predicted[0]} for every {every}. Likely: "
                "too high a method.learning_rate, method.ema_decay so near 1 that the teacher has hardly moved, too "
                f"few steps yet, or labelled {others}",
            )
        self.collapsed = collapsed

    def look_at_mask_ratio(self, trainer: Trainer) -> None:
        """Warns if no pseudo label has been confident for long."""
        ratio = trainer.callback_metrics.get("train/mask_ratio")
        if ratio is None or "idle" in self.warned:
            return
        if float(ratio) > 0:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = trainer.global_step
        elif trainer.global_step - self.idle_since >= self.idle_steps:
            self.warn_once(
                "idle",
                f"no pseudo label has been confident since step {self.idle_since}: the unlabelled images teach "
                "nothing. Likely: method.tau too high for so early or for so many classes, a teacher that lags "
                "(method.ema_decay), a method.learning_rate that is too low, or unlabelled images unlike the labelled",
            )

    def warn_once(self, kind: str, message: str) -> None:
        """Warns of each kind once a run."""
        if kind not in self.warned:
            self.warned.add(kind)
            log.warning(message)

    def read(self, trainer: Trainer, behind: int) -> None:
        """Reads whether the steps were finite, of all but the latest ones; raises NumericalError where one was not."""
        while len(self.unread) > behind:
            step, bad, event, batches = self.unread.popleft()
            if event is not None:
                event.synchronize()
            if bool(bad):
                self.unread.clear()
                path = self.run_dir / "nonfinite" / f"step={step}_process={trainer.global_rank}.pt"
                content = {"step": step, "batches": [describe(trainer, *batch) for batch in batches]}
                with training_goes_on(path):
                    replace_file(path, partial(torch.save, content))
                raise NumericalError(
                    f"step {step}: the loss or a gradient is not finite. Its images' names, and the images as they "
                    f"were trained on, are in {path} (torch.load, weights_only=True); the last checkpoint is from "
                    "before. Likely: too high a method.learning_rate, float16 (trainer.precision=bf16-mixed has more "
                    "range), or a fault in one of these images. guard.on_nan=skip leaves such steps out"
                )


def describe(trainer: Trainer, epoch: int, number: int, batch: Any) -> dict[str, Any]:
    """Returns a batch on the CPU, with the names of its samples."""
    data = getattr(getattr(trainer, "datamodule", None), "data", None)
    names = {}
    for stream, part in batch.items():
        source = getattr(data, stream, getattr(data, "unlabeled", None))
        if source is not None:
            names[stream] = [source.name(int(index)) for index in part["index"]]
    tensors = {stream: {key: value.cpu() for key, value in part.items()} for stream, part in batch.items()}
    return {"epoch": epoch, "batch": number, "names": names, "tensors": tensors}
