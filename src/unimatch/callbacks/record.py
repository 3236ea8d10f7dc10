"""Keeps a run's record: ``evaluations.jsonl``, ``summary.json``, and what a checkpoint needs to be used alone."""

import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from unimatch.callbacks.progress import count_images
from unimatch.checkpoints.content import Run, write
from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.sources.base import SegmentationData
from unimatch.disk import replace_text, training_goes_on
from unimatch.images.bands import PHOTOS
from unimatch.loggers.metrics_file import MetricsFile
from unimatch.methods.base import Method
from unimatch.methods.evaluations import Evaluation
from unimatch.trainer import evaluates_training

PACKAGES = ("unimatch", "torch", "lightning", "timm", "albumentations", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before it starts."""

    method: str
    dataset: str
    encoder: str
    task: str
    seed: int
    labeled: int
    unlabeled: int
    split: str | None
    """The split's name, where the data set has named splits."""
    experiment: str | None
    """``table01`` and the like, where the run was started from such a file."""
    config: dict[str, Any]
    """The resolved configuration, plain values."""
    data: dict[str, Any] = field(default_factory=dict)
    """The data set's fingerprint."""
    held_out: tuple[str, ...] = ()
    """Names of the labelled images that are held out."""


class Record(Callback):
    """Writes the record after every evaluation, so that a run that is cut short has one too.

    Args:
        run_dir: where to.
        facts: what is known beforehand.
        data: whose classes it names.
    """

    def __init__(self, run_dir: Path, facts: RunFacts, data: SegmentationData) -> None:
        self.run_dir, self.facts, self.info = run_dir, facts, data.info
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets an earlier fit."""
        self.images = 0
        self.bad_images: list[str] = []
        self.findings: list[str] = []
        self.evaluating = self.before = 0.0  # seconds; before this process, where the run is resumed
        self.started = time.monotonic()
        self.begun = self.finished = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.begin_anew()  # a checkpoint's state is read later

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "evaluating": self.evaluating, "seconds": self.seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.evaluating = state_dict["images"], state_dict["evaluating"]
        self.before = state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training so far, also those before it was resumed."""
        return self.before + time.monotonic() - self.started

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # of a sweep's job before

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += count_images(batch) * trainer.world_size
        self.begin(trainer)

    def begin(self, trainer: Trainer) -> None:
        """Writes what is known beforehand, once: after the first step, since an earlier run's files stay until then."""
        if self.begun or not trainer.global_step or not trainer.is_global_zero:
            return
        self.begun = True
        self.write("config.json", json.dumps(self.facts.config, indent=2) + "\n")
        if self.facts.held_out:
            self.write("held_out.txt", "".join(f"{name}\n" for name in self.facts.held_out))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes are here together: this is when each can learn what the others had to skip.
        self.validation_started = time.monotonic()
        module = getattr(trainer, "datamodule", None)
        if isinstance(module, SemiSupervisedDataModule):
            self.bad_images = module.bad_images.names()
            self.findings = module.findings

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Method)
        if not evaluates_training(trainer) or not trainer.is_global_zero:
            return
        self.evaluating += time.monotonic() - self.validation_started
        self.write_evaluations(pl_module, trainer)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Also where the run was resumed at its end.
        assert isinstance(pl_module, Method)
        self.begin(trainer)
        if trainer.is_global_zero:
            self.finished = True
            self.write_evaluations(pl_module, trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        run = Run(
            config=self.facts.config,
            classes=list(self.info.classes),
            palette=[list(color) for color in self.info.palette],
            processes=trainer.world_size,
            metrics_rows=sum(logger.rows for logger in trainer.loggers if isinstance(logger, MetricsFile)),
            data=self.facts.data,
        )
        write(checkpoint, run)

    def describe(self, evaluation: Evaluation) -> dict[str, Any]:
        """Returns an evaluation as plain values, those of classes by their names."""
        result: dict[str, Any] = {"step": evaluation.step, "epoch": evaluation.epoch}
        for name, scores in (("student", evaluation.student), ("teacher", evaluation.teacher)):
            result[name] = scores.overall() | self.by_class(scores.per_class())
        per_class = {key: value for key, value in evaluation.pseudo.items() if isinstance(value, list)}
        return {**result, "pseudo_label": evaluation.pseudo | self.by_class(per_class)}

    def by_class(self, values: Mapping[str, Sequence[float | None]]) -> dict[str, dict[str, float | None]]:
        """Gives values that are in the order of the classes the classes' names."""
        return {key: dict(zip(self.info.classes, value, strict=True)) for key, value in values.items()}

    def write_evaluations(self, method: Method, trainer: Trainer) -> None:
        """Writes ``evaluations.jsonl`` and ``summary.json``; the README explains their keys."""
        if not method.evaluations:
            return
        lines = [json.dumps(self.describe(evaluation)) + "\n" for evaluation in method.evaluations]
        self.write("evaluations.jsonl", "".join(lines))
        last = method.evaluations[-1]
        best = max(method.evaluations, key=lambda evaluation: evaluation.teacher.main)
        seconds, described = self.seconds, self.describe(last)
        headline = last.teacher.headline
        summary = {
            **{key: value for key, value in asdict(self.facts).items() if key not in ("config", "data", "held_out")},
            **({"held_out": len(self.facts.held_out)} if self.facts.held_out else {}),
            **({} if self.info.bands == PHOTOS else {"bands": self.info.bands.plain()}),
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "finished": self.finished,
            "headline": headline,
            f"teacher/{headline}_best": best.teacher.main,
            f"student/{headline}_best": max(evaluation.student.main for evaluation in method.evaluations),
            "best_step": best.step,
            **{f"{name}/{key}": value for name in ("teacher", "student") for key, value in described[name].items()},
            "bad_images": self.bad_images,
            "findings": self.findings,
            "seconds": round(seconds, 1),
            "seconds_evaluating": round(self.evaluating, 1),
            "images_per_second": round(self.images / max(seconds - self.evaluating, 1e-9), 1),
            "peak_memory_mb": peak_memory_mb(),
            "processes": trainer.world_size,
            "device": device_name(),
            "precision": str(trainer.precision),
            "versions": versions(),
            "git_revision": git_revision(),
        }
        self.write("summary.json", json.dumps(summary, indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the run directory, whole or not at all."""
        with training_goes_on(self.run_dir / name):
            replace_text(self.run_dir / name, text)


def peak_memory_mb() -> int | None:
    """Returns the most memory that was held, None on Windows.

    On a GPU, that of this training. Else what is resident of the process, in a sweep also in the jobs before.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return round(torch.cuda.max_memory_allocated() / 2**20)
    if platform.system() == "Windows":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if platform.system() == "Darwin" else peak / 2**10)  # bytes there, else kilobytes


def device_name() -> str:
    """Returns the GPU's name, or the processor's kind."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of what decides what is computed; of cuDNN where there is a GPU."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "unknown"
    if torch.cuda.is_available() and (number := torch.backends.cudnn.version()):  # type: ignore[no-untyped-call]
        found["cudnn"] = cudnn_version(number)
    return found


def cudnn_version(number: int) -> str:
    """Returns cuDNN's version as it is usually written.

    >>> cudnn_version(91501), cudnn_version(8902)
    ('9.15.1', '8.9.2')
    """
    unit = 10_000 if number >= 90_000 else 1_000  # of the first number, since version 9
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def git_revision() -> str | None:
    """Returns the revision of the source tree the package runs from, ``+`` where it is changed; None without one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
