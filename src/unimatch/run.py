"""``python -m unimatch.run``: train a method on a data set and evaluate student and teacher."""

import inspect
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_object
from lightning.pytorch.callbacks import Checkpoint
from omegaconf import DictConfig, read_write

from unimatch.callbacks import CheckpointFiles, Plan, RunFacts
from unimatch.checkpoints.content import run_of
from unimatch.checkpoints.files import first_line, read_checkpoint, start_from
from unimatch.checkpoints.resume import (
    check_continuable,
    check_unchanged,
    choose_checkpoint,
    requeued,
    restored_from,
)
from unimatch.command import build, command, plain, quiet_libraries
from unimatch.data import SegmentationData, SemiSupervisedDataModule
from unimatch.disk import check_writable
from unimatch.errors import ConfigError, ProcessError, is_of_a_worker
from unimatch.lightning_internals import restore_within
from unimatch.loggers.loggers import EventFiles
from unimatch.loggers.metrics_file import MetricsFile
from unimatch.methods import Method
from unimatch.models import Model
from unimatch.tasks.scores import Scores, scores_table

log = logging.getLogger("unimatch")


def train(config: DictConfig) -> float:
    """Trains as ``conf/run.yaml``, composed, says, in the current Hydra job's run directory.

    Returns the teacher's best headline score on the validation images, in percent.
    """
    quiet_libraries()
    hydra_config = HydraConfig.get()
    run_dir = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.MULTIRUN:
        name_this_job_alone(hydra_config, run_dir)

    checkpoint = choose_checkpoint("auto" if config.resume is None and requeued() else config.resume, run_dir)
    data: SegmentationData = build(config.dataset)
    lightning.seed_everything(config.seed, verbose=False)
    model: Model = build(config.model, num_classes=data.info.num_classes)
    if config.start_from is not None:
        log.info("%s", start_from(model, config.start_from))
    method: Method = build(config.method, model, task=build(config.task))
    datamodule: SemiSupervisedDataModule = build(config.datamodule, data)
    if config.plan:
        return print_plan(config, method, datamodule)
    choices: dict[str, Any] = hydra_config.runtime.choices
    facts = RunFacts(
        method=choices["method"],
        dataset=choices["dataset"],
        encoder=config.encoder.name,
        task=method.task.name,
        seed=config.seed,
        labeled=len(data.labeled),
        unlabeled=len(data.unlabeled) if method.uses_unlabeled else 0,
        split=None if config.dataset.get("split") is None else str(config.dataset.split),
        experiment=choices.get("experiment"),
        config={key: value for key, value in plain(config).items() if not key.startswith(("resume", "plan"))},
    )
    callbacks = build_callbacks(config.callbacks, run_dir=run_dir, facts=facts, data=data)
    trainer: lightning.Trainer = build(
        config.trainer,
        default_root_dir=run_dir,
        logger=build(config.logger, run_dir, resumed=checkpoint is not None),
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),  # else Lightning adds one
        enable_progress_bar=False,  # ours spans the whole training
        enable_model_summary=False,
    )
    log.info(
        "%s on %s with %s: %d labelled, %d unlabelled, %d validation images; %.1fM parameters; %s",
        *(facts.method, facts.dataset, facts.encoder, facts.labeled, facts.unlabeled, len(data.val)),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        run_dir,
    )
    log.info("%s", model.summary())
    if trainer.is_global_zero:
        check_writable(run_dir / "checkpoints", needed=CHECKPOINTS_AT_ONCE * checkpoint_bytes(model))
    if checkpoint is not None:
        resume(checkpoint, trainer, facts, allowed=config.resume_changed)
    with lost_workers_explained():
        trainer.fit(method, datamodule, ckpt_path=checkpoint)
    if trainer.is_global_zero and config.callbacks.get("record") is not None:
        print(report(run_dir, method.task.scores_type))
    return max(evaluation.teacher.main for evaluation in method.evaluations)


