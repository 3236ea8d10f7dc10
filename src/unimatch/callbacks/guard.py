"""Stops or skips steps whose loss or gradients are not finite, and warns of pseudo labels that teach nothing."""

import logging
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from typing_extensions import override

from unimatch.disk import replace_file, training_goes_on
from unimatch.errors import ConfigError, NumericalError
from unimatch.kinds import checked
from unimatch.lightning_internals import is_accumulating
from unimatch.methods.base import Method
from unimatch.methods.sharding import whole
from unimatch.options import at_least_one
from unimatch.trainer import evaluates_training

log = logging.getLogger("unimatch")

GPU_LAG = 2
"""Steps by which the check may lag on a GPU, so that the host need not wait for the step that it has just queued."""

MOST_SKIPPED_IN_A_ROW = 100
"""Steps skipped in a row after which skipping is taken to be no help."""


class Batch(NamedTuple):
    """One batch of a step."""

    epoch: int
    number: int
    """Its place in the epoch, from 0."""
    content: Any


class Check(NamedTuple):
    """The check of one step, which the device may still be computing."""

    step: int
    bad: Tensor
    """() bool: whether the loss or a gradient is not finite; of a GPU, its copy in the memory of the host."""
    copied: torch.cuda.Event | None
    """Happens when ``bad`` has arrived from the GPU; None where nothing is copied."""
    batches: list[Batch]


