"""The loggers of a run directory. ``metrics.csv`` is always among them."""

import os
from collections.abc import Mapping, Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from uuid import uuid4

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from unimatch.disk import replace_text, training_goes_on
from unimatch.errors import ConfigError
from unimatch.lightning_internals import end_wandb_run, hide_events_from
from unimatch.loggers.metrics_file import MetricsFile


def csv(run_dir: Path, *, resumed: bool = False) -> list[Logger]:
    """Returns the logger of ``metrics.csv`` in the run directory; on resuming, the rows to keep are told later."""
    return [MetricsFile(run_dir / "metrics.csv")]


class EventFiles(TensorBoardLogger):
    """TensorBoard's event files. A run that is resumed writes a further one. A full disk ends them, not the run."""

    @override
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with training_goes_on(Path(self.log_dir), (OSError, ValueError)):  # it makes a ValueError of any error
            super().log_metrics(metrics, step)

    @override
    def save(self) -> None:
        with training_goes_on(Path(self.log_dir)):
            super().save()

    @override
    def finalize(self, status: str) -> None:
        with training_goes_on(Path(self.log_dir)):
            super().finalize(status)

    def resume(self, step: int) -> None:
        """Has TensorBoard leave out what earlier files hold of this step and later ones: they are logged again."""
        hide_events_from(self, step)


def tensorboard(run_dir: Path, *, resumed: bool = False) -> list[Logger]:
    """Returns the loggers of ``metrics.csv`` and of TensorBoard's event files; a resumed run writes a further one."""
    try:
        return [*csv(run_dir), EventFiles(run_dir, name="", version="tensorboard")]
    except ModuleNotFoundError as error:
        raise ConfigError("logger=tensorboard needs TensorBoard: pip install 'unimatch[tensorboard]'") from error


class WandbRun(WandbLogger):
    """A run of Weights & Biases that ends with the training: a sweep's next job in this process gets its own."""

    @override
    def finalize(self, status: str) -> None:
        super().finalize(status)
        end_wandb_run(self, failed=status != "success")


def wandb(
    run_dir: Path,
    *,
    resumed: bool = False,
    project: str = "unimatch",
    entity: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
) -> list[Logger]:
    """Returns the loggers of ``metrics.csv`` and of Weights & Biases, offline (``wandb sync`` sends it) without a key.

    Args:
        run_dir: where the offline files go.
        resumed: continue the run of W&B that this run directory has begun.
        project: to log to.
        entity: the user or team, None for the default one.
        name: of the run; None for the run directory's.
        tags: of the run.
    """
    offline = not has_wandb_key()
    identity = run_dir / "wandb_id"  # of all parts of a run that is resumed
    if getattr(rank_zero_only, "rank", 0) == 0 and not (resumed and identity.is_file()):
        replace_text(identity, uuid4().hex[:8])
    wandb_logger = WandbRun(
        name=name or run_dir.name,
        save_dir=run_dir,
        offline=offline,
        id=identity.read_text() if identity.is_file() else None,
        resume="allow",
        project=project,
        entity=entity,
        tags=list(tags),
    )
    return [*csv(run_dir), wandb_logger]


def has_wandb_key() -> bool:
    """Returns whether a key is in the environment or was stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