def build_callbacks(entries: DictConfig, **objects: Any) -> list[lightning.Callback]:
    """Makes a callback of each entry of the configuration's ``callbacks`` that is not null.

    A callback is given those of the objects that its constructor has an argument for.
    """
    callbacks = []
    for name, node in entries.items():
        if node is None:
            continue
        target = node.get("_target_", "")
        try:
            takes = inspect.signature(get_object(target)).parameters
        except (ImportError, ValueError) as error:
            raise ConfigError(f"callbacks.{name!s}._target_={target}: cannot be imported ({error})") from error
        given = {key: value for key, value in objects.items() if key in takes and key not in node}
        callbacks.append(build(node, **given))
    return callbacks


def print_plan(config: DictConfig, method: Method, datamodule: SemiSupervisedDataModule) -> float:
    """Takes a few steps on the training's own device and batches, and prints what the whole training will take."""
    plan = Plan(config.plan_memory)
    options = {"num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False}
    trainer: lightning.Trainer = build(
        config.trainer, logger=False, callbacks=[plan], enable_checkpointing=False, **options
    )
    with lost_workers_explained():
        trainer.fit(method, datamodule)
    if trainer.is_global_zero:
        print(plan.report)
    return 0.0


@contextmanager
def lost_workers_explained() -> Iterator[None]:
    """Turns the error that a killed loading process causes into one line."""
    try:
        yield
    except RuntimeError as error:
        if not is_of_a_worker(error):
            raise
        raise ProcessError(
            f"a process that loads images has died ({first_line(error)}). If the system killed it for memory: fewer "
            "datamodule.workers, or smaller images. resume=auto continues from the last checkpoint"
        ) from error


def name_this_job_alone(hydra_config: Any, run_dir: Path) -> None:
    """Makes this process's arguments those of one job of a sweep: Lightning starts further processes with them."""
    sys.argv[1:] = list(hydra_config.overrides.task)
    with read_write(hydra_config):
        hydra_config.run.dir = str(run_dir)


def resume(checkpoint: Path, trainer: lightning.Trainer, facts: RunFacts, *, allowed: bool) -> None:
    """Checks that a checkpoint is of this training, unless another is ``allowed``; keeps what was logged up to it."""
    content = read_checkpoint(checkpoint)
    check_continuable(checkpoint, content)
    restore_within(trainer, partial(restored_from, checkpoint, trainer))
    before = run_of(content)
    check_unchanged(
        {**before.config, "processes": before.processes},
        {**facts.config, "processes": trainer.world_size},
        allowed=allowed,
    )
    log.info("continuing from %s, step %d", checkpoint, content["global_step"])
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                other = checkpoint.parent.parent / "metrics.csv"
                logger.resume(before.metrics_rows, other if other.is_file() else None)
            elif isinstance(logger, EventFiles):
                logger.resume(content["global_step"])


CHECKPOINTS_AT_ONCE = 4
"""last, previous and best, and the one that is being written."""


def checkpoint_bytes(model: Model) -> int:
    """Returns about how large a checkpoint is: student, teacher, and AdamW's two moments."""
    return 4 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def report(run_dir: Path, scores: type[Scores]) -> str:
    """Returns the closing table: scores by class and overall, the best evaluation, and where everything lies."""
    summary = json.loads((run_dir / "summary.json").read_text())
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])
    headline, title = scores.headline, scores.titles[scores.headline]
    lines = [
        "",
        scores_table({name: last[name] for name in ("student", "teacher")}, scores),
        "",
        f"best teacher: {summary[f'teacher/{headline}_best']:.1f} {title} at step {summary['best_step']} of "
        f"{summary['steps']}",
        f"{summary['seconds']:.0f} s ({summary['seconds_evaluating']:.0f} s of it evaluating), "
        f"{summary['images_per_second']:.0f} images/s, {summary['peak_memory_mb']} MB at most",
        f"run directory: {run_dir}",
        "  report.html: curves, classes, examples, settings on one page",
        "  checkpoints/best.ckpt, checkpoints/last.ckpt, summary.json, metrics.csv, evaluations.jsonl,",
        "  config.json, confusion.csv, examples, validation.png, curves.png, run.log",
    ]
    return "\n".join(lines)


main = command("run")(train)

if __name__ == "__main__":
    main()
