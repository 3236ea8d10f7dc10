"""The authors' lists and the lengths of their runs; both lie beside the repository or the tests are skipped."""

import csv
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_module

from helpers.places import SHARED
from helpers.support import rest_nightly
from unimatch import SemiSupervisedDataModule
from unimatch.data import ade20k, cityscapes, coco, levir, pascal, whu
from unimatch.data.sources.files import FilePairs, Tree
from unimatch.types import Needs

SPLITS, RUNS = SHARED / "data" / "splits", SHARED / "reference" / "published_runs.csv"

LAYOUTS = {"pascal": pascal, "cityscapes": cityscapes, "ade20k": ade20k, "coco": coco}
TRAIN = {"pascal": 10582, "cityscapes": 2975, "ade20k": 20210, "coco": 118287}
VAL = {"pascal": 1449, "cityscapes": 500, "ade20k": 2000, "coco": 5000}
LABELED = {
    "pascal": {"92": 92, "183": 183, "366": 366, "732": 732, "1464": 1464, "all": 10582},
    "cityscapes": {"1_30": 100, "1_16": 186, "1_8": 372, "1_4": 744, "1_2": 1488, "all": 2975},
    "ade20k": {"1_64": 316, "1_32": 631, "1_16": 1263, "1_8": 2526, "1_4": 5052, "1_2": 10105, "all": 20210},
    "coco": {"1_512": 232, "1_256": 463, "1_128": 925, "1_64": 1849, "1_32": 3697},
}
COCO_EXTRA = 123403
"""Images of unlabeled2017."""

pytestmark = pytest.mark.skipif(not SPLITS.is_dir(), reason="the published lists are not here")


@cache
def composed(dataset, method, encoder):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        return compose("run", [f"dataset={dataset}", f"method={method}", f"encoder={encoder}"])


