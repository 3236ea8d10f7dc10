"""``python -m unimatch.run``: trains a method on a data set, and evaluates student and teacher."""

import inspect
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, read_write

from unimatch.callbacks import CheckpointFiles, EarlierRun, Plan, RunFacts
from unimatch.callbacks.signals import status_of_signals
from unimatch.checkpoints.content import run_of, training_of
from unimatch.checkpoints.files import read_checkpoint, start_from
from unimatch.checkpoints.resume import (
    best_before,
    check_continuable,
    check_unchanged,
    choose_checkpoint,
    requeued,
    restored_from,
)
from unimatch.checkpoints.run_folder import (
    alone_in,
    bytes_held,
    can_go_on,
    files_of_run,
    is_of,
    refuse_other_run,
    removed_if_empty,
)
from unimatch.cli.building import build, made_as, plain, target_of
from unimatch.cli.command import command, quiet_libraries
from unimatch.cli.sweeps import failures_reported, goes_on, note_hours
from unimatch.cli.unused_settings import refuse_idle, warn_of_idle
from unimatch.data import SegmentationData, SemiSupervisedDataModule
from unimatch.data.fingerprint import fingerprint
from unimatch.data.loading.auto_crop import refuse_one_class
from unimatch.data.loading.lost_workers import lost_workers_explained
from unimatch.disk import check_writable, check_written, unwritten
from unimatch.errors import ConfigError
from unimatch.lightning_internals import restore_within
from unimatch.loggers.loggers import EventFiles
from unimatch.loggers.metrics_file import MetricsFile
from unimatch.methods import Method
from unimatch.models import Model
from unimatch.report.closing_table import NEEDED, closing_table
from unimatch.trainer import Trainer, check_settings

log = logging.getLogger("unimatch")


CALL_KEYS = ("resume", "plan", "overwrite")
"""Prefixes of the settings that concern one call of the command, and are no part of the training."""

CHECKPOINTS_AT_ONCE = 4
"""How many checkpoints may be on the disk: last, previous and best, and the one that is being written."""


def train(config: DictConfig) -> float:
    """Trains as the composed ``conf/run.yaml`` says, in the run directory of the current Hydra job.

    Returns the teacher's best headline score on the validation images, in percent.
    """
    quiet_libraries()
    if not is_first_process():
        log.setLevel(logging.WARNING)  # the first process says the rest for all
    hydra_config = HydraConfig.get()
    refuse_idle(hydra_config.overrides.task, config)
    if is_first_process():
        warn_of_idle(hydra_config.overrides.task, config)
    run_dir = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.MULTIRUN:
        use_arguments_of_job(hydra_config, run_dir)
    lock = nullcontext() if config.plan or not is_first_process() else alone_in(run_dir)
    with removed_if_empty(run_dir), lock:
        return train_in(run_dir, config, hydra_config.runtime.choices)


def train_in(run_dir: Path, config: DictConfig, choices: Mapping[str, Any]) -> float:
    """Trains in a run directory; ``choices`` holds the chosen option of each group of the configuration."""
    unwritten.clear()  # of a sweep's previous job
    check_settings(config.trainer)
    checkpoint = choose_checkpoint("auto" if config.resume is None and requeued() else config.resume, run_dir)
    if not config.plan:
        refuse_other_run(run_dir, checkpoint, overwrite=config.overwrite)
    if checkpoint is not None:
        keep_decay(config, checkpoint)
    data: SegmentationData = made_as(SegmentationData, build(config.dataset), config.dataset)
    if config.datamodule.get("crop") == "auto":
        refuse_one_class(data)
    lightning.seed_everything(config.seed, verbose=False)
    model = build_model(config, data)
    method: Method = made_as(Method, build(config.method, model, task=build(config.task)), config.method)
    split_seed = config.dataset.get("split_seed") or 0
    datamodule: SemiSupervisedDataModule = build(config.datamodule, data, split_seed=split_seed)
    method.check_datamodule(datamodule)
    if config.plan:
        return print_plan(config, method, datamodule)
    facts = facts_of(config, choices, data, datamodule, method)
    trainer = build_trainer(config, run_dir, facts, data, checkpoint)
    if isinstance(trainer, Trainer):
        trainer.check_parts(datamodule.batch_size)
        method.check_parts(trainer.parts_at_once)
    log_start(run_dir, facts, data, model, method)
    if trainer.is_global_zero:
        needed = CHECKPOINTS_AT_ONCE * checkpoint_bytes(model) - bytes_held(run_dir)
        check_writable(run_dir / "checkpoints", needed)
    if checkpoint is not None:
        resume(checkpoint, run_dir, trainer, facts, allowed=config.resume_changed)
    with lost_workers_explained("datamodule.workers", afterwards="resume=auto continues from the last checkpoint"):
        trainer.fit(method, datamodule, ckpt_path=checkpoint)
    if not method.evaluations:
        raise ConfigError(
            "the training has ended without an evaluation, so without a result: a callback has stopped it"
        )
    is_recorded = config.callbacks.get("record") is not None and not any(run_dir / name in unwritten for name in NEEDED)
    if trainer.is_global_zero and is_recorded:
        log.info("%s", closing_table(run_dir, method.task.scores_type))
    if can_go_on(run_dir):
        remedy = "the same command with resume=auto writes again what can be made from the last checkpoint"
    else:
        remedy = "there is no checkpoint to continue from, so overwrite=true trains again"
    check_written(remedy)
    return max(evaluation.teacher.main for evaluation in method.evaluations)


