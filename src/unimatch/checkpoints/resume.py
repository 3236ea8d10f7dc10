"""Continues a training: chooses the checkpoint, and checks that the training is still the same."""

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

from unimatch.checkpoints.content import training_of
from unimatch.checkpoints.earlier_versions import IMPLIED_SETTINGS
from unimatch.checkpoints.files import newest_checkpoint, read_checkpoint
from unimatch.checkpoints.run_folder import BEST
from unimatch.errors import ConfigError, UnimatchError, WeightsError, first_line
from unimatch.options import number_of
from unimatch.safe_text import one_line

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
"""Settings that do not change what is trained: paths, logs, evaluations and speed.

``trainer.accelerator``, ``trainer.benchmark`` and ``trainer.deterministic`` may change the last bits of results.
"""

DERIVED = ("recipe.", "callbacks")
"""Settings that are not compared: they have no effect on the training but through other settings."""


@dataclass(frozen=True)
class Change:
    """A setting that differs from the checkpoint's."""

    key: str
    old: Any
    new: Any

    @property
    def matters(self) -> bool:
        """Whether the setting changes what is trained."""
        return not self.key.startswith(HARMLESS)

    def __str__(self) -> str:
        text = one_line(f"{self.key}: {self.old} -> {self.new}")
        return f"  {text}" if self.matters else f"  {text} (changes nothing that is trained)"


def requeued() -> bool:
    """Returns whether SLURM has started this job again, which means that the same command should continue."""
    return bool(os.environ.get("SLURM_RESTART_COUNT")) and number_of("SLURM_RESTART_COUNT") > 0


def choose_checkpoint(resume: str | None, run_dir: Path) -> Path | None:
    """Returns the checkpoint that ``resume=`` asks for; None to begin a new training.

    Args:
        resume: None; ``"auto"`` for the run directory's newest undamaged checkpoint, if there is any; or a file.
        run_dir: the run directory.

    Raises:
        ConfigError: the file does not exist.
        WeightsError: all checkpoints of the run directory are damaged.
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


def best_before(checkpoint: Path) -> Path | None:
    """Returns the run's best checkpoint up to a checkpoint that lies beside it; None if there is none.

    The best one of all, ``best.ckpt``, may be a later one, or of another training.
    """
    best = checkpoint.with_name(BEST)
    if not best.is_file():
        return None
    try:
        earlier, later = (training_of(read_checkpoint(path)) for path in (best, checkpoint))
    except WeightsError as error:  # no reason not to continue
        log.warning("%s is not brought along: %s", best, error)
        return None
    if earlier is None or later is None or not earlier.evaluations:
        return None
    return best if later.evaluations[: len(earlier.evaluations)] == earlier.evaluations else None


def check_unchanged(old: dict[str, Any], new: dict[str, Any], *, allowed: bool) -> None:
    """Logs how the configuration differs from the checkpoint's.

    Raises:
        ConfigError: a difference changes what is trained, and is not ``allowed``.
    """
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
    """Yields every setting that differs between two configurations; ``key`` is the name of the nested ones."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from changes(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        return
    same = old == new or (old is None and new == IMPLIED_SETTINGS.get(key))
    if not same and not key.startswith(DERIVED):
        yield Change(key, old, new)


KINDS = {"state_dict": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list, "global_step": int}
"""The entries that a checkpoint needs for its training to be continued, with their types."""
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""The entries of the state of AdamW and SGD that have the shape of the parameter."""


def check_continuable(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that holds only a model, as converted ones do, or damaged counters of its training.

    Raises:
        WeightsError: naming what is missing or damaged.
    """
    for key, kind in KINDS.items():
        if not isinstance(checkpoint.get(key), kind) or (key == "optimizer_states" and not checkpoint[key]):
            raise WeightsError(
                f"{path}: training cannot be continued from it, its {key} is missing or damaged (it may be a model "
                "alone, as converted ones are)"
            )
    for key, value in progress_counters(checkpoint["loops"]):
        if type(value) not in (int, bool) or not 0 <= value < 2**53:
            raise WeightsError(f"{path}: training cannot be continued from it, its loops.{key} is {value!r:.80}")


def progress_counters(loops: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the progress counters of Lightning's loops, with their full names."""
    if isinstance(loops, dict):
        for key, value in loops.items():
            yield from progress_counters(value, f"{name}.{key}" if name else str(key))
    elif "progress." in name:
        yield name, loops


@contextmanager
def restored_from(path: Path, trainer: Trainer) -> Iterator[None]:
    """Explains errors while Lightning restores a training from a checkpoint, and checks the restored optimizers.

    Raises:
        WeightsError: with the reason.
    """
    try:
        yield
        steps, student = trainer.global_step, getattr(trainer.lightning_module, "student", None)
        for optimizer in trainer.optimizers:
            check_optimizer(optimizer, steps, locked=steps <= getattr(student, "unlock_after", 0))
    except (UnimatchError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # Lightning and torch trust a file's content, so anything may fail
        raise WeightsError(
            f"{path}: training cannot be continued from it ({type(error).__name__}: {first_line(error)}); is it "
            "damaged, or of another version of Lightning?"
        ) from error


MAY_BE_SKIPPED = 100
"""So many first steps may all have been skipped, because their gradients were not finite, and have left no state."""


def check_optimizer(optimizer: Optimizer, steps: int, *, locked: bool) -> None:
    """Refuses a restored state with which the next step would fail, or the optimizer would begin anew.

    Args:
        optimizer: with the restored state.
        steps: number of optimizer steps done.
        locked: whether parameters that require no gradient now required none in these steps either.

    Raises:
        TypeError: a setting is not a number.
        ValueError: a parameter's state has another shape, or is missing.
    """
    for group in optimizer.param_groups:
        for key, value in optimizer.defaults.items():
            if isinstance(value, (int, float)) and not isinstance(group[key], (int, float, torch.Tensor)):
                raise TypeError(f"the optimizer's {key} is {group[key]!r:.80}")
    for parameter, state in optimizer.state.items():
        for key in MOMENTS:
            if state and key in state and (state[key] is not None) and state[key].shape != parameter.shape:
                raise ValueError(f"the optimizer's {key} of {tuple(parameter.shape)} is {tuple(state[key].shape)}")
    has_state = isinstance(optimizer, AdamW) or bool(optimizer.defaults.get("momentum"))  # others may keep nothing
    kept = {
        frozenset(state)
        for parameter, state in optimizer.state.items()
        if state or (has_state and (parameter.requires_grad or not locked))
    }
    if len(kept) > 1:  # all parameters must have the same entries
        raise ValueError(f"the optimizer keeps {' or '.join(str(sorted(map(str, keys))) for keys in kept)}")
    if has_state and not any(kept) and steps > MAY_BE_SKIPPED:
        raise ValueError(f"the optimizer has kept nothing of {steps} steps")