class CocoImages(Tree):
    """The names of COCO's training images, most of them made up: the longest lists are not here."""

    def pairs(self, root, *, allow_missing=False, without_mask=None):
        lists = (SPLITS / "coco").glob("*/labeled.txt")
        known = {line.split()[0] for path in lists for line in path.read_text().splitlines()}
        others = (f"train2017/other_{i}.jpg" for i in range(TRAIN["coco"] - len(known)))
        return FilePairs((f"{root}/{name}", None) for name in [*sorted(known), *others])


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A data set by its published lists, without its files."""
    monkeypatch.setattr("unimatch.data.splits.lists.CHECKED_LINES", 0)

    def load(dataset, split, **arguments):
        layout = LAYOUTS[dataset]
        if dataset == "coco":
            layout = replace(coco, train=CocoImages("train2017", "masks"))
            if split == "all":
                return layout(tmp_path, splits=SPLITS, **arguments)
        if dataset in ("pascal", "ade20k") and split == "all" and "unlabeled" not in arguments:
            arguments["unlabeled_list"] = SPLITS / dataset / "all" / "labeled.txt"
        return layout(tmp_path, splits=SPLITS, split=split, **arguments)

    return load


KEPT = [(name, next(iter(LABELED[name]))) for name in LABELED if name != "coco"]  # its lists are long


@pytest.mark.parametrize(
    ("dataset", "split"), rest_nightly([(name, split) for name in LABELED for split in LABELED[name]], KEPT)
)
def test_published_lists_have_their_lengths_and_share_no_image(load, dataset, split):
    data = load(dataset, split)
    labeled, unlabeled, val = (set(part.pairs.images()) for part in (data.labeled, data.unlabeled, data.val))
    assert len(data.labeled) == LABELED[dataset][split]
    assert len(data.val) == VAL[dataset]
    for images, source in ((labeled, data.labeled), (unlabeled, data.unlabeled), (val, data.val)):
        assert len(images) == len(source)
    assert not val & (labeled | unlabeled)
    if split == "all":
        assert len(unlabeled) == (19998 if dataset == "cityscapes" else TRAIN[dataset])
    else:
        assert not labeled & unlabeled
        assert len(labeled | unlabeled) == TRAIN[dataset]
    if dataset != "coco":
        lines = (
            SPLITS / dataset / split / ("train.txt" if dataset == "cityscapes" and split == "all" else "labeled.txt")
        )
        assert [f"{p.image.name} {p.mask.name}" for p in data.labeled.pairs] == [
            " ".join(Path(name).name for name in line.split()) for line in lines.read_text().splitlines()
        ]


def published_runs():
    """Each segmentation run: its name, data set, split, whether it used labels only, and its row."""
    if not RUNS.is_file():
        return
    with RUNS.open(newline="") as file:
        for row in csv.DictReader(file):
            match = re.match(
                r"\w+-(pascal|cityscapes|ade20k|coco)_|\w+-\w+?_(pascal|cityscapes|ade20k|coco)_", row["experiment"]
            )
            if match:
                split = re.search(r"_(1_\d+|\d+|all)_?labels", row["experiment"])
                yield (
                    row["experiment"],
                    match[1] or match[2],
                    split and split[1],
                    "labeled_only" in row["experiment"],
                    row,
                )


def test_every_published_segmentation_run_is_counted():
    assert len(list(published_runs())) == 337 - 12 - 24


@pytest.mark.nightly
def test_iterations_of_an_epoch_are_those_of_every_published_run(load, tmp_path):
    """The logs have a line every eighth of an epoch, rounded down."""
    pools = {
        "table13-ade20k_unimatch_v2_extra_123K": [TRAIN["coco"]],
        "table13-ade20k_unimatch_v2_extra_241K": [TRAIN["coco"], COCO_EXTRA],
        "table13-coco_unimatch_v2_extra_123K": [COCO_EXTRA],
    }
    loaded = {}
    for name, dataset, split, labels_only, row in published_runs():
        method = "supervised" if labels_only else "unimatch_v2"
        pool = next((sizes for start, sizes in pools.items() if name.startswith(start)), None)
        key = (dataset, split or "all", tuple(pool or ()))
        if key not in loaded:
            lists = []
            for i, size in enumerate(pool or ()):
                lists.append({"root": str(tmp_path), "list": str(tmp_path / f"{i}.txt")})
                (tmp_path / f"{i}.txt").write_text("".join(f"{j:012d}.jpg\n" for j in range(size)))
            loaded[key] = load(dataset, split or "all", **({"unlabeled": lists} if lists else {}))
        config = composed(dataset, method, "vitb").datamodule
        batch_size, processes = int(row["batch_size"]), int(row["ngpus"])
        if not name.startswith(("table11", "table13")):
            assert config.batch_size == batch_size, name
        module = SemiSupervisedDataModule(
            loaded[key], crop=14, batch_size=batch_size, labeled_length=config.labeled_length, workers=0
        )
        method = SimpleNamespace(needs=Needs(unlabeled=not labels_only))
        module.trainer = SimpleNamespace(lightning_module=method, world_size=processes, global_rank=0)
        for loader in module.train_dataloader().flattened:
            assert len(loader) // 8 == int(row["iterations_between_log_lines"]), name


CHANGE = {"levir": (levir, 7120, 1024, 2048), "whu": (whu, 5947, 743, 744)}
"""Training, validation and test pairs of each."""


@pytest.mark.parametrize("split", ["5%", "10%", "20%", "40%"])
@pytest.mark.parametrize("dataset", list(CHANGE))
def test_published_lists_of_change_detection(tmp_path, monkeypatch, dataset, split):
    monkeypatch.setattr("unimatch.data.splits.lists.CHECKED_LINES", 0)
    layout, train, val, test = CHANGE[dataset]
    data = layout(tmp_path, splits=SPLITS, split=split)
    parts = [set(part.pairs.images()) for part in (data.labeled, data.unlabeled, data.val, data.test)]
    assert [len(part) for part in parts[2:]] == [val, test]
    assert len(parts[0]) == train * int(split[:-1]) // 100
    assert len(parts[0]) + len(parts[1]) == train
    assert len(set().union(*parts)) == train + val + test
    pair = data.labeled.pairs[0]
    name = (SPLITS / dataset / split / "labeled.txt").read_text().split()[0]
    assert (pair.image, pair.mask) == (tmp_path / "A" / name, tmp_path / "label" / name)
    assert data.labeled.image_paths(0) == [tmp_path / "A" / name, tmp_path / "B" / name]


@pytest.mark.nightly
def test_iterations_of_an_epoch_are_those_of_every_published_run_of_change_detection(tmp_path, monkeypatch):
    monkeypatch.setattr("unimatch.data.splits.lists.CHECKED_LINES", 0)
    rows = [row for row in csv.DictReader(RUNS.open(newline="")) if row["experiment"].startswith("table14-")]
    assert len(rows) == 24
    for row in rows:
        dataset, split = re.match(r"table14-(\w+?)_cd_.*_(\d+%)labels", row["experiment"]).groups()
        labels_only = "labeled_only" in row["experiment"]
        config = composed(dataset, "supervised" if labels_only else "unimatch_v2", "vits")
        assert config.datamodule.batch_size == int(row["batch_size"])
        assert (config.datamodule.crop, config.trainer.max_epochs) == (int(row["crop_size"]), int(row["epochs"]))
        assert list(config.datamodule.weak.scale) == [0.8, 1.2]
        data = CHANGE[dataset][0](tmp_path, splits=SPLITS, split=split)
        module = SemiSupervisedDataModule(
            data,
            crop=14,
            batch_size=config.datamodule.batch_size,
            labeled_length=config.datamodule.labeled_length,
            workers=0,
        )
        method = SimpleNamespace(needs=Needs(unlabeled=not labels_only))
        module.trainer = SimpleNamespace(lightning_module=method, world_size=1, global_rank=0)
        for loader in module.train_dataloader().flattened:
            assert len(loader) // 8 == int(row["iterations_between_log_lines"]), row["experiment"]