def keep_decay(config: DictConfig, checkpoint: Path) -> None:
    """Keeps the ``method.ema_decay`` that a checkpoint was trained with, where the configuration would derive one.

    The default was a number in earlier versions.
    """
    if config.method.get("ema_decay", "no such setting") is None:
        before = run_of(read_checkpoint(checkpoint)).config.get("method") or {}
        config.method.ema_decay = before.get("ema_decay")


def build_model(config: DictConfig, data: SegmentationData) -> Model:
    """Builds the model for a data set's classes and bands, with the weights of ``start_from`` if there are some."""
    model = build(config.model, num_classes=data.info.num_classes, bands=data.info.bands)
    made_as(Model, model, config.model)
    if config.start_from is not None:
        log.info("%s", start_from(model, config.start_from, classes=data.info.classes))
    return model


def facts_of(
    config: DictConfig,
    choices: Mapping[str, Any],
    data: SegmentationData,
    datamodule: SemiSupervisedDataModule,
    method: Method,
) -> RunFacts:
    """Returns what is known of a run before it starts."""
    held_out = datamodule.data.held_out
    return RunFacts(
        method=choices["method"],
        dataset=choices["dataset"],
        encoder=config.encoder.name,
        task=method.task.name,
        seed=config.seed,
        labeled=len(datamodule.data.labeled),
        unlabeled=len(data.unlabeled) if method.uses_unlabeled else 0,
        split=None if config.dataset.get("split") is None else str(config.dataset.split),
        experiment=choices.get("experiment"),
        config={key: value for key, value in plain(config).items() if not key.startswith(CALL_KEYS)},
        data=fingerprint(data),
        held_out=() if held_out is None else tuple(map(held_out.name, range(len(held_out)))),
    )


def build_trainer(
    config: DictConfig, run_dir: Path, facts: RunFacts, data: SegmentationData, checkpoint: Path | None
) -> lightning.Trainer:
    """Builds the trainer with its callbacks and loggers; ``checkpoint`` is the one that the training continues from."""
    callbacks = build_callbacks(config.callbacks, run_dir=run_dir, facts=facts, data=data)
    if checkpoint is None:
        callbacks.insert(0, EarlierRun(files_of_run(run_dir)))
    elif not is_of(checkpoint, run_dir):
        callbacks.insert(0, EarlierRun(files_of_run(run_dir), best=best_before(checkpoint), run_dir=run_dir))
    return build(
        config.trainer,
        default_root_dir=run_dir,
        logger=build(config.logger, run_dir, resumed=checkpoint is not None),
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),  # else Lightning adds one
        enable_progress_bar=False,  # the callback Progress has one for the whole training
        enable_model_summary=False,
    )


def log_start(run_dir: Path, facts: RunFacts, data: SegmentationData, model: Model, method: Method) -> None:
    """Logs what is trained on what."""
    log.info(
        "%s on %s with %s: %d labelled, %d unlabelled, %d validation images; %.1fM parameters; %s",
        facts.method,
        facts.dataset,
        facts.encoder,
        facts.labeled,
        facts.unlabeled,
        len(data.val),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        run_dir,
    )
    log.info("%s", model.summary())
    if facts.held_out and method.uses_unlabeled:
        log.info("%d further labelled images are held out, to measure pseudo labels on", len(facts.held_out))
    elif facts.held_out:
        log.warning(
            "datamodule.held_out keeps %d labelled images from being trained on, and %s makes no pseudo labels to "
            "measure on them: leave it out, unless this run is to be compared with one that holds them out too",
            len(facts.held_out),
            facts.method,
        )
    if not data.info.bands.photos:
        log.info("images: %s", data.info.bands.summary())


