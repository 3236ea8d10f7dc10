"""Runs sweeps of ``unimatch.run -m``: checks before the first job, and reports failed jobs and plans at the end."""

import functools
import gc
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf, read_write
from typing_extensions import override

from unimatch.checkpoints.run_folder import remove_if_empty
from unimatch.cli.building import build, error_to_tell, message_of, with_key
from unimatch.cli.overrides import of_a_sweep, values
from unimatch.cli.setting_kinds import check_settings
from unimatch.cli.unused_settings import refuse_unread
from unimatch.cli.user_errors import exit_on_user_error, tracebacks_wanted
from unimatch.data import SegmentationData
from unimatch.data.catalog import DIGITS
from unimatch.disk import replace_text
from unimatch.errors import ConfigError, DataError, TakenError
from unimatch.methods import Method
from unimatch.safe_text import printable

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
"""Hydra's own sweeper, which runs all combinations; other sweepers choose values by earlier jobs' results."""

PLANNED, FAILED = "plan.json", "failed.json"
"""The notes that jobs leave in their folders for the end of the sweep. Plans are removed then."""

MANY: Any = range(100_000)
"""Stands for the labelled images before the data is read, so many that no number of images is refused."""

NAMED = ("seed", "dataset", "encoder", "method")
"""Settings that the name of a job's folder always begins with."""


class Sweep(Callback):
    """Does what is done before and after the jobs of a sweep; ``conf/run.yaml`` names it in ``hydra.callbacks``."""

    running: ClassVar["Sweep | None"] = None
    """The sweep that this process runs."""

    @override
    def on_multirun_start(self, config: DictConfig, **options: Any) -> None:
        # Hydra turns errors of a callback into warnings: only SystemExit ends the process.
        Sweep.running, self.folder = self, Path(config.hydra.sweep.dir)
        self.absolute = self.folder.absolute()
        self.before = notes(self.folder)
        self.taken: dict[Path, Any] = {}  # failures of jobs whose folders are other trainings', and are left alone
        self.plans = config.plan is True
        self.settings = self.folder / "multirun.yaml"  # Hydra is about to write it
        self.settings_before = self.settings.read_text("utf-8") if self.settings.is_file() else None
        with exit_on_user_error():
            given = overrides_of(config)
            if config.hydra.sweeper._target_ != BASIC and config.resume is not None:
                raise ConfigError(
                    f"resume={config.resume}: this sweeper chooses other values when it is started again, so that no "
                    "run could be continued; leave it out, or keep its study (hydra.sweeper.storage)"
                )
            check_values(config, given)
        set_by_user = any("max_failure_rate" in text for text in config.hydra.overrides.hydra)
        if "max_failure_rate" in config.hydra.sweeper and not set_by_user:
            with read_write(config):
                config.hydra.sweeper.max_failure_rate = 1.0  # by default, the first job that fails ends the search
        fixed = [override.key_or_group for override in given if not override.is_sweep_override()]
        with read_write(config):
            config.hydra.overrides.hydra.append(
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*NAMED, *fixed])}]"
            )

    @override
    def on_multirun_end(self, config: DictConfig, **options: Any) -> None:
        plans = [plan for plan in self.left(PLANNED).values() if "hours" in plan]
        if plans:
            hours = sum(plan["hours"] for plan in plans)
            print(f"\n{len(plans)} jobs, together about {hours:.2g} hours one after the other, evaluations included")
        self.name_failures("the others are done")

    def name_failures(self, others: str) -> None:
        """Prints the jobs that failed, and ends the process with their status; returns if there are none.

        Args:
            others: what the message says about the other jobs.
        """
        failures = {self.folder / path.relative_to(self.absolute): failure for path, failure in self.taken.items()}
        failures |= self.left(FAILED)
        failures |= {path: plan for path, plan in self.left(PLANNED).items() if "why" in plan}
        if failures:
            print(f"\nfailed jobs of the sweep ({len(failures)}; {others}):", file=sys.stderr)
            for place, failure in failures.items():
                print(printable(f"  {place.parent}: {failure['why']}"), file=sys.stderr)
            statuses = {failure["status"] for failure in failures.values()}
            sys.exit(statuses.pop() if len(statuses) == 1 else 1)

    def left(self, name: str) -> dict[Path, Any]:
        """Returns the content of the notes of this name that the jobs of this sweep have left, in their order."""
        paths = [
            path for path, state in notes(self.folder).items() if path.name == name and self.before.get(path) != state
        ]
        return {path: json.loads(path.read_text("utf-8")) for path in sorted(paths, key=by_number)}

    def remove_plans(self) -> None:
        """Removes the plans that jobs have left, and, if the sweep only plans, what Hydra has written."""
        for path in notes(self.folder):
            if path.name == PLANNED:
                path.unlink(missing_ok=True)
                remove_if_empty(path.parent)
        if self.plans:
            if self.settings_before is None:
                self.settings.unlink(missing_ok=True)
            else:
                replace_text(self.settings, self.settings_before)
            remove_if_empty(self.folder)


def by_number(path: Path) -> tuple[int, Path]:
    """Returns a key that sorts notes by the number with which the name of their job's folder begins."""
    number = re.match(r"\d+", path.parent.name)
    return (int(number[0]) if number else 0, path)


