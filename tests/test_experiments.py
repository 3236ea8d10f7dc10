"""Every file of ``conf/experiment`` trains two steps on made data in the real layout of its data set."""

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser

from support import make_published, read_summary
from unimatch.command import config_groups

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


def first_of(sweep):
    """The first value of each swept key: one run of the table."""
    chosen = []
    for key, values in sweep.items():
        override = OverridesParser.create().parse_override(f"{key}={values}")
        value = next(override.sweep_string_iterator()) if override.is_sweep_override() else values
        chosen.append(f"{key}={value}")
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("experiment", config_groups()["experiment"])
def test_an_experiment_trains(experiment, run_command, tmp_path):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        config = compose("run", [f"+experiment={experiment}"], return_hydra_config=True)
    dataset = config.hydra.runtime.choices.dataset
    row = first_of(config.hydra.sweeper.params)
    split = next((choice.partition("=")[2].strip("'") for choice in row if choice.startswith("dataset.split")), "183")
    where = make_published(tmp_path / "data", dataset, tmp_path / "splits", [split])
    pools = []
    if experiment == "table13":
        extra = make_published(tmp_path / "extra", "coco", tmp_path / "other", [])[1].partition("=")[2]
        pools = [f"dataset.unlabeled=[{{root: {extra}/train2017}}]"]
        where = [*where[:2], f"dataset.val_list={tmp_path / 'splits' / dataset / 'val.txt'}"]
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
