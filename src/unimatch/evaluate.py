"""``python -m unimatch.evaluate``: scores a checkpoint's student and teacher on a data set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
from omegaconf import DictConfig
from typing_extensions import override

import unimatch.data
from unimatch.callbacks.signals import status_of_signals
from unimatch.checkpoints.content import run_of
from unimatch.checkpoints.files import build_model, read_checkpoint
from unimatch.cli.building import build, plain
from unimatch.cli.command import command, quiet_libraries
from unimatch.data import SegmentationData, SemiSupervisedDataModule, Source
from unimatch.data.check.before_training import look, refuse
from unimatch.data.loading.lost_workers import lost_workers_explained
from unimatch.disk import replace_text
from unimatch.engines.model_facts import ModelFacts, inference_with
from unimatch.errors import ConfigError, UnimatchError, first_line
from unimatch.images.bands import Bands
from unimatch.inference.load import checkpoint_facts, models_in
from unimatch.options import one_of
from unimatch.safe_text import one_line
from unimatch.speed.fold_batch_norms import fold_batch_norms
from unimatch.tasks import Task, task_of
from unimatch.tasks.classification import refuse_inference
from unimatch.tasks.evaluator import Counts, Evaluator
from unimatch.tasks.scores import Absent, Scores, scores_table
from unimatch.terminal import progress_bar
from unimatch.trainer import check_device
from unimatch.untrusted import bound
from unimatch.wording import counted

LIMITS = ("limit_val_batches", "limit_test_batches", "fast_dev_run", "overfit_batches", "barebones")
"""Arguments of Lightning's trainer that would leave images out."""

