"""``python -m unimatch.run``: train a method on a data set and evaluate student and teacher."""

import inspect
import json
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
from omegaconf import DictConfig, read_write

from unimatch.callbacks import CheckpointFiles, EarlierRun, Plan, RunFacts
from unimatch.checkpoints.content import run_of, training_of
from unimatch.checkpoints.files import read_checkpoint, start_from
from unimatch.checkpoints.resume import (
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
from unimatch.cli.lost_workers import lost_workers_explained
from unimatch.cli.overrides import refuse_idle
from unimatch.cli.sweeps import goes_on, note_hours, told_at_the_end
from unimatch.data import SegmentationData, SemiSupervisedDataModule
from unimatch.data.fingerprint import fingerprint
from unimatch.data.loading.auto_crop import refuse_one_class
from unimatch.disk import check_writable, check_written, unwritten
from unimatch.errors import ConfigError
from unimatch.lightning_internals import restore_within
from unimatch.loggers.loggers import EventFiles
from unimatch.loggers.metrics_file import MetricsFile
from unimatch.methods import Method
from unimatch.models import Model
from unimatch.report.run_files import read_run
from unimatch.tasks.scores import Scores, scores_table
from unimatch.trainer import Trainer, check_settings

log = logging.getLogger("unimatch")


def train(config: DictConfig) -> float:
    """Trains as ``conf/run.yaml``, composed, says, in the current Hydra job's run directory.

    Returns the teacher's best headline score on the validation images, in percent.
    """
    quiet_libraries()
    if not is_first_process():
        log.setLevel(logging.WARNING)  # what is no warning, the first one says for all
    hydra_config = HydraConfig.get()
    refuse_idle(hydra_config.overrides.task, config)
    run_dir = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.MULTIRUN:
        name_this_job_alone(hydra_config, run_dir)
    with removed_if_empty(run_dir), nullcontext() if config.plan or not is_first_process() else alone_in(run_dir):
        return train_in(run_dir, config, hydra_config.runtime.choices)


def train_in(run_dir: Path, config: DictConfig, choices: Mapping[str, Any]) -> float:
    """Trains in a run directory; ``choices`` names the chosen option of each group."""
    unwritten.clear()  # of a sweep's job before
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
    model: Model = build(config.model, num_classes=data.info.num_classes, bands=data.info.bands)
    made_as(Model, model, config.model)
    if config.start_from is not None:
        log.info("%s", start_from(model, config.start_from, classes=data.info.classes))
    method: Method = made_as(Method, build(config.method, model, task=build(config.task)), config.method)
    split_seed = config.dataset.get("split_seed") or 0
    datamodule: SemiSupervisedDataModule = build(config.datamodule, data, split_seed=split_seed)
    method.check_datamodule(datamodule)
    labeled, held_out = datamodule.data.labeled, datamodule.data.held_out
    if config.plan:
        return print_plan(config, method, datamodule)
    facts = RunFacts(
        method=choices["method"],
        dataset=choices["dataset"],
        encoder=config.encoder.name,
        task=method.task.name,
        seed=config.seed,
        labeled=len(labeled),
        unlabeled=len(data.unlabeled) if method.uses_unlabeled else 0,
        split=None if config.dataset.get("split") is None else str(config.dataset.split),
        experiment=choices.get("experiment"),
        config={key: value for key, value in plain(config).items() if not key.startswith(ABOUT_THE_CALL)},
        data=fingerprint(data),
        held_out=() if held_out is None else tuple(map(held_out.name, range(len(held_out)))),
    )
    callbacks = build_callbacks(config.callbacks, run_dir=run_dir, facts=facts, data=data)
    if checkpoint is None:
        callbacks.insert(0, EarlierRun(files_of_run(run_dir)))
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
    if isinstance(trainer, Trainer):
        trainer.check_parts(datamodule.batch_size)
        method.check_parts(trainer.parts_at_once)
    log.info(
        "%s on %s with %s: %d labelled, %d unlabelled, %d validation images; %.1fM parameters; %s",
        *(facts.method, facts.dataset, facts.encoder, facts.labeled, facts.unlabeled, len(data.val)),
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
            *(len(facts.held_out), facts.method),
        )
    if not data.info.bands.photos:
        log.info("images: %s", data.info.bands.summary())
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
    recorded = config.callbacks.get("record") is not None and not {run_dir / name for name in RECORD} & unwritten.keys()
    if trainer.is_global_zero and recorded:
        log.info("%s", report(run_dir, method.task.scores_type))
    check_written(REMEDIES[can_go_on(run_dir)])
    return max(evaluation.teacher.main for evaluation in method.evaluations)


def keep_decay(config: DictConfig, checkpoint: Path) -> None:
    """Lets a run whose teacher had a given decay keep it where the default now is to derive one."""
    if config.method.get("ema_decay", "given elsewhere") is None:
        config.method.ema_decay = (run_of(read_checkpoint(checkpoint)).config.get("method") or {}).get("ema_decay")


def build_callbacks(entries: DictConfig, **objects: Any) -> list[lightning.Callback]:
    """Makes a callback of each entry of the configuration's ``callbacks`` that is not null.

    A callback is given those of the objects that its constructor has an argument for.
    """
    callbacks = []
    for name, node in entries.items():
        if node is None:
            continue
        if "_target_" not in node:
            raise ConfigError(f"callbacks.{name!s}._target_: missing; it names the class")
        takes = inspect.signature(target_of(node)).parameters
        given = {key: value for key, value in objects.items() if key in takes and key not in node}
        callbacks.append(made_as(lightning.Callback, build(node, **given), node))
    return callbacks


def print_plan(config: DictConfig, method: Method, datamodule: SemiSupervisedDataModule) -> float:
    """Takes a few steps on the training's own device and batches, and prints what the whole training will take."""
    plan = Plan(config.plan_memory)
    options = {"num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False}
    trainer: lightning.Trainer = build(
        config.trainer, logger=False, callbacks=[plan], enable_checkpointing=False, **options
    )
    with lost_workers_explained("datamodule.workers"):
        trainer.fit(method, datamodule)
    if trainer.is_global_zero:
        print(plan.report)
        note_hours(plan.hours)
    return 0.0


def is_first_process() -> bool:
    """Returns whether this is the run's first process, as its environment says before there is a trainer."""
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    return getattr(rank_zero_only, "rank", 0) == 0 and node == "0"


def name_this_job_alone(hydra_config: Any, run_dir: Path) -> None:
    """Makes this process's arguments those of one job of a sweep: Lightning starts further processes with them."""
    sys.argv[1:] = list(hydra_config.overrides.task)
    with read_write(hydra_config):
        hydra_config.run.dir = str(run_dir)


def resume(checkpoint: Path, run_dir: Path, trainer: lightning.Trainer, facts: RunFacts, *, allowed: bool) -> None:
    """Checks that a checkpoint is of this training, unless another is ``allowed``; keeps what was logged up to it."""
    content = read_checkpoint(checkpoint)
    check_continuable(checkpoint, content)
    restore_within(trainer, partial(restored_from, checkpoint, trainer))
    before = run_of(content)
    data = before.data and facts.data  # older checkpoints know nothing of their data
    check_unchanged(
        {**before.config, "processes": before.processes, "data": before.data},
        {**facts.config, "processes": trainer.world_size, "data": data},
        allowed=allowed,
    )
    step, epoch = content["global_step"], place.place.epoch if (place := training_of(content)) else 0
    at_end = step >= trainer.max_steps > 0 or epoch >= (trainer.max_epochs or -1) > 0
    if at_end and not is_of(checkpoint, run_dir):
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
                logger.resume(content["global_step"])


ABOUT_THE_CALL = ("resume", "plan", "overwrite")
"""How the keys begin that say what this call is to do: no part of the training."""

CHECKPOINTS_AT_ONCE = 4
"""last, previous and best, and the one that is being written."""


REMEDIES = {
    True: "the same command with resume=auto writes again what can be made from the last checkpoint",
    False: "there is no checkpoint to continue from, so overwrite=true trains again",
}
"""What to do where files of a finished training are missing, by whether there is a checkpoint to continue from."""


def checkpoint_bytes(model: Model) -> int:
    """Returns about how large a checkpoint is: student, teacher, and AdamW's two moments."""
    return 4 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


RECORD = ("summary.json", "evaluations.jsonl")
"""What the closing table is read from."""


def report(run_dir: Path, scores: type[Scores]) -> str:
    """Returns the closing table: scores by class and overall, the best evaluation, and where everything lies."""
    summary = json.loads((run_dir / "summary.json").read_text())
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])
    idle = read_run(run_dir).idle
    headline, title = scores.headline, scores.titles[scores.headline]
    lines = [
        "",
        scores_table({name: last[name] for name in ("student", "teacher")}, scores),
        "",
        f"best teacher: {summary[f'teacher/{headline}_best']:.1f} {title} at step {summary['best_step']} of "
        f"{summary['steps']}",
        *([idle] if idle else []),
        f"{summary['seconds']:.0f} s ({summary['seconds_evaluating']:.0f} s of it evaluating), "
        f"{summary['images_per_second']:.0f} images/s, {summary['peak_memory_mb']} MB at most",
        f"run directory: {run_dir}",
        *(f"  {name:<22}{what}" for name, what in WRITTEN.items() if (run_dir / name).exists()),
    ]
    return "\n".join(lines)


WRITTEN = {
    "report.html": "curves, classes, examples and settings on one page",
    "summary.json": "the result in numbers",
    "checkpoints/best.ckpt": "of the best evaluation; unimatch.predict and unimatch.load_model read it",
    "checkpoints/last.ckpt": "of the last step; resume=auto continues from it",
    "metrics.csv": "losses and scores by step",
    "evaluations.jsonl": "each evaluation, by class",
    "held_out.txt": "labelled images that are held out, to measure pseudo labels on",
    "config.json": "all settings",
}
"""Files of a run directory that the closing table names."""


main = told_at_the_end(command("run")(goes_on(train)))

if __name__ == "__main__":
    main()