@checked
class Guard(Callback):
    """Stops a run with numbers that are not finite, and warns of one that learns nothing from its unlabelled images.

    The loss and the gradients are checked on their own device. On a GPU the result is read two steps later, so that
    training need not wait for it: the run stops up to two steps late, and writes no checkpoint of those steps. With
    ``on_nan="skip"`` the result is read at once, because the step must not be taken.

    Args:
        run_dir: the run directory; its folder ``nonfinite`` gets the step, its batches and their samples' names.
        on_nan: ``"stop"`` to end the run, or ``"skip"`` to leave such steps out, as if their batches did not exist, and
            to count them (``train/skipped``).
        idle_steps: the number of optimizer steps without a confident pixel after which to warn.

    Raises:
        ConfigError: ``on_nan`` is another word, or ``idle_steps`` is below 1.
    """

    def __init__(self, run_dir: str | Path, *, on_nan: Literal["stop", "skip"] = "stop", idle_steps: int = 500) -> None:
        if on_nan not in ("stop", "skip"):
            raise ConfigError(f"on_nan={on_nan}: must be one of stop, skip")
        at_least_one(idle_steps=idle_steps)
        self.run_dir, self.on_nan, self.idle_steps = Path(run_dir), on_nan, idle_steps
        self.begin_anew()

    def begin_anew(self) -> None:
        """Resets the state of an earlier fit."""
        self.skipped = self.skipped_in_a_row = 0
        self.idle_since: int | None = None
        self.collapsed = False
        self.warned: set[str] = set()
        self.batches: list[Batch] = []  # of this step
        self.bad: Tensor | None = None  # whether anything in this step is not finite, on the device
        self.buffers: list[Tensor] = []  # copies of the student's, from before this step
        self.unread: deque[Check] = deque()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.begin_anew()  # load_state_dict is called after this

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, Method)
        if self.on_nan == "skip" and not self.batches:
            self.buffers = [buffer.clone() for buffer in pl_module.student.buffers()]  # the forward pass changes them
        self.batches.append(Batch(trainer.current_epoch, batch_idx, batch))

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self.add(~loss.detach().isfinite())

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # Here the gradients are already those of all processes together.
        assert isinstance(pl_module, Method)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if trainer.scaler is not None or not gradients:
            return  # float16 overflows now and then, and its scaler skips those steps
        bad = ~whole(get_total_norm(gradients, norm_type=2.0)).isfinite()
        if self.on_nan == "stop":
            self.add(bad)
            return
        self.bad = None
        if bool(bad):
            self.skip(trainer.global_step, pl_module, parameters)
        else:
            self.skipped_in_a_row = 0

    def add(self, bad: Tensor) -> None:
        """Adds to what is known of this step whether another of its numbers, () bool, is not finite."""
        self.bad = bad if self.bad is None else self.bad | bad

    def skip(self, step: int, method: Method, parameters: list[Tensor]) -> None:
        """Undoes what a step has done so far, and counts it; raises NumericalError if too many are skipped in a row."""
        for parameter in parameters:
            parameter.grad = None  # the optimizer, and with it the teacher, leaves alone what has no gradient
        with torch.no_grad():
            for buffer, before in zip(method.student.buffers(), self.buffers, strict=True):
                buffer.copy_(before)
        self.skipped += 1
        self.skipped_in_a_row += 1
        log.warning("step %d skipped: a gradient is not finite (%d so far)", step, self.skipped)
        if self.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise NumericalError(
                f"{MOST_SKIPPED_IN_A_ROW} steps in a row had gradients that are not finite: skipping is no help"
            )

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any, **options: Any) -> None:
        if is_accumulating(trainer):
            return
        if self.bad is not None:
            copied = None
            if self.bad.is_cuda:
                on_host = torch.empty((), dtype=torch.bool, pin_memory=True)
                self.bad = on_host.copy_(self.bad, non_blocking=True)
                copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                copied.record()
            self.unread.append(Check(trainer.global_step - 1, self.bad, copied, self.batches))
            self.read(trainer, lag=0 if copied is None else GPU_LAG)
        if self.on_nan == "skip":
            pl_module.log("train/skipped", float(self.skipped))
        self.batches, self.bad = [], None
        assert isinstance(pl_module, Method)
        if trainer.global_step % pl_module.log_interval == 0:
            self.check_mask_ratio(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # A checkpoint must not hold numbers that are not finite.
        self.read(trainer, lag=0)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A teacher that predicts a single class is reported at the second such evaluation in a row: the first may be
        # too early in the training.
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer):
            return
        confusion = pl_module.counts["teacher"]["confusion"]  # (C, C), truth by prediction
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

    def check_mask_ratio(self, trainer: Trainer) -> None:
        """Warns if no pseudo label has been confident for ``idle_steps`` steps."""
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
        """Logs a warning, each kind once a run."""
        if kind not in self.warned:
            self.warned.add(kind)
            log.warning(message)

    def read(self, trainer: Trainer, lag: int) -> None:
        """Reads the checks of all steps but the latest ``lag``; raises NumericalError if one was not finite."""
        while len(self.unread) > lag:
            check = self.unread.popleft()
            if check.copied is not None:
                check.copied.synchronize()
            if bool(check.bad):
                self.unread.clear()
                path = self.run_dir / "nonfinite" / f"step={check.step}_process={trainer.global_rank}.pt"
                content = {"step": check.step, "batches": [describe(trainer, batch) for batch in check.batches]}
                with training_goes_on(path):
                    replace_file(path, partial(torch.save, content))
                raise NumericalError(
                    f"step {check.step}: the loss or a gradient is not finite. The names of its images, and the images "
                    f"as they were trained on, are in {path} (torch.load, weights_only=True); the last checkpoint is "
                    "from before. Likely: too high a method.learning_rate, float16 (trainer.precision=bf16-mixed has "
                    "more range), or a fault in one of these images. guard.on_nan=skip leaves such steps out"
                )


def describe(trainer: Trainer, batch: Batch) -> dict[str, Any]:
    """Returns a batch on the CPU, with the names of its samples."""
    data = getattr(getattr(trainer, "datamodule", None), "data", None)
    names = {}
    for stream, part in batch.content.items():
        source = getattr(data, stream, getattr(data, "unlabeled", None))
        if source is not None:
            names[stream] = [source.name(int(index)) for index in part["index"]]
    tensors = {stream: {key: value.cpu() for key, value in part.items()} for stream, part in batch.content.items()}
    return {"epoch": batch.epoch, "batch": batch.number, "names": names, "tensors": tensors}