GIVE = "give dataset=NAME dataset.root=FOLDER"
"""What to do if the checkpoint's data set cannot be used."""
LARGEST_DEMO = {"train": 4096, "val": 4096, "size": 128}
"""How many generated scenes, and pixels a side, a checkpoint may ask for: they are kept in memory."""
LARGEST_SETTING = 2**22
"""The largest of a checkpoint's other numbers, such as that of the labelled images."""
LARGEST_SEED = 2**63
"""The largest seed in a checkpoint."""


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Evaluates as the composed ``conf/evaluate.yaml`` says, and prints the table.

    Returns:
        The content of the JSON file that it writes.
    """
    quiet_libraries()
    for name in LIMITS:
        if config.trainer.get(name):
            raise ConfigError(f"trainer.{name}={config.trainer[name]}: an evaluation is of all images; leave it out")
    check_device(config.trainer)
    if config.output is not None and Path(config.output).expanduser().is_dir():  # told before the work, not after it
        raise ConfigError(f"output={config.output}: is a folder; name a file, such as {config.output}/scores.json")
    path = Path(config.checkpoint).expanduser()
    checkpoint = read_checkpoint(path)
    names = list(config.models)
    missing = [name for name in names if name not in models_in(checkpoint)]
    if missing or not names:
        raise ConfigError(f"models={names}: {path} holds {models_in(checkpoint)}")
    one_of("absent", config.absent, ("exclude", "zero"))
    models = {name: fold_batch_norms(build_model(checkpoint, name)) for name in names}  # as in predict
    facts = checkpoint_facts(checkpoint, models[names[0]])
    data = choose_data(config, checkpoint, facts.bands)
    if data.info.bands != facts.bands:
        raise ConfigError(
            "the model sees photos of 8 bits, and the data set has other bands or ranges: a model can be scored only "
            "on images such as it was trained on"
        )
    known = bool(run_of(checkpoint).config)  # converted published checkpoints name no classes
    check_classes(facts, data.info.classes, by_name=config.check_classes, known=known)
    source = choose_split(data, config.split)
    refuse(config.split, source, look(config.split, source)[0])

    trainer: lightning.Trainer = build(
        config.trainer,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Bar()],
    )
    if len(source) < trainer.world_size:
        raise ConfigError(f"{len(source)} images cannot be shared by {trainer.world_size} processes")
    if models[names[0]].task == "classification":
        refuse_inference(plain(config.inference))
    inference = inference_with(facts.inference, plain(config.inference))
    task = task_of(models[names[0]], inference, absent=config.absent, ignored=config.ignored)
    evaluator = Evaluator(models, task)
    datamodule = SemiSupervisedDataModule(
        data, crop=1, evaluation_batch=config.evaluation_batch, workers=config.workers
    )
    score = trainer.test if config.split == "test" else trainer.validate
    with status_of_signals(), lost_workers_explained():
        score(evaluator, datamodule=datamodule, verbose=False)
    result: dict[str, Any] = {
        "checkpoint": str(path),
        "dataset": data.info.name,
        "split": config.split,
        "images": len(source),
        "inference": asdict(inference),
        "absent": config.absent,
        "ignored": config.ignored,
        "precision": str(config.trainer.precision),
        "processes": trainer.world_size,
        **{name: as_json(task, counts, data.info.classes) for name, counts in evaluator.counts.items()},
    }
    if trainer.is_global_zero:
        output = Path(config.output or path.with_name(f"{path.stem}.{data.info.name}.{config.split}.json")).expanduser()
        replace_text(output, json.dumps(result, indent=2) + "\n")
        print(table({name: result[name] for name in names}, task.scores_type, config.absent))
        print(one_line(f"{counted(len(source), f'{config.split} image')} of {data.info.name}; written to {output}"))
    return result


def as_json(task: Task, counts: Counts, classes: Sequence[str]) -> dict[str, Any]:
    """Returns the scores and the counts of one model as the JSON file holds them, with values per class by name."""
    found = task.scores(counts)
    per_class = {key: dict(zip(classes, values, strict=True)) for key, values in found.per_class().items()}
    return found.overall() | per_class | {key: count.tolist() for key, count in counts.items()}


def choose_data(config: DictConfig, checkpoint: Mapping[str, Any], bands: Bands) -> SegmentationData:
    """Returns the data set of the command line, or else that of the checkpoint's run, read with these ``bands``.

    A checkpoint may come from anywhere, so it can only name our own data sets: nothing else is called, nothing is
    written, and generated data sets are small.

    Raises:
        ConfigError: neither names a data set that can be used.
    """
    if config.get("dataset") is not None:
        return build(config.dataset, **bands.arguments())
    settings = run_of(checkpoint).config.get("dataset")
    settings = dict(settings) if isinstance(settings, dict) else {}
    name = str(settings.pop("_target_", "")).removeprefix("unimatch.data.")
    function = getattr(unimatch.data, name) if name in unimatch.data.__all__ and name.islower() else None
    if function is None:
        raise ConfigError(f"the checkpoint does not say what it was trained on: {GIVE}")
    root = settings.get("root")
    try:
        if root is not None and not Path(str(root)).expanduser().is_dir():
            raise ConfigError(f"the checkpoint was trained on {name} in {str(root)!r}, which is not here: {GIVE}")
        of_bands = bands.arguments()
        for key, value in settings.items():
            if key in of_bands:
                continue
            if str(key).endswith("seed"):
                bound(value, key, LARGEST_SEED, 0)
            else:
                bound(value, key, LARGEST_DEMO.get(key, LARGEST_SETTING), -1)
        return function(**{**settings, **of_bands})
    except UnimatchError:
        raise
    except Exception as error:  # a stranger's file may say anything
        raise ConfigError(f"the checkpoint's data set, {name}, cannot be made ({first_line(error)}): {GIVE}") from error


def check_classes(facts: ModelFacts, classes: tuple[str, ...], *, by_name: bool, known: bool) -> None:
    """Refuses a data set whose classes are not the model's, and says where they differ.

    Args:
        facts: of the model.
        classes: names of the data set's classes.
        by_name: whether the names must agree, and not only their number.
        known: whether the checkpoint names its classes.

    Raises:
        ConfigError: naming the first difference.
    """
    pairs = list(zip(facts.classes, classes, strict=False))
    different = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), len(pairs))

    def named(names: tuple[str, ...]) -> str:
        return f"{names[different]!r}" if different < len(names) else "none"

    where = f"; class {different} is {named(facts.classes)} there and {named(classes)} here" if known else ""
    if len(classes) != len(facts.classes):
        raise ConfigError(
            f"the checkpoint has {len(facts.classes)} classes and the data set {len(classes)}{where}: a model can be "
            "scored only on the classes it was trained on"
        )
    if known and by_name and different < len(classes):
        raise ConfigError(
            f"the checkpoint and the data set have {len(classes)} classes each, but not the same{where}; if they mean "
            "the same, check_classes=false"
        )


def choose_split(data: SegmentationData, split: str) -> Source:
    """Returns the images of a split, ``val`` or ``test``.

    Raises:
        ConfigError: the data set has none.
    """
    one_of("split", split, ("val", "test"))
    source = data.val if split == "val" else data.test
    if source is None:
        raise ConfigError(f"split=test: the data set {data.info.name} has no test images here; use split=val")
    return source


def table(results: Mapping[str, Mapping[str, Any]], scores: type[Scores], absent: Absent) -> str:
    """Returns the scores as text: by class and model, then overall, then the classes that are absent.

    >>> from unimatch.tasks.segmentation import SegmentationScores
    >>> teacher = {"miou": 50.0, "pixel_accuracy": 75.0, "iou": {"sky": 50.0, "sea": None}}
    >>> print(table({"teacher": teacher}, SegmentationScores, "exclude"))
    IoU, %          teacher
    sky                50.0
    sea                   -
    mIoU               50.0
    pixel accuracy     75.0
    in neither truth nor prediction, left out of the mean: teacher: sea
    """
    lines = [scores_table(results, scores)]
    if "miou" in scores.titles:
        effect = f"in neither truth nor prediction, {'left out of the mean' if absent == 'exclude' else 'counted as 0'}"
    else:
        effect = "in no image" if scores.unit == "images" else "in neither truth nor prediction"
    for name, result in results.items():
        per_class = next((values for values in result.values() if isinstance(values, dict)), {})
        gone = [label for label, value in per_class.items() if value is None]
        if gone:
            lines.append(one_line(f"{effect}: {name}: {', '.join(gone)}"))
    return "\n".join(lines)


class Bar(lightning.Callback):
    """Shows a progress bar over the images of the main process."""

    @override
    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        loader: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
        images = len(loader.sampler)
        self.bar = progress_bar(images, "images", "image", late=True, disable=not trainer.is_global_zero)

    @override
    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.bar.update(len(batch))

    @override
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.bar.close()

    on_test_start, on_test_batch_end, on_test_end = on_validation_start, on_validation_batch_end, on_validation_end


main = command("evaluate")(evaluate)

if __name__ == "__main__":
    main()
