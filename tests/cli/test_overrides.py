import re

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from unimatch.cli.overrides import (
    check_overrides,
    check_settings,
    config_groups,
    flat_keys,
    own_settings,
    refuse_idle,
    refuse_of_training,
    refuse_unread,
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


def test_settings_of_callbacks_that_are_left_out_are_refused():
    given = ["callbacks=none", "guard.on_nan=skip"]
    with pytest.raises(ConfigError, match=r"^guard.on_nan=skip: nothing reads this: callbacks has no entry"):
        refuse_idle(given, settings("run", *given))
    refuse_idle(["guard.on_nan=skip"], settings("run", "guard.on_nan=skip"))
    refuse_idle(["callbacks=none", "checkpoint.every_minutes=2"], settings("run", "callbacks=none"))
    with pytest.raises(ConfigError, match=r"^checkpoint.every_minutes=2: nothing reads"):
        refuse_idle(["~callbacks.checkpoints", "checkpoint.every_minutes=2"], settings("run", "~callbacks.checkpoints"))


@pytest.mark.parametrize(
    ("given", "read_with"),
    [
        (["dataset=image_folder", "inference.flip=true"], ["dataset=change_folder", "inference.flip=true"]),
        (["dataset=image_folder", "recipe.scale=[0.8,1.2]"], ["dataset=change_folder", "recipe.scale=[0.8,1.2]"]),
        (["dataset=image_folder", "recipe.hue=0.1"], ["dataset=image_folder", "strong=paper", "recipe.hue=0.1"]),
        (["dataset=folder", "strong=randaugment", "recipe.hue=0.1"], ["dataset=folder", "recipe.hue=0.1"]),
        (["dataset=folder", "dataset.bands=3", "recipe.grayscale=0.1"], ["dataset=folder", "recipe.grayscale=0.1"]),
        (
            ["dataset=folder", "dataset.bands=3", "datamodule.strong.hue=0.1"],
            ["dataset=folder", "dataset.bands=3", "recipe.blur_sigma=[0.1,1]"],
        ),
    ],
)
def test_settings_that_the_task_or_the_views_do_not_read_are_refused(given, read_with):
    with pytest.raises(ConfigError, match=f"^{re.escape(given[-1])}: nothing reads this"):
        refuse_idle(given, settings("run", *given, "dataset.root=x"))
    refuse_idle(read_with, settings("run", *read_with, "dataset.root=x"))


@pytest.mark.parametrize("key", ["method.seed", "datamodule.seed", "dataset.split_seed", "dataset.scene_seed"])
def test_seeds_below_0_are_refused(key):
    with pytest.raises(ConfigError, match=f"^{key}=-1: must be at least 0"):
        check_settings(settings("run", f"{key}=-1"), "run")
    check_settings(settings("run", "dataset._target_=own.data", "dataset.split_seed=-1"), "run")


def settings(command="run", *overrides):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        return compose(command, list(overrides))


@pytest.mark.parametrize(
    ("added", "meant"),
    [
        ("++encoder.lorra=8", "encoder.lorra: nothing reads this key; did you mean encoder.lora?"),
        ("+nosuch=3", "nosuch: nothing reads this key"),
        ("+strong._target_=own.strong", "strong: nothing reads this node; begin your file of the group strong with"),
        ("+experiment.tau=0.5", "begin your file of the group experiment with '# @package _global_'"),
        ("+recipe.learning_rat=1", "recipe.learning_rat: nothing reads this key; did you mean recipe.learning_rate?"),
        ("+epochs=3", "epochs: nothing reads this key; did you mean trainer.max_epochs?"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(added, meant):
    with pytest.raises(ConfigError, match=re.escape(meant)):
        refuse_unread(settings("run", added), "run")


def test_keys_that_something_reads_pass():
    for added in (
        ["+encoder.options.depth=4", "++encoder.lora=8", "++seed=1", "+callbacks.mine._target_=mine.Mine"],
        ["+mine.rate=1", "method.learning_rate=${mine.rate}", "+recipe.mine=2", "method.tau=${recipe.mine}"],
        ["dataset=camvid", "recipe.supervised_batch_size=3"],
    ):
        refuse_unread(settings("run", *added), "run")
    refuse_unread(settings("predict", "++inference.flip=true"), "predict")
    refuse_unread(settings("evaluate", "dataset=camvid"), "evaluate")
    for command in ("select", "round"):
        refuse_unread(settings(command, "encoder=vits", "dataset.root=x"), command)
        for added in ("+encoder.freeze=true", "+dataset.bands=3", "+overwrit=true"):
            with pytest.raises(ConfigError, match=f"^{added[1:].partition('=')[0]}: nothing reads this key"):
                refuse_unread(settings(command, added), command)
    with pytest.raises(ConfigError, match=r"treshold: nothing reads this key; did you mean threshold\?"):
        refuse_unread(settings("predict", "+treshold=0.5"), "predict")


@pytest.mark.parametrize(
    ("command", "override", "told"),
    [
        ("run", "overwrite=no", "overwrite=no: must be true or false"),  # a text, and true as such
        ("run", "plan=1", "plan=1: must be true or false"),
        ("run", "seed=one", "seed=one: must be a whole number"),
        ("run", "plan_memory=much", "plan_memory=much: must be a number or null"),
        ("predict", "checkpoint={a: b}", "must be text or a list"),
        ("predict", "input=[a,b]", r"input=\['a', 'b'\]: must be text; give one alone"),
        ("evaluate", "checkpoint=[a,b]", "must be text; give one alone"),
        ("export", "checkpoint=[a,b]", "must be text; give one alone"),
        ("round", "given=[a,b]", "must be text or null; give one alone"),
        ("run", "resume=[a]", "must be text or null; give one alone"),
        ("predict", "votes=1.5", "votes=1.5: must be a whole number or null"),
        ("predict", "threshold=high", "threshold=high: must be a number or null"),
        ("predict", "save=overlay", r"save=overlay: must be a list; write save=\[overlay\]"),
        ("evaluate", "models=teacher", r"write models=\[teacher\]"),
        ("check", "workers=two", "workers=two: must be a whole number or null"),
        ("predict", "batch_size=1.5", "batch_size=1.5: must be a whole number or null"),
        ("export", "opset=null", "opset=null: must be a whole number"),
        ("app", "seconds=long", "seconds=long: must be a whole number"),
        ("labels", "tolerance=much", "tolerance=much: must be a number"),
        ("select", "n=1.5", "n=1.5: must be a whole number"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(command, override, told):
    key = override.partition("=")[0]
    must = {name: 2 if name == "n" else "a" for name, value in own_settings(command).items() if value == "???"}
    config = OmegaConf.create({**own_settings(command), **must})
    check_settings(config, command)
    config[key] = OverridesParser.create().parse_override(override).value()
    with pytest.raises(ConfigError, match=told):
        check_settings(config, command)


def test_a_commands_own_settings_come_from_its_file():
    assert own_settings("predict")["save"] == OmegaConf.create(["overlay"])
    assert "hydra" in own_settings("run")
    assert own_settings("no_such_command") == {}


def test_a_glob_chooses_among_a_groups_options():
    check_overrides("run", ["encoder=glob(vit*,exclude=vit*_reg)"])
    (override,) = OverridesParser.create().parse_overrides(["encoder=glob(vit*,exclude=vit*_reg)"])
    assert values(override) == ["vitb", "vitg", "vitl", "vits"]
    with pytest.raises(ConfigError, match=r"encoder=glob\(bit\*\): matches no encoder\. There are: beit_b"):
        check_overrides("run", ["encoder=glob(bit*)"])


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("evaluate", "+method.tau=0.5"), ("evaluate", "+model.image_size=16"), ("evaluate", "++datamodule.crop=8"),
        ("evaluate", "+recipe.crop=8"), ("evaluate", "+encoder.name=tiny"), ("evaluate", "+method=fixmatch"),
        ("predict", "+datamodule.crop=8"), ("export", "+trainer.precision=16"), ("check", "+datamodule.crop=8"),
    ],
)  # fmt: skip
def test_other_commands_refuse_what_only_trainings_read(command, argument):
    with pytest.raises(
        ConfigError, match=f"^{re.escape(argument)}: a setting of trainings, .*unimatch.{command} does not"
    ):
        refuse_of_training(["output=a", argument], command)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("run", ["method.tau=0.5", "encoder=vits"]),
        ("evaluate", ["dataset=camvid", "inference.flip=true", "trainer.devices=2"]),
        ("select", ["encoder=vits", "encoder.weights=a"]), ("check", ["recipe.ema_decay=0.9", "trainer.max_steps=5"]),
        ("predict", ["++inference.flip=true", "model=student"]), ("evaluate", ["+dataset.root=a"]),
    ],
)  # fmt: skip
def test_what_a_command_reads_may_be_given(command, arguments):
    refuse_of_training(arguments, command)


def test_keys_below_a_plain_value_are_refused_with_how_an_object_is_written():
    with pytest.raises(
        ConfigError, match=r"^method\.schedule\._target_: method\.schedule is one value.* '.*=\{_target_: "
    ):
        check_overrides("run", ["method.schedule._target_=mine.Schedule"])
