"""Every file under ``conf/`` composes, and every ``_target_`` takes the keys beside it as arguments."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import asdict
from functools import partial
from importlib import import_module
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any
from unittest.mock import Mock

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from helpers.places import ROOT
from helpers.support import NIGHTLY, SMALL, at_night, read_summary, rest_nightly
from unimatch import ConfigError
from unimatch.augment import Albumentations, RandAugment, StrongAugmentation
from unimatch.cli.overrides import check_overrides, config_groups
from unimatch.data import SegmentationData
from unimatch.data.catalog import DatasetInfo

GROUPS = config_groups()
BLOCKS = DatasetInfo("blocks", ("a",), ((0, 0, 0),))
OUTSIDE = ("experiment", "recipe_for")
"""Groups of which nothing is chosen by default."""
TOGETHER = ("callbacks", "dataset", "logger", "recipe", "strong", "trainer", "weak")
"""Groups that know nothing of each other: one of each is composed at a time, as a composition takes long."""
ALONE = [
    [f"{'+' if group in OUTSIDE else ''}{group}={option}"]
    for group, options in GROUPS.items()
    if group not in TOGETHER
    for option in options
]
KEPT = (
    "encoder=vits",
    "encoder=resnet50",
    "encoder=tiny",
    "encoder=timm",
    "+experiment=table01",
    "+experiment=table14",
)
"""Of the many encoders and experiments, the suite composes these; of the other groups, every option."""
EACH = [
    pytest.param(choice, marks=NIGHTLY)
    if re.match(r"\+?(encoder|experiment)=", *choice) and choice[0] not in KEPT
    else choice
    for choice in ALONE
] + [
    [f"{group}={option}" for group, option in zip(TOGETHER, options, strict=True) if option is not None]
    for options in zip_longest(*(GROUPS[group] for group in TOGETHER))
]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", list(overrides))
        if OmegaConf.is_missing(config.dataset, "root"):
            config.dataset.root = "somewhere"
        if OmegaConf.is_missing(config.encoder, "name"):
            config.encoder.name = "resnet18"
        return config


def targets(config: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Each node with a ``_target_``, and where it is, such as ``datamodule.strong``."""
    if OmegaConf.is_dict(config):
        if "_target_" in config:
            yield path, config
        for key in config:
            if not OmegaConf.is_missing(config, key):
                yield from targets(config[key], f"{path}.{key}".lstrip("."))


# What the command itself passes, beside the configuration.
PASSED = {
    "model": {"num_classes", "bands"},
    "datamodule": {"data"},
    "method": {"model", "inference"},
    "logger": {"run_dir", "resumed"},
    "trainer": {"default_root_dir", "logger", "callbacks", "plugins", "enable_progress_bar", "enable_model_summary"},
    "checkpoint": {"run_dir"},
    "guard": {"run_dir"},
    "callbacks.checkpoints": {"run_dir"},
    "callbacks.guard": {"run_dir"},
    "callbacks.record": {"run_dir", "facts", "data"},
    "callbacks.pictures": {"run_dir", "data"},
    "callbacks.report": {"run_dir", "data"},
    "callbacks.tracking": {"data"},
}


def signatures_of(target: Any) -> list[inspect.Signature]:
    """Of a function or a class, and of the base classes to which its ``**options`` go."""
    found = []
    for owner in getattr(target, "__mro__", [target]):
        found.append(inspect.signature(owner))
        if not any(p.kind is p.VAR_KEYWORD for p in found[-1].parameters.values()):
            break
    return found


