"""Continuing a training: from which checkpoint, and whether that is still the same training."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimatch.checkpoints.files import newest_checkpoint
from unimatch.errors import ConfigError
from unimatch.texts import one_line

log = logging.getLogger("unimatch")

HARMLESS = (
    "dataset.root",
    "datamodule.workers",
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

SINCE = {"dataset.unknown_values": "error", "dataset.exif": "turn"}
"""Settings that older checkpoints do not have, and what was done before there were any."""

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
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


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
