"""Every file of ``conf/experiment`` trains two steps on made data in the real layout of its data set."""

import re

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser

from helpers.class_data import make_cifar10, make_stl10, make_svhn
from helpers.places import ROOT
from helpers.support import at_night, make_change, make_published, read_summary, rest_nightly, write_splits
from unimatch.cli.overrides import config_groups

QUICK = [
    "encoder=tiny",
    "datamodule.crop=28",
    "datamodule.batch_size=2",
    "datamodule.workers=0",
    "method.ohem_min_kept=100",
    "inference.window=28",
    "trainer.max_epochs=-1",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.check_val_every_n_epoch=null",
    "trainer.accelerator=cpu",
]


KINDS = ("table01",)
"""Of segmentation and of change detection."""
CLASSES = {"cifar10": (make_cifar10, 60), "stl10": (make_stl10, 260), "svhn": (make_svhn, 40)}


def make_pairs(root, splits, split):
    """Pairs with lists as published; the overrides that choose them."""
    names = [f"t{i}.png" for i in range(10)]
    make_change(root, names, height=30, width=32)
    lists = {"train": names[:6], "val": names[6:8], "test": names[8:], f"{split}/labeled": names[:2]}
    for name, lines in {**lists, f"{split}/unlabeled": names[2:6]}.items():
        path = splits / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
    return [f"dataset.root={root}", f"dataset.splits={splits}"]


def first_of(sweep):
    """The first value of each swept key: one run of the table."""
    chosen = []
    for key, values in sweep.items():
        override = OverridesParser.create().parse_override(f"{key}={values}")
        value = next(override.sweep_string_iterator()) if override.is_sweep_override() else values
        chosen.append(f"{key}={value}")
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("experiment", rest_nightly(config_groups()["experiment"], KINDS))
def test_an_experiment_trains(experiment, run_command, tmp_path):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", [f"+experiment={experiment}"], return_hydra_config=True)
    dataset = config.hydra.runtime.choices.dataset
    row = first_of(config.hydra.sweeper.params)
    if dataset in CLASSES:
        make, count = CLASSES[dataset]
        make(tmp_path / "data", count)
        quick = ["encoder=wrn_10_1", "datamodule.batch_size=2", "datamodule.unlabeled_ratio=2"]
        run_dir = run_command(
            f"+experiment={experiment}", *row, f"dataset.root={tmp_path / 'data'}", *quick, *QUICK[3:4], *QUICK[6:]
        )
        summary = read_summary(run_dir)
        labels = int(row[0].partition("=")[2])
        assert (summary["steps"], summary["experiment"], summary["labeled"]) == (2, experiment, 10 * labels)
        return
    split = next((choice.partition("=")[2].strip("'") for choice in row if choice.startswith("dataset.split")), "183")
    if dataset == "levir":
        where = make_pairs(tmp_path / "data", tmp_path / "splits", split)
    else:
        train, val = make_published(tmp_path / "data", dataset, size=(40, 50))
        splits = write_splits(tmp_path / "splits", dataset, train, val, {split: 2})
        where = [f"dataset.root={tmp_path / 'data'}", f"dataset.splits={splits}"]
    pools = []
    if experiment == "table13":
        make_published(tmp_path / "extra", "coco", size=(40, 50))
        pools = [f"dataset.unlabeled=[{{root: {tmp_path / 'extra' / 'train2017'}}}]"]
        where = [where[0], f"dataset.val_list={tmp_path / 'splits' / dataset / 'val.txt'}"]
    run_dir = run_command(
        f"+experiment={experiment}",
        *[choice for choice in row if not choice.startswith("encoder")],
        *where,
        *pools,
        *QUICK,
    )
    summary = read_summary(run_dir)
    assert summary["steps"] == 2
    assert summary["dataset"] == dataset
    assert summary["experiment"] == experiment
    assert summary["split"] == (split if not pools else None)


@pytest.mark.nightly
def test_the_labelled_only_rows_of_table_14_train(run_command, tmp_path):
    where = make_pairs(tmp_path / "data", tmp_path / "splits", "5%")
    row = ["+experiment=table14", "method=supervised", "~method.pseudo_labels_from", "dataset.split=5%"]
    summary = read_summary(run_command(*row, *where, *QUICK))
    assert (summary["steps"], summary["method"], summary["headline"]) == (2, "supervised", "changed_iou")


@pytest.mark.parametrize(
    ("experiment", "command", "images", "epochs"),
    [
        ("table02", "split=all", 16, 360),
        at_night("table03", "split=all", 16, 120),
        ("table04", "split=all", 32, 40),
        ("table11", None, 32, 120),
        at_night("table11", "dataset=ade20k", 16, 120),
        at_night("table11", "dataset=coco", 32, 40),
        at_night("table13", None, 16, 40),
        at_night("table13", "dataset=ade20k", 16, 30),
        ("table13", "dataset=cityscapes", 8, 40),
    ],
)
def test_steps_and_lengths_unlike_the_main_tables_are_those_of_the_logs(experiment, command, images, epochs):
    """``command``: what tells the command apart, among those in the file's comment; images: of four processes."""
    lines = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    overrides = []
    if command is not None:
        (line,) = (line for line in lines if line.startswith("#") and command in line)
        overrides = [word for word in re.findall(r"\S+=\S+", line) if not word.startswith("dataset.")]
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", [f"+experiment={experiment}", *overrides])
        assert (4 * config.datamodule.batch_size, config.trainer.max_epochs) == (images, epochs)