def build_callbacks(entries: DictConfig, **objects: Any) -> list[lightning.Callback]:
    """Builds a callback from each entry of the configuration's ``callbacks`` that is not null.

    Each is also given those ``objects`` that its constructor has an argument for, unless its entry sets the argument.
    """
    callbacks = []
    for name, node in entries.items():
        if node is None:
            continue
        if not OmegaConf.is_dict(node):
            raise ConfigError(f"callbacks.{name!s}={node}: must be settings with a _target_, or null to leave it out")
        if "_target_" not in node:
            raise ConfigError(f"callbacks.{name!s}._target_: missing; it names the class")
        target = target_of(node)
        try:
            parameters = inspect.signature(target).parameters
        except ValueError as error:  # of classes of Python itself
            raise ConfigError(f"callbacks.{name!s}._target_={node._target_}: is no callback") from error
        given = {key: value for key, value in objects.items() if key in parameters and key not in node}
        callbacks.append(made_as(lightning.Callback, build(node, **given), node))
    return callbacks


def print_plan(config: DictConfig, method: Method, datamodule: SemiSupervisedDataModule) -> float:
    """Takes a few steps on the training's own device and batches, and prints what the whole training will take."""
    plan = Plan(config.plan_memory)
    options = {"num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False}
    trainer: lightning.Trainer = build(
        config.trainer, logger=False, callbacks=[plan], enable_checkpointing=False, **options
    )
    with status_of_signals(), lost_workers_explained("datamodule.workers"):
        trainer.fit(method, datamodule)
    if trainer.is_global_zero:
        print(plan.report)
        note_hours(plan.hours)
    return 0.0


def is_first_process() -> bool:
    """Returns whether this is the run's first process; the environment says so before there is a trainer."""
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    return getattr(rank_zero_only, "rank", 0) == 0 and node == "0"


def use_arguments_of_job(hydra_config: Any, run_dir: Path) -> None:
    """Replaces this process's arguments by those of the sweep's current job: Lightning starts further processes so."""
    sys.argv[1:] = list(hydra_config.overrides.task)
    with read_write(hydra_config):
        hydra_config.run.dir = str(run_dir)


def resume(checkpoint: Path, run_dir: Path, trainer: lightning.Trainer, facts: RunFacts, *, allowed: bool) -> None:
    """Prepares trainer and loggers to continue from a checkpoint: rows logged after it are dropped.

    Args:
        checkpoint: to continue from.
        run_dir: of the run that continues.
        trainer: of the run that continues.
        facts: of the run that continues.
        allowed: whether the configuration may differ from the checkpoint's.

    Raises:
        ConfigError: the checkpoint is of another training, or of one that is finished, in another run directory.
    """
    content = read_checkpoint(checkpoint)
    check_continuable(checkpoint, content)
    restore_within(trainer, partial(restored_from, checkpoint, trainer))
    before = run_of(content)
    data = before.data and facts.data  # checkpoints of earlier versions do not describe their data
    check_unchanged(
        {**before.config, "processes": before.processes, "data": before.data},
        {**facts.config, "processes": trainer.world_size, "data": data},
        allowed=allowed,
    )
    step, training = content["global_step"], training_of(content)
    epoch = training.place.epoch if training else 0
    is_finished = step >= trainer.max_steps > 0 or epoch >= (trainer.max_epochs or -1) > 0  # -1 is no limit
    if is_finished and not is_of(checkpoint, run_dir):
        raise ConfigError(
            f"resume={checkpoint}: this training is finished (step {step}), so nothing is left to do in {run_dir}; "
            "train longer, with trainer.max_steps or trainer.max_epochs and resume_changed=true, or give "
            "start_from=FILE to train further from its weights"
        )
    log.info("continuing from %s, step %d", checkpoint, step)
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                other = checkpoint.parent.parent / "metrics.csv"
                logger.resume(before.metrics_rows, other if other.is_file() else None)
            elif isinstance(logger, EventFiles):
                logger.resume(step)


def checkpoint_bytes(model: Model) -> int:
    """Returns about how large a checkpoint is: student, teacher, and AdamW's two moments."""
    return 4 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


main = failures_reported(command("run")(goes_on(train)))

if __name__ == "__main__":
    main()