def notes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Returns the paths of jobs' notes below a folder, each with its inode and its time of modification (ns).

    Both together tell whether a note was written since. A comparison with the time of day does not: the clock may be
    set back, and the disk may have another clock.
    """
    paths = [path for name in (PLANNED, FAILED) for path in folder.rglob(name)]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def overrides_of(config: DictConfig) -> list[Override]:
    """Returns the overrides of a sweep: those on the command line, and those in ``hydra.sweeper.params``."""
    params = config.hydra.sweeper.get("params") or {}
    texts = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    found = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(texts)}
    return list(found.values())


def check_values(config: DictConfig, given: list[Override]) -> None:
    """Refuses values of a sweep before its first job, by building method and data module without weights and data.

    Of a range, from which a sweeper chooses, both ends are checked. The numbers of classes and of labelled images are
    not known yet, so that no value is too large for them.

    Raises:
        UnimatchError: a value does not fit.
    """
    texts = [values_of(override) for override in given]
    first = [several[0] for several in texts if several]
    others = [text for several in texts for text in several[1:]]
    for overrides in (first, *([*first, text] for text in others)):  # a later override of a key replaces an earlier one
        job = compose(config.hydra.job.config_name, overrides)
        check_settings(job, "run")
        refuse_unread(job, "run")
        weights = job.method.get("class_weights")
        classes = max(2, len(weights)) if isinstance(weights, ListConfig) else 2
        with torch.device("meta"):  # needs no memory
            model = get_object(job.model._target_)("tiny", num_classes=classes)
            method: Method = build(job.method, model, task=build(job.task))
        nothing: Any = ()
        data = SegmentationData(DIGITS, MANY, nothing, nothing, one_class=model.task == "classification")
        method.check_datamodule(build(job.datamodule, data))


def values_of(override: Override) -> list[str]:
    """Returns an override as text, once for each of its values; of an interval, for both ends."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = f"{'+' * override.is_add()}{override.get_key_element().lstrip('+')}"
    return [f"{key}={value}" for value in values(override)]


def goes_on(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Makes a sweep go on after a job that fails, which leaves ``failed.json`` in its folder.

    A sweeper that learns from the jobs gets an error for it, as the job has no value. A signal ends the whole sweep.
    """

    @functools.wraps(task)
    def run(config: DictConfig) -> Any:
        job = HydraConfig.get()
        if job.mode != RunMode.MULTIRUN:
            return task(config)
        gc.collect()  # frees the previous job's trainer and model, which refer to each other
        note = Path(job.runtime.output_dir) / (PLANNED if config.plan else FAILED)
        note.unlink(missing_ok=True)
        learns = job.sweeper._target_ != BASIC
        try:
            value = task(config)
            if learns and value is not None and math.isnan(value):  # Optuna would end the search
                raise DataError("the run has no score to compare: do the validation images show any class?")
            return value
        except Exception as error:
            cause = error_to_tell(error)
            if cause is None or tracebacks_wanted():
                print(printable(traceback.format_exc()), file=sys.stderr)
            message = f"{type(error).__name__}: {error}" if cause is None else with_key(message_of(cause), config)
            why = of_a_sweep(message)
            print(printable(f"unimatch: this job failed: {why}"), file=sys.stderr)
            failure = {"why": why, "status": 1 if cause is None else cause.status}
            if isinstance(cause, TakenError) and Sweep.running:
                Sweep.running.taken[note] = failure
            else:
                replace_text(note, json.dumps(failure) + "\n")
            if learns:
                raise JobFailedError(why) from error
            return None

    return run


class JobFailedError(Exception):
    """A job has failed; raised for a sweeper that counts such jobs."""


def failures_reported(main: Callable[[], None]) -> Callable[[], None]:
    """Makes a command report a sweep's failed jobs even if its sweeper fails, as Optuna does without any value.

    At the end the plans of jobs are removed.
    """

    @functools.wraps(main)
    def run() -> None:
        Sweep.running = None
        try:
            main()
        except Exception:
            if Sweep.running:
                Sweep.running.name_failures("the sweeper has given up")
            raise
        finally:
            if Sweep.running:
                Sweep.running.remove_plans()

    return run


def note_hours(hours: float) -> None:
    """Leaves a plan's hours in the folder of its job, if this is a sweep, which adds them up."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        replace_text(Path(HydraConfig.get().runtime.output_dir) / PLANNED, json.dumps({"hours": hours}) + "\n")


def folder_name(text: str) -> str:
    """Returns the end of the name of a job's folder, from the settings that the sweep varies.

    >>> folder_name("method.tau=0.9,dataset.root=a/b")
    '_method.tau=0.9,dataset.root=a_b'
    >>> folder_name("")
    ''
    """
    return re.sub(r"[^\w.,=+-]", "_", f"_{text}")[:120] if text else ""


def array_task() -> str:
    """Returns the end of a run directory's name for a task of a SLURM job array, as tasks may start in the same second.

    >>> array_task()
    ''
    """
    return folder_name(f"task{task}" if (task := os.environ.get("SLURM_ARRAY_TASK_ID")) else "")


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
# The value is cached in the configuration: jobs of a sweep that are themselves tasks of an array, as submitit's are,
# then use the folder of the process that submits them.
OmegaConf.register_new_resolver("array_task", array_task, replace=True, use_cache=True)
