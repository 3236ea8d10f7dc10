"""Continuing a training: from which checkpoint, and whether that is still the same training."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch.optim import AdamW, Optimizer

from unimatch.checkpoints.earlier import SINCE
from unimatch.checkpoints.files import newest_checkpoint
from unimatch.errors import ConfigError, UnimatchError, WeightsError, first_line
from unimatch.options import number_of
from unimatch.texts import one_line

log = logging.getLogger("unimatch")

HARMLESS = (
    "dataset.root",
    "datamodule.workers",
    "datamodule.evaluation_batch",
    "encoder.weights",
    "model.weights",
    "trainer.accelerator",
    "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.benchmark",
    "trainer.deterministic",
    "checkpoint.",
    "guard.idle_steps",
    "logger.",
)
"""Settings that do not change what is trained: where things lie, what is looked at and when, how fast it goes.

``trainer.accelerator`` and the two after it that concern the arithmetic may change the last bits.
"""

DERIVED = ("recipe.", "callbacks")
"""Settings that act only through others, which are compared themselves, or beside the training."""


@dataclass(frozen=True)
class Change:
    """One setting that is not as it was."""

    key: str
    old: Any
    new: Any

    @property
    def matters(self) -> bool:
        """Whether the change is one of what is trained."""
        return not self.key.startswith(HARMLESS)

    def __str__(self) -> str:
        text = one_line(f"{self.key}: {self.old} -> {self.new}")
        return f"  {text}" + " (changes nothing that is trained)" * (not self.matters)


def requeued() -> bool:
    """Returns whether SLURM has started this job again: the same command then means to continue."""
    return bool(os.environ.get("SLURM_RESTART_COUNT")) and number_of("SLURM_RESTART_COUNT") > 0


def choose_checkpoint(resume: str | None, run_dir: Path) -> Path | None:
    """Returns the checkpoint that ``resume=`` means; None to begin.

    Args:
        resume: None; ``"auto"`` for the newest whole one of the run directory, if there is any; or a file.
        run_dir: the run directory.
    """
    if resume is None:
        return None
    if resume == "auto":
        found = newest_checkpoint(run_dir / "checkpoints")
        if found is None:
            log.info("resume=auto: no checkpoint in %s yet, beginning", run_dir)
        return found
    path = Path(resume).expanduser()
    if not path.is_file():
        raise ConfigError(f"resume={resume}: no such file; resume=auto takes the run directory's last checkpoint")
    return path


def check_unchanged(old: dict[str, Any], new: dict[str, Any], *, allowed: bool) -> None:
    """Shows how the configuration differs from the checkpoint's, and refuses to train something else unless allowed."""
    found = list(changes(old, new))
    if not found:
        return
    text = "the configuration is not the checkpoint's:\n" + "\n".join(str(change) for change in found)
    if any(change.matters for change in found) and not allowed:
        raise ConfigError(
            f"{text}\nThis would not continue the same training: set these back, or continue all the same with "
            "resume_changed=true"
        )
    log.warning(text)


def changes(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Yields every setting that differs, by its full name."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from changes(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new and not (old is None and new == SINCE.get(key)) and not key.startswith(DERIVED):
        yield Change(key, old, new)


KINDS = {"state_dict": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list, "global_step": int}
"""What a checkpoint holds beside the model where training can be continued from it, and of what kind."""
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What AdamW and SGD keep of each weight, in its shape."""


def check_continuable(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that holds a model and no training, as a converted one, or damaged counters of it."""
    for key, kind in KINDS.items():
        if not isinstance(checkpoint.get(key), kind) or (key == "optimizer_states" and not checkpoint[key]):
            raise WeightsError(
                f"{path}: training cannot be continued from it, its {key} is missing or damaged (it may be a model "
                "alone, as converted ones are)"
            )
    for key, value in with_progress(checkpoint["loops"]):
        if type(value) not in (int, bool) or not 0 <= value < 2**53:
            raise WeightsError(f"{path}: training cannot be continued from it, its loops.{key} is {value!r:.80}")


def with_progress(loops: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the counters of Lightning's loops, by their full names."""
    if isinstance(loops, dict):
        for key, value in loops.items():
            yield from with_progress(value, f"{name}.{key}" if name else str(key))
    elif "progress." in name:
        yield name, loops


@contextmanager
def restored_from(path: Path, trainer: Trainer) -> Iterator[None]:
    """Explains what goes wrong while Lightning restores a training, and looks at what it has restored."""
    try:
        yield
        steps, student = trainer.global_step, getattr(trainer.lightning_module, "student", None)
        for optimizer in trainer.optimizers:
            check_optimizer(optimizer, steps, locked=steps <= getattr(student, "unlock_after", 0))
    except (UnimatchError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of Lightning and torch, which take a file's content for their own
        raise WeightsError(
            f"{path}: training cannot be continued from it ({type(error).__name__}: {first_line(error)}); is it "
            "damaged, or of another version of Lightning?"
        ) from error


MAY_BE_SKIPPED = 100
"""Steps at the beginning that may all have been left out, as not finite: the optimiser has kept nothing of them."""


def check_optimizer(optimizer: Optimizer, steps: int, *, locked: bool) -> None:
    """Refuses a restored state that would fail only in the next step, or begin anew; raises errors of Python's.

    Args:
        optimizer: with the state.
        steps: that it has made.
        locked: whether weights that require no gradient now had none in these steps either.
    """
    for group in optimizer.param_groups:
        for key, value in optimizer.defaults.items():
            if isinstance(value, (int, float)) and not isinstance(group[key], (int, float, torch.Tensor)):
                raise TypeError(f"the optimizer's {key} is {group[key]!r:.80}")
    for parameter, state in optimizer.state.items():
        for key in MOMENTS:
            if state and key in state and (state[key] is not None) and state[key].shape != parameter.shape:
                raise ValueError(f"the optimizer's {key} of {tuple(parameter.shape)} is {tuple(state[key].shape)}")
    fills = isinstance(optimizer, AdamW) or bool(optimizer.defaults.get("momentum"))  # others may keep nothing
    kept = {
        frozenset(state)
        for parameter, state in optimizer.state.items()
        if state or (fills and (parameter.requires_grad or not locked))
    }
    if len(kept) > 1:
        raise ValueError(f"the optimizer keeps {' or '.join(str(sorted(map(str, keys))) for keys in kept)}")
    if fills and not any(kept) and steps > MAY_BE_SKIPPED:
        raise ValueError(f"the optimizer has kept nothing of {steps} steps")
