"""Makes the loggers of a run directory. ``metrics.csv`` is always among them."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from unimatch.disk import remove, replace_text, training_goes_on
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray
from unimatch.lightning_internals import end_wandb_run, hide_events_from
from unimatch.loggers.metrics_file import MetricsFile


@contextmanager
def needing(name: str, extra: str) -> Iterator[None]:
    """Turns a missing library into a ConfigError that says how to install it.

    Args:
        name: of the library.
        extra: of this package, whose requirements the library is among; also the name of the logger.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"logger={extra} needs {name}: pip install 'unimatch[{extra}]'") from error


def csv(run_dir: Path, *, resumed: bool = False) -> list[Logger]:
    """Returns the logger of ``metrics.csv`` in the run directory; its ``resume`` is called later in a resumed run."""
    return [MetricsFile(run_dir / "metrics.csv")]


class EventFiles(TensorBoardLogger):
    """TensorBoard's event files. A resumed run starts a further file. A full disk only causes a warning."""

    @override
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with training_goes_on(Path(self.log_dir), (OSError, ValueError)):  # Lightning turns any error into a ValueError
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
        """Makes TensorBoard ignore what earlier files hold from this step on: those steps are logged again."""
        hide_events_from(self, step)


def tensorboard(run_dir: Path, *, resumed: bool = False) -> list[Logger]:
    """Returns the loggers of ``metrics.csv`` and of TensorBoard's event files in the run directory."""
    with needing("TensorBoard", "tensorboard"):
        return [*csv(run_dir), EventFiles(run_dir, name="", version="tensorboard")]


WANDB_ID = "wandb_id"
"""The file with the id of the W&B run, which a resumed run continues."""


def remove_failed_start(folder: Path, before: Collection[Path]) -> None:
    """Removes what a W&B run that could not start has left.

    Args:
        folder: W&B's.
        before: what was in the folder before.
    """
    for path in set(folder.glob("*")) - {*before}:
        remove(path)
    for path in folder.glob("*"):
        if path.is_symlink() and not path.exists():  # it led to what has just been removed
            path.unlink()
    with suppress(OSError):  # the folder does not exist, or holds another run
        folder.rmdir()


class WandbRun(WandbLogger):
    """A run of Weights & Biases that ends with the training: the next job of a sweep starts its own."""

    has_id_file = False
    """Whether the run directory names this run."""

    @property
    @override
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, which starts when it is first asked for.

        Raises:
            ConfigError: the server cannot be reached, or refuses the key or the run.
        """
        import wandb as library

        run_dir = Path(str(self.save_dir))
        before = set(run_dir.glob("wandb/*"))
        try:
            run = super().experiment
        except library.Error as error:
            remove_failed_start(run_dir / "wandb", before)
            raise ConfigError(
                f"logger=wandb: no run could be begun ({' '.join(str(error).split())}); WANDB_MODE=offline before the "
                "command logs into the run directory, and `wandb sync` sends it later"
            ) from error
        if not self.has_id_file:  # only now: until a run has started, the file names the one before
            replace_text(run_dir / WANDB_ID, str(self.version))
            self.has_id_file = True
        return run

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
    """Returns the loggers of ``metrics.csv`` and of Weights & Biases.

    Without a key the W&B run is offline: ``wandb sync`` sends it later.

    Args:
        run_dir: the run directory, which gets the files of an offline run.
        resumed: whether to continue the W&B run that this run directory names.
        project: W&B's project.
        entity: the user or team; None for the default one.
        name: of the W&B run; None for the run directory's name.
        tags: of the W&B run.
    """
    offline = not has_wandb_key()
    identity = run_dir / WANDB_ID
    wandb_logger = WandbRun(
        name=name or run_dir.name,
        save_dir=run_dir,
        offline=offline,
        mode="offline" if offline else None,  # Lightning sets an environment variable, maybe after wandb has read it
        id=identity.read_text() if resumed and identity.is_file() else uuid4().hex[:8],
        resume="allow",
        project=project,
        entity=entity,
        tags=list(tags),
    )
    return [*csv(run_dir), wandb_logger]


def has_wandb_key() -> bool:
    """Returns whether wandb will find a key for its server: in its settings, or in the netrc file that it reads."""
    import wandb as library

    settings = library.setup().settings
    if settings.api_key or getattr(settings, "identity_token_file", None):  # older versions do not have the latter
        return True
    hosts = [urlsplit(settings.base_url).netloc]
    if settings.base_url == library.Settings().base_url:  # the default server, for which netrc may have another name
        hosts.append("api.wandb.ai")
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    files = [path for path in (Path(place).expanduser() for place in places if place) if path.is_file()]
    try:
        return bool(files) and any(map(netrc(files[0]).authenticators, hosts))
    except (OSError, NetrcParseError):
        return False


MLFLOW_SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""The variable's value when this process started: MLflow sets it to what its last run used."""


class MlflowRun(MLFlowLogger):
    """A run of MLflow, which takes pictures too."""

    def log_picture(self, name: str, picture: ImageArray, step: int) -> None:
        """Stores a picture (H, W, 3) among the run's artifacts."""
        self.experiment.log_image(self.run_id, picture, artifact_file=f"{name}/{step}.png")


def mlflow(
    run_dir: Path,
    *,
    resumed: bool = False,
    experiment: str = "unimatch",
    tracking_uri: str | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> list[Logger]:
    """Returns the loggers of ``metrics.csv`` and of MLflow.

    Args:
        run_dir: the run directory, whose file ``mlflow_id`` names its MLflow run.
        resumed: whether to continue that MLflow run.
        experiment: MLflow's experiment.
        tracking_uri: a server or a database; None for ``MLFLOW_TRACKING_URI`` or, without one, the folder ``mlruns``
            beside the run directory, which run directories in the same folder share.
        name: of the MLflow run; None for the run directory's name.
        tags: of the MLflow run.
    """
    uri = tracking_uri or MLFLOW_SERVER or (run_dir.absolute().parent / "mlruns").as_uri()
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 requires it
    identity = run_dir / "mlflow_id"
    known = identity.read_text() if resumed and identity.is_file() else None
    with needing("MLflow", "mlflow"):
        logger = MlflowRun(experiment, name or run_dir.name, uri, dict(tags or {}), run_id=known)
    if getattr(rank_zero_only, "rank", 0) == 0:
        replace_text(identity, str(logger.run_id))
    return [*csv(run_dir), logger]
