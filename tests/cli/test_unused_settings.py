import re

import pytest
from hydra import compose, initialize_config_module

from unimatch.cli.overrides import flat_keys
from unimatch.cli.unused_settings import (
    WITHOUT_EFFECT,
    refuse_idle,
    refuse_of_training,
    refuse_unread,
    warn_of_idle,
)
from unimatch.errors import ConfigError


def composed(command="run", *overrides):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        return compose(command, list(overrides))


def test_settings_of_callbacks_that_are_left_out_are_refused():
    given = ["callbacks=none", "guard.on_nan=skip"]
    with pytest.raises(ConfigError, match=r"^guard.on_nan=skip: nothing reads this: callbacks has no entry"):
        refuse_idle(given, composed("run", *given))
    refuse_idle(["guard.on_nan=skip"], composed("run", "guard.on_nan=skip"))
    refuse_idle(["callbacks=none", "checkpoint.every_minutes=2"], composed("run", "callbacks=none"))
    with pytest.raises(ConfigError, match=r"^checkpoint.every_minutes=2: nothing reads"):
        refuse_idle(["~callbacks.checkpoints", "checkpoint.every_minutes=2"], composed("run", "~callbacks.checkpoints"))


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
        refuse_idle(given, composed("run", *given, "dataset.root=x"))
    refuse_idle(read_with, composed("run", *read_with, "dataset.root=x"))


@pytest.mark.parametrize(
    ("added", "meant"),
    [
        ("++encoder.lorra=8", "encoder.lorra: nothing reads this key; did you mean encoder.lora?"),
        ("+nosuch=3", "nosuch: nothing reads this key"),
        ("+strong._target_=own.strong", "strong: nothing reads this node; begin your file of the group strong with"),
        ("+recipe_for=tuned_coco", "recipe_for: nothing reads this node; begin your file of the group recipe_for with"),
        ("+experiment.tau=0.5", "begin your file of the group experiment with '# @package _global_'"),
        ("+recipe.learning_rat=1", "recipe.learning_rat: nothing reads this key; did you mean recipe.learning_rate?"),
        ("+epochs=3", "epochs: nothing reads this key; did you mean trainer.max_epochs?"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(added, meant):
    with pytest.raises(ConfigError, match=re.escape(meant)):
        refuse_unread(composed("run", added), "run")


def test_keys_that_something_reads_pass():
    for added in (
        ["+encoder.options.depth=4", "++encoder.lora=8", "++seed=1", "+callbacks.mine._target_=mine.Mine"],
        ["+mine.rate=1", "method.learning_rate=${mine.rate}", "+recipe.mine=2", "method.tau=${recipe.mine}"],
        ["dataset=camvid", "recipe.supervised_batch_size=3"],
    ):
        refuse_unread(composed("run", *added), "run")
    refuse_unread(composed("predict", "++inference.flip=true"), "predict")
    refuse_unread(composed("evaluate", "dataset=camvid"), "evaluate")
    for command in ("select", "round"):
        refuse_unread(composed(command, "encoder=vits", "dataset.root=x"), command)
        for added in ("+encoder.freeze=true", "+dataset.bands=3", "+overwrit=true"):
            with pytest.raises(ConfigError, match=f"^{added[1:].partition('=')[0]}: nothing reads this key"):
                refuse_unread(composed(command, added), command)
    with pytest.raises(ConfigError, match=r"treshold: nothing reads this key; did you mean threshold\?"):
        refuse_unread(composed("predict", "+treshold=0.5"), "predict")


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


@pytest.mark.parametrize(
    ("given", "reason", "read_with"),
    [
        ("method.ohem_threshold=0.5", "method.criterion=ce", "method.criterion=ohem"),
        ("method.ohem_min_kept=9", "method.criterion=ce", "recipe.criterion=ohem"),
        ("method.keep_ratio=0.2", "method.channel_dropout=none", "method.channel_dropout=independent"),
        ("method.dropout_at=classifier", "method.channel_dropout=none", "method.channel_dropout=independent"),
        (
            "datamodule.rare_class_crops=3",
            "datamodule.rare_class_temperature=null",
            "datamodule.rare_class_temperature=0.05",
        ),
        ("inference.window=64", "inference.mode=whole and inference.large=null", "inference.mode=sliding"),
        ("inference.stride=64", "inference.mode=whole and inference.large=null", "inference.large=9"),
        ("plan_memory=24", "plan=false", "plan=true"),
    ],
)
def test_settings_without_effect_beside_others_are_told(given, reason, read_with, caplog):
    idle = ["method.channel_dropout=none"] if "channel_dropout" in reason else []
    warn_of_idle([given, *idle], composed("run", given, *idle))
    assert [record.getMessage() for record in caplog.records] == [f"{given}: has no effect with {reason}"]
    caplog.clear()
    warn_of_idle([given, read_with], composed("run", given, read_with))
    assert not caplog.records


def test_every_setting_that_may_be_without_effect_exists():
    keys = {*WITHOUT_EFFECT, *(other for others in WITHOUT_EFFECT.values() for other in others)}
    assert keys <= set(flat_keys(composed("run")))