@pytest.mark.parametrize("choice", EACH, ids=" ".join)
def test_every_option_composes_and_binds_to_its_signature(choice):
    config = composed(*choice)
    found = dict(targets(config))
    passed_to = {path for path in PASSED if not path.startswith("callbacks.")}
    assert passed_to | {"dataset", "inference", "task"} <= set(found)
    for path, node in found.items():
        arguments = {str(key) for key in node if key not in ("_target_", "_convert_")}
        passed = PASSED.get(path, set())
        assert not passed & arguments
        signatures = signatures_of(get_object(node._target_))
        known = {key for signature in signatures for key in signature.parameters}
        assert arguments <= known, f"{choice}: {node._target_} does not take {arguments - known}"
        needed = {
            p.name
            for p in signatures[0].parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        assert needed <= arguments | passed
    resolved = OmegaConf.to_container(config, resolve=True)
    group, _, name = choice[0].partition("=")
    if group == "encoder":
        assert resolved["model"]["encoder"] == (name if name != "timm" else "resnet18")
        # none has a rate of its own without one for few labels
        assert (config.recipe.learning_rate == 5e-6) is (config.recipe.short_learning_rate == 2.5e-5)
    assert resolved["method"]["learning_rate"] == config.recipe.learning_rate


def test_paper_settings_are_the_defaults_for_dinov2():
    config = composed("dataset=pascal", "encoder=vitb", "dataset.root=VOC")
    assert config.method.learning_rate == pytest.approx(5e-6)
    assert config.method.decoder_multiplier == 40
    assert config.method.weight_decay == 0.01
    assert (config.method.tau, config.method.ema_decay, config.method.loss_weight) == (0.95, 0.996, 1.0)
    assert list(config.datamodule.weak.scale) == [0.5, 2.0]


@pytest.mark.parametrize(("dataset", "changed"), [("folder", {}), ("levir", {"grayscale_probability": 0.0})])
def test_strong_views_are_the_papers_and_every_strength_has_a_key(dataset, changed):
    strong = OmegaConf.to_container(composed(f"dataset={dataset}").datamodule.strong, resolve=True)
    published = asdict(StrongAugmentation()) | changed
    assert strong.pop("_target_") == "unimatch.augment.StrongAugmentation"
    assert strong | {"blur_sigma": tuple(strong["blur_sigma"])} == published


@pytest.mark.parametrize("dataset", ["digits", "change_demo", "digits_classification"])
@pytest.mark.parametrize("strong", ["randaugment", at_night("paper"), at_night("albumentations")])
def test_views_are_groups_of_every_task(dataset, strong):
    node = composed(f"dataset={dataset}", f"strong={strong}", "weak=d4").datamodule
    one_class = dataset == "digits_classification"
    data = Mock(spec=SegmentationData, unlabeled=[], one_class=one_class, info=BLOCKS)
    build = partial(instantiate(node, _partial_=True), data)
    if strong == "randaugment" and not one_class:
        with pytest.raises(ConfigError, match="strong=RandAugment: rotate"):
            build()
        return
    module = build()
    assert isinstance(module.weak, Albumentations)
    assert module.weak.moves == "ScaledCrop, D4"
    kinds = {"paper": StrongAugmentation, "albumentations": Albumentations, "randaugment": RandAugment}
    assert isinstance(module.strong, kinds[strong])


def test_a_recipes_strengths_reach_the_strong_views_of_either_library():
    for dataset, expected in (("digits", (0.25, 0.2, [0.1, 2.0])), ("change_demo", (0.1, 0.0, [0.1, 0.6]))):
        ours = composed(f"dataset={dataset}").datamodule.strong
        assert (ours.hue, ours.grayscale_probability, list(ours.blur_sigma)) == expected
        jitter, gray, blur = composed(
            f"dataset={dataset}", "strong=albumentations"
        ).datamodule.strong.transform.transforms
        assert (jitter.hue, gray.p, list(blur.sigma_limit)) == expected
    assert composed("datamodule.strong.hue=0.3").datamodule.strong.hue == 0.3


OWN = {
    "dataset/mine.yaml": """# @package _global_
defaults:
  - digits
  - override /weak: d4
  - override /strong: mine
""",
    "strong/mine.yaml": """# @package datamodule.strong
_target_: unimatch.augment.TorchvisionV2
transform:
  _target_: torchvision.transforms.v2.RandomApply
  transforms:
    - {_target_: torchvision.transforms.v2.ColorJitter, brightness: [0.5, 1.5]}
""",
}


@pytest.mark.nightly
def test_a_data_sets_own_views_train_and_one_that_moves_pixels_is_refused(tmp_path, run_command, capsys):
    for name, text in OWN.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True)
        (tmp_path / "conf" / name).write_text(text)
    short = ["--config-dir", str(tmp_path / "conf"), *SMALL, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    run = run_command(*short, "dataset=mine")
    assert read_summary(run)["finished"]
    written = json.loads((run / "config.json").read_text())["datamodule"]
    assert written["weak"]["transform"]["_target_"] == "albumentations.D4"
    assert written["strong"]["_target_"] == "unimatch.augment.TorchvisionV2"
    with pytest.raises(SystemExit):
        run_command(*short, "dataset=mine", "strong=randaugment", name="refused")
    assert "strong=RandAugment: rotate, shear_x, shear_y, translate_x, translate_y moves" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command("strong=papr")
    assert "strong=papr: no such strong; did you mean paper?" in capsys.readouterr().err


def test_supervised_strong_is_supervised_with_strong_views():
    config = composed("method=supervised_strong")
    assert config.method == composed("method=supervised").method
    assert config.datamodule.labeled_strong
    assert not composed("method=supervised").datamodule.labeled_strong


def test_trainers_differ_as_they_say():
    assert composed("trainer=gpu").trainer.precision == "bf16-mixed"
    ddp = composed("trainer=ddp").trainer
    assert (ddp.strategy, ddp.devices, ddp.sync_batchnorm, ddp.precision) == ("ddp", "auto", True, "bf16-mixed")
    assert composed("trainer=debug").trainer.max_steps == 4
    assert composed("trainer=cpu").trainer.accelerator == "cpu"


def packaged() -> set[str]:
    """The files that an installed package needs, below the folder that holds ``unimatch/``."""
    package = ROOT / "src" / "unimatch"
    kept = {".py", ".yaml", ".css", ".js", ".csv", ".typed"}
    # The search does not follow links: conf/ is searched where it lies.
    places = {"unimatch": package, "unimatch/conf": (package / "conf").resolve()}
    return {
        f"{name}/{path.relative_to(place).as_posix()}"
        for name, place in places.items()
        for path in place.rglob("*")
        if path.suffix in kept and path.is_file()
    }


def test_the_configuration_in_the_package_is_the_one_at_the_top():
    link = ROOT / "src" / "unimatch" / "conf"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "conf"


def test_packages_name_every_folder():
    """A folder or a kind of file that setup.cfg does not list would be missing from the wheel."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders, kinds = set(), {}
    for path in map(PurePosixPath, packaged()):
        name = ".".join(path.parent.parts)
        folders.add(name)
        if path.suffix != ".py":
            kinds.setdefault(name, set()).add("py.typed" if path.name == "py.typed" else f"*{path.suffix}")
    assert folders == set(setup["options"]["packages"].split())
    assert all(f"{folder.replace('.', '/')}/__init__.py" in packaged() for folder in folders)
    listed = {name: set(value.split(", ")) for name, value in setup["options.package_data"].items()}
    assert kinds == listed


@pytest.mark.slow
@pytest.mark.nightly
def test_a_wheel_holds_every_file(tmp_path):
    """Needs a network: what builds the wheel is fetched."""
    copied = ("src", "conf", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
    for name in copied:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, tmp_path / "tree" / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path / "tree" / name)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(tmp_path / "tree")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if "ConnectionError" in done.stdout + done.stderr or "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("setuptools cannot be fetched")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("unimatch/") and not name.endswith("/")}
    assert names == packaged()


@pytest.mark.parametrize("option", rest_nightly(GROUPS["experiment"], ["table01"]))
def test_experiments_are_sweeps_over_real_options_and_keys(option):
    """What Hydra will sweep over is checked like what a user types."""
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", [f"+experiment={option}"], return_hydra_config=True)
    sweep = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    assert sweep
    check_overrides("run", [f"+experiment={option}", *sweep])


@pytest.mark.parametrize(("task", "end"), [("3", "_task3"), ("3/..", "_task3_.."), ("", "")])
def test_tasks_of_a_job_array_have_folders_of_their_own(task, end, monkeypatch):
    """They start in the same second, often with the same seed."""
    import_module("unimatch.cli.sweeps")  # as hydra.callbacks.sweep does
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", ["dataset=digits"], return_hydra_config=True)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
        assert config.hydra.run.dir.endswith(f"_digits_tiny_unimatch_v2_seed0{end}")
        assert config.hydra.sweep.dir.endswith(f"_sweep{end}")


def test_fractions_in_sweeps_stay_text():
    parser = OverridesParser.create()
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", ["+experiment=table02"], return_hydra_config=True)
    override = parser.parse_override(f"dataset.split={config.hydra.sweeper.params['dataset.split']}")
    assert list(override.sweep_string_iterator()) == ["'1_16'", "'1_8'", "'1_4'", "'1_2'"]


@pytest.mark.parametrize(
    ("dataset", "tau"),
    [("ade20k", 0.98), at_night("coco", 0.9), ("cityscapes", 0.0), at_night("pascal", 0.95), at_night("digits", 0.8)],
)
def test_the_tuned_recipe_changes_only_what_is_published_for_the_data_set(dataset, tau):
    paper, tuned = (composed(f"dataset={dataset}", "encoder=vitb", f"recipe={recipe}") for recipe in ("paper", "tuned"))
    assert tuned.method.tau == tau
    tuned.recipe.tau = paper.recipe.tau
    assert tuned == paper


def test_the_tuned_recipe_follows_the_data_set_of_an_experiment():
    assert composed("+experiment=table03", "recipe=tuned").method.tau == 0.98
    assert composed("+experiment=table05", "dataset=coco", "recipe=tuned").method.tau == 0.9


@pytest.mark.parametrize(
    "dataset",
    [*rest_nightly(["folder", "change_folder", "camvid", "cityscapes", "levir", "digits"], ["camvid"])],
)
@pytest.mark.parametrize("method", ["unimatch_v2", "supervised"])
def test_the_recipe_for_few_labels_has_the_last_word_on_encoder_and_data_set(dataset, method):
    chosen = (f"dataset={dataset}", f"method={method}", "encoder=vitb")
    paper, few = composed(*chosen), composed(*chosen, "recipe=few_labels")
    assert (few.datamodule.crop, list(few.datamodule.weak.scale), few.datamodule.batch_size) == ("auto", [0.75, 1.5], 4)
    assert (few.method.learning_rate, few.method.ema_decay, few.method.dice) == (2.5e-5, None, 1.0)
    length = ("max_epochs", "max_steps", "val_check_interval", "check_val_every_n_epoch")
    assert [few.trainer[key] for key in length] == [-1, 3000, 500, None]
    same = ("flip", "tau", "blur_sigma", "decoder_multiplier", "optimizer", "weight_decay")
    assert [few.recipe[key] for key in same] == [paper.recipe[key] for key in same]
    assert (few.dataset, few.encoder, few.inference) == (paper.dataset, paper.encoder, paper.inference)


@pytest.mark.parametrize(
    ("encoder", "rate"), [("vits_reg", 2.5e-5), ("efficientnet_lite0", 3e-4), ("tiny", 3e-3), ("resnet50", 1e-5)]
)
def test_the_recipe_for_few_labels_takes_the_encoders_own_rate(encoder, rate):
    assert composed("recipe=few_labels", f"encoder={encoder}").method.learning_rate == rate


def test_the_command_line_and_the_trainer_come_after_the_recipe():
    config = composed("recipe=few_labels", "recipe.crop=70", "method.dice=0", "trainer=debug", "recipe.tau=0.8")
    assert (config.datamodule.crop, config.method.dice, config.trainer.max_steps, config.method.tau) == (70, 0, 4, 0.8)


def test_figure_4():
    for name, expected in {"a": (1, "independent"), "b": (2, "none"), "c": (2, "independent")}.items():
        method = composed(f"method=figure4{name}").method
        assert (method.strong_views, method.channel_dropout) == expected


@pytest.mark.parametrize("dataset", rest_nightly([None, *GROUPS["dataset"]], [None, "folder", "levir", "image_folder"]))
def test_evaluate_takes_every_data_set_and_binds_to_its_signatures(dataset):
    import lightning

    import unimatch

    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("evaluate", [f"dataset={dataset}"] if dataset else [])
    assert set(config.inference) <= set(inspect.signature(unimatch.Inference).parameters) | {"_target_"}
    assert set(config.trainer) <= set(inspect.signature(lightning.Trainer).parameters) | {"_target_"}
    assert ("dataset" in config and config.dataset is not None) is (dataset is not None)


@pytest.mark.parametrize(
    ("dataset", "crop", "epochs", "batch_size", "length", "criterion", "mode"),
    [
        ("pascal", 518, 60, 4, 3000, "ce", "whole"),
        ("cityscapes", 798, 180, 2, 3000, "ohem", "sliding"),
        at_night("ade20k", 518, 60, 2, 6000, "ce", "whole"),
        at_night("coco", 518, 20, 4, 30000, "ce", "whole"),
    ],
)
def test_benchmarks_have_the_papers_settings(dataset, crop, epochs, batch_size, length, criterion, mode):
    config = composed(f"dataset={dataset}", "encoder=vitb")
    assert (config.datamodule.crop, config.trainer.max_epochs, config.datamodule.batch_size) == (
        crop,
        epochs,
        batch_size,
    )
    assert config.datamodule.labeled_length is None
    assert (config.method.criterion, config.inference.mode, config.inference.window) == (criterion, mode, 798)
    for method in ("supervised", "supervised_strong"):
        supervised = composed(f"dataset={dataset}", "encoder=vitb", f"method={method}")
        assert (supervised.datamodule.batch_size, supervised.datamodule.labeled_length) == (2 * batch_size, length)


@pytest.mark.parametrize("dataset", ["digits", "camvid", "folder"])
def test_elsewhere_labeled_only_sees_the_same_labeled_batches(dataset):
    method, supervised = composed(f"dataset={dataset}"), composed(f"dataset={dataset}", "method=supervised")
    assert supervised.datamodule == method.datamodule
    assert composed(f"dataset={dataset}", "method=supervised", "datamodule.batch_size=3").datamodule.batch_size == 3


def test_hydra_reads_the_name_of_a_split_as_a_number():
    """Why ``unimatch.data.splits.lists.find_split`` takes 116 for 1_16."""
    assert composed("dataset=ade20k", "dataset.split=1_16").dataset.split == 116


def test_slurm_says_how_many_machines_there_are(monkeypatch):
    monkeypatch.setenv("SLURM_NNODES", "3")
    assert composed("trainer=slurm").trainer.num_nodes == 3
    monkeypatch.delenv("SLURM_NNODES")
    assert composed("trainer=slurm").trainer.num_nodes == 1


def test_a_classifiers_images_are_evaluated_as_they_are_trained_on():
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", ["dataset=digits_classification", "datamodule.crop=32", "datamodule.weak.resize=40"])
        plain = compose("run", ["dataset=digits_classification", "weak=paper", "recipe.crop=24"])
    assert (config.model.image_size, config.model.resize) == (config.datamodule.crop, 40) == (32, 40)
    assert (plain.model.image_size, plain.model.resize) == (24, None)
