"""The loggers of a run directory. ``metrics.csv`` is always among them."""

import os
from collections.abc import Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from unimatch.errors import ConfigError


def csv(run_dir: Path) -> list[Logger]:
    """``metrics.csv`` in the run directory."""
    return [CSVLogger(run_dir, name="", version="")]


def tensorboard(run_dir: Path) -> list[Logger]:
    """``metrics.csv`` and TensorBoard's event files.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        return [*csv(run_dir), TensorBoardLogger(run_dir, name="", version="tensorboard")]
    except ModuleNotFoundError as error:
        raise ConfigError("logger=tensorboard needs TensorBoard: pip install 'unimatch[tensorboard]'") from error


def wandb(
    run_dir: Path,
    *,
    project: str = "unimatch",
    entity: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
) -> list[Logger]:
    """``metrics.csv`` and Weights & Biases, offline (``wandb sync`` sends it later) where there is no key.

    Args:
        run_dir: where the offline files go.
        project: to log to.
        entity: the user or team, None for the default one.
        name: of the run; None for the run directory's.
        tags: of the run.
    """
    offline = not has_wandb_key()
    wandb_logger = WandbLogger(
        name=name or run_dir.name,
        save_dir=run_dir,
        offline=offline,
        project=project,
        entity=entity,
        tags=list(tags),
    )
    return [*csv(run_dir), wandb_logger]


def has_wandb_key() -> bool:
    """Whether a key is in the environment or was stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
