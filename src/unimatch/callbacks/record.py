"""Writes a run's record: ``evaluations.jsonl``, ``summary.json``, and the facts that its checkpoints carry."""

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
"""Packages whose versions may change a run's numbers."""


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
    """The experiment file that the run was started with, such as ``table01``."""
    config: dict[str, Any]
    """The resolved configuration as plain values."""
    data: dict[str, Any] = field(default_factory=dict)
    """The data set's fingerprint."""
    held_out: tuple[str, ...] = ()
    """Names of the labelled images that are held out."""


class Record(Callback):
    """Writes the record after every evaluation, so that an interrupted run has one too.

    Args:
        run_dir: the run directory.
        facts: what is known of the run before it starts.
        data: the data set, whose classes the record names.
    """

    def __init__(self, run_dir: Path, facts: RunFacts, data: SegmentationData) -> None:
        self.run_dir, self.facts, self.info = run_dir, facts, data.info
        self.begin_anew()

    def begin_anew(self) -> None:
        """Resets the state of an earlier fit."""
        self.images = 0
        self.bad_images: list[str] = []
        self.findings: list[str] = []
        self.evaluating = 0.0  # seconds of all evaluations
        self.before = 0.0  # seconds of training before the run was resumed
        self.started = time.monotonic()
        self.begun = self.finished = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.begin_anew()  # load_state_dict is called after this

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "evaluating": self.evaluating, "seconds": self.seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.evaluating = state_dict["images"], state_dict["evaluating"]
        self.before = state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those before a resume."""
        return self.before + time.monotonic() - self.started

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # the sweep's previous job may have raised the peak

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += count_images(batch) * trainer.world_size
        self.begin(trainer)

    def begin(self, trainer: Trainer) -> None:
        """Writes the facts, once: after the first step, because an earlier run's files stay until then."""
        if self.begun or not trainer.global_step or not trainer.is_global_zero:
            return
        self.begun = True
        self.write("config.json", json.dumps(self.facts.config, indent=2) + "\n")
        if self.facts.held_out:
            self.write("held_out.txt", "".join(f"{name}\n" for name in self.facts.held_out))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes are here together, and can exchange the names of images that they could not read.
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
        assert isinstance(pl_module, Method)
        self.begin(trainer)  # a run that is resumed at its end takes no step
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
        """Returns an evaluation as plain values; what is measured by class is keyed by the classes' names."""
        result: dict[str, Any] = {"step": evaluation.step, "epoch": evaluation.epoch}
        for name, scores in (("student", evaluation.student), ("teacher", evaluation.teacher)):
            result[name] = scores.overall() | self.by_class(scores.per_class())
        per_class = {key: value for key, value in evaluation.pseudo.items() if isinstance(value, list)}
        return {**result, "pseudo_label": evaluation.pseudo | self.by_class(per_class)}

    def by_class(self, values: Mapping[str, Sequence[float | None]]) -> dict[str, dict[str, float | None]]:
        """Turns lists with a value for each class into dictionaries keyed by the classes' names."""
        return {key: dict(zip(self.info.classes, value, strict=True)) for key, value in values.items()}

    def write_evaluations(self, method: Method, trainer: Trainer) -> None:
        """Writes ``evaluations.jsonl`` and ``summary.json``."""
        if not method.evaluations:
            return
        lines = [json.dumps(self.describe(evaluation)) + "\n" for evaluation in method.evaluations]
        self.write("evaluations.jsonl", "".join(lines))
        self.write("summary.json", json.dumps(self.summary(method, trainer), indent=2) + "\n")

    def summary(self, method: Method, trainer: Trainer) -> dict[str, Any]:
        """Returns the content of ``summary.json`` after at least one evaluation."""
        facts = {key: value for key, value in asdict(self.facts).items() if key not in ("config", "data", "held_out")}
        if self.facts.held_out:
            facts["held_out"] = len(self.facts.held_out)
        if self.info.bands != PHOTOS:
            facts["bands"] = self.info.bands.plain()
        last = method.evaluations[-1]
        best = max(method.evaluations, key=lambda evaluation: evaluation.teacher.main)
        seconds, described = self.seconds, self.describe(last)
        headline = last.teacher.headline
        return {
            **facts,
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

    def write(self, name: str, text: str) -> None:
        """Writes a file of the run directory, whole or not at all; a failure is a warning."""
        with training_goes_on(self.run_dir / name):
            replace_text(self.run_dir / name, text)


def peak_memory_mb() -> int | None:
    """Returns the peak memory in MiB; None on Windows.

    On a GPU it is what this training has allocated, else the largest resident size of the process since it started,
    which may be from an earlier job of a sweep.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return round(torch.cuda.max_memory_allocated() / 2**20)
    if platform.system() == "Windows":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if platform.system() == "Darwin" else peak / 2**10)  # macOS counts bytes, Linux KiB


def device_name() -> str:
    """Returns the GPU's name, or the processor's architecture."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"


def versions() -> dict[str, str]:
    """Returns the versions of Python, of :data:`PACKAGES`, and of cuDNN if there is a GPU."""
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
    """Returns cuDNN's version number as it is usually written.

    >>> cudnn_version(91501), cudnn_version(8902)
    ('9.15.1', '8.9.2')
    """
    unit = 10_000 if number >= 90_000 else 1_000  # version 9 has changed what the major version is multiplied by
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def git_revision() -> str | None:
    """Returns the Git revision that the package runs from, with a ``+`` if files differ from it; None outside Git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
