"""The loggers of a run directory. ``metrics.csv`` is always among them."""

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
    """Says how to install what a logger needs, where it is missing; ``extra`` names its requirements in the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"logger={extra} needs {name}: pip install 'unimatch[{extra}]'") from error


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
    with needing("TensorBoard", "tensorboard"):
        return [*csv(run_dir), EventFiles(run_dir, name="", version="tensorboard")]


WANDB_ID = "wandb_id"
"""The file that names the run of W&B to which all parts of a resumed run belong."""


def remove_begun(folder: Path, before: Collection[Path]) -> None:
    """Removes what a run of W&B that could not begin has left in its folder, and links to it."""
    for path in set(folder.glob("*")) - {*before}:
        remove(path)
    for path in folder.glob("*"):
        if path.is_symlink() and not path.exists():
            path.unlink()
    with suppress(OSError):  # it is not there, or holds another run
        folder.rmdir()


class WandbRun(WandbLogger):
    """A run of Weights & Biases that ends with the training: a sweep's next job in this process gets its own."""

    named = False
    """Whether the run directory says which run this is."""

    @property
    @override
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, which begins when it is first asked for.

        Raises:
            ConfigError: the server is not reached or refuses, such as for the key.
        """
        import wandb as library

        run_dir = Path(str(self.save_dir))
        before = set(run_dir.glob("wandb/*"))
        try:
            run = super().experiment
        except library.Error as error:
            remove_begun(run_dir / "wandb", before)
            raise ConfigError(
                f"logger=wandb: no run could be begun ({' '.join(str(error).split())}); WANDB_MODE=offline before the "
                "command logs into the run directory, and `wandb sync` sends it later"
            ) from error
        if not self.named:  # no sooner, or an earlier run would be resumed as one that has never begun
            replace_text(run_dir / WANDB_ID, str(self.version))
            self.named = True
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
    identity = run_dir / WANDB_ID
    wandb_logger = WandbRun(
        name=name or run_dir.name,
        save_dir=run_dir,
        offline=offline,
        mode="offline" if offline else None,  # Lightning sets a variable, which wandb may have read before
        id=identity.read_text() if resumed and identity.is_file() else uuid4().hex[:8],
        resume="allow",
        project=project,
        entity=entity,
        tags=list(tags),
    )
    return [*csv(run_dir), wandb_logger]


def has_wandb_key() -> bool:
    """Returns whether wandb will find a key: in the environment, or of its server in the netrc file that it reads."""
    import wandb as library

    settings = library.setup().settings
    if settings.api_key or getattr(settings, "identity_token_file", None):  # which older versions do not know
        return True
    hosts = [urlsplit(settings.base_url).netloc]
    if settings.base_url == library.Settings().base_url:  # wandb's own, which has had two names
        hosts.append("api.wandb.ai")
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    found = next((path for place in places if place and (path := Path(place).expanduser()).is_file()), None)
    try:
        return found is not None and any(map(netrc(found).authenticators, hosts))
    except (OSError, NetrcParseError):
        return False


MLFLOW_SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""As this process was started: MLflow sets it to what its last run used."""


class MlflowRun(MLFlowLogger):
    """A run of MLflow."""

    def log_picture(self, name: str, picture: ImageArray, step: int) -> None:
        """Keeps a picture among the run's artifacts."""
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
        run_dir: where ``mlflow_id`` says which run of MLflow belongs to it.
        resumed: continue that run.
        experiment: to log to.
        tracking_uri: a server or a database; None for ``MLFLOW_TRACKING_URI`` or, without one, the folder ``mlruns``
            beside the run directory, which all its neighbours share.
        name: of the run; None for the run directory's.
        tags: of the run.
    """
    uri = tracking_uri or MLFLOW_SERVER or (run_dir.absolute().parent / "mlruns").as_uri()
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for it
    identity = run_dir / "mlflow_id"
    known = identity.read_text() if resumed and identity.is_file() else None
    with needing("MLflow", "mlflow"):
        logger = MlflowRun(experiment, name or run_dir.name, uri, dict(tags or {}), run_id=known)
    if getattr(rank_zero_only, "rank", 0) == 0:
        replace_text(identity, str(logger.run_id))
    return [*csv(run_dir), logger]
