import re

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser

from unimatch.cli.overrides import (
    check_overrides,
    config_folder,
    config_groups,
    flat_keys,
    values,
)
from unimatch.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("datset=camvid", "did you mean dataset?"),
        ("dataset=camvidd", "did you mean camvid?"),
        ("dataset.labled=12", "did you mean dataset.labeled?"),
        ("method.taw=0.9", "did you mean method.tau?"),
        ("method=unimatch_v3", "did you mean unimatch_v2?"),
        ("trainer.max_stepz=3", "did you mean trainer.max_steps?"),
        ("encoder.weigths=x", "did you mean encoder.weights?"),
        ("sede=1", "did you mean seed?"),
        ("lr=1", "did you mean method.learning_rate?"),
        ("method.lr=1", "did you mean method.learning_rate?"),
        ("learning_rate=1", "did you mean method.learning_rate?"),
        ("epochs=1", "did you mean trainer.max_epochs?"),
        ("trainer.epochs=1", "did you mean trainer.max_epochs?"),
        ("batch_size=1", "did you mean datamodule.batch_size?"),
        ("tau=1", "did you mean method.tau?"),
        ("output_dir=x", "did you mean hydra.run.dir?"),
        ("encoder=resnet18", "it is a model of timm: encoder=timm encoder.name=resnet18. There are: "),
        ("encoder=vitss", "did you mean vits? There are: "),
        ("experiment=table01", "write +experiment=table01"),
    ],
)
def test_a_mistyped_name_is_an_error_with_the_closest_real_one(override, named):
    with pytest.raises(ConfigError) as error:
        check_overrides("run", [override])
    assert named in str(error.value)
    assert override.partition("=")[0] in str(error.value)


def test_the_place_of_results_is_a_key_of_the_command_where_it_has_one():
    for name, key in (("run", "hydra.run.dir"), ("predict", "output"), ("select", "out")):
        with pytest.raises(ConfigError, match=rf"output_dir: no such key; did you mean {key}\?"):
            check_overrides(name, ["output_dir=x"])


def test_a_short_flag_of_hydra_is_no_folder_and_a_shortened_one_is(tmp_path):
    assert config_folder(["-c", "job", "--cfg", "job"]) is None
    for flag in ("-cd", "--config-dir", "--config-d"):  # Hydra takes the beginning of a long flag too
        assert config_folder(["-c", "job", flag, str(tmp_path)]) == tmp_path


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=camvid", "dataset.root=x"],
        ["dataset=folder", "dataset.root=x", "dataset.classes=y"],
        ["method=supervised,unimatch_v2", "seed=0,1,2"],
        ["method=supervised,unimatch_v2", "method.tau=0.9"],  # a key of one of the swept options
        ["hydra.run.dir=x", "-m", "--cfg"],
        ["+trainer.profiler=simple"],
        ["recipe.scale=[0.5,1.0]"],
        ["seed=range(3)"],
    ],
)
def test_real_names_pass(overrides):
    check_overrides("run", overrides)


def test_a_key_of_another_option_is_an_error():
    with pytest.raises(ConfigError, match=r"method\.tau"):
        check_overrides("run", ["method=supervised", "method.tau=0.9"])


def test_a_group_of_another_command_is_an_error():
    with pytest.raises(ConfigError, match="trainer=cpu: this command has no group trainer"):
        check_overrides("evaluate", ["trainer=cpu"])
    check_overrides("evaluate", ["dataset=camvid", "trainer.accelerator=cpu"])


def test_an_override_that_cannot_be_read_is_one_message():
    with pytest.raises(ConfigError):
        check_overrides("run", ["seed=[0"])


def test_groups_come_from_the_files():
    groups = config_groups()
    assert {"dataset", "encoder", "logger", "method", "trainer"} <= set(groups)
    assert {"camvid", "digits", "folder"} <= set(groups["dataset"])


def test_a_folder_of_configurations_adds_options_and_groups_that_are_checked_too(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: mine.Mine\nweight: 2\n")
    folder = ["--config-dir", str(tmp_path)]
    check_overrides("run", [*folder, "method=mine", "method.weight=3"])
    check_overrides("run", [f"--config-dir={tmp_path}", "-m", "method=supervised,mine"])
    for arguments, named in (
        ([*folder, "method=mime"], "did you mean mine?"),
        ([*folder, "method=mine", "method.weigths=3"], "did you mean method.weight?"),
        (["method=mine"], "A file of your own, FOLDER/method/mine.yaml, needs --config-dir FOLDER"),
        (["--config-dir", str(tmp_path / "conf")], "no such folder"),
    ):
        with pytest.raises(ConfigError, match=re.escape(named)):
            check_overrides("run", arguments)


def test_flat_keys_lists_every_level():
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        keys = list(flat_keys(compose("run")))
    assert {"seed", "recipe", "recipe.tau", "method.tau", "dataset.labeled"} <= set(keys)


@pytest.mark.parametrize(
    ("given", "why"),
    [("encoder=é", "at 'é'"), ("seed=(1", "extraneous input '(')"), ("features=[a (1)]", "HydraException while")],
)
def test_what_hydra_cannot_read_is_told_with_the_argument_and_the_remedy(given, why):
    with pytest.raises(
        ConfigError, match=re.escape(f"{given}: cannot be read ({why}") + r".*'KEY=(\"VALUE\"|\[\"A\",\"B\"\])'"
    ):
        check_overrides("run", ["dataset=folder", given])


def test_a_glob_chooses_among_a_groups_options():
    check_overrides("run", ["encoder=glob(vit*,exclude=vit*_reg)"])
    (override,) = OverridesParser.create().parse_overrides(["encoder=glob(vit*,exclude=vit*_reg)"])
    assert values(override) == ["vitb", "vitg", "vitl", "vits"]
    with pytest.raises(ConfigError, match=r"encoder=glob\(bit\*\): matches no encoder\. There are: beit_b"):
        check_overrides("run", ["encoder=glob(bit*)"])


def test_keys_below_a_plain_value_are_refused_with_how_an_object_is_written():
    with pytest.raises(
        ConfigError, match=r"^method\.schedule\._target_: method\.schedule is one value.* '.*=\{_target_: "
    ):
        check_overrides("run", ["method.schedule._target_=mine.Schedule"])
