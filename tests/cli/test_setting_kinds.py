import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from unimatch.cli.setting_kinds import check_settings, own_settings
from unimatch.errors import ConfigError


def composed(command="run", *overrides):
    with initialize_config_module("unimatch.conf", version_base="1.3"):
        return compose(command, list(overrides))


@pytest.mark.parametrize("key", ["method.seed", "datamodule.seed", "dataset.split_seed", "dataset.scene_seed"])
def test_seeds_below_0_are_refused(key):
    with pytest.raises(ConfigError, match=f"^{key}=-1: must be at least 0"):
        check_settings(composed("run", f"{key}=-1"), "run")
    check_settings(composed("run", "dataset._target_=own.data", "dataset.split_seed=-1"), "run")


@pytest.mark.parametrize(
    ("command", "override", "told"),
    [
        ("run", "overwrite=no", "overwrite=no: must be true or false"),  # a text, and true as such
        ("run", "plan=1", "plan=1: must be true or false"),
        ("run", "seed=one", "seed=one: must be a whole number"),
        ("run", "plan_memory=much", "plan_memory=much: must be a number or null"),
        ("predict", "checkpoint={a: b}", "must be text or a list"),
        ("predict", "input=[a,b]", r"input=\[a, b\]: must be text; give one alone"),
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
        ("app", "seconds=long", "seconds=long: must be a number"),
        ("labels", "tolerance=much", "tolerance=much: must be a number"),
        ("select", "n=1.5", "n=1.5: must be a whole number"),
        ("predict", "output=null", "output=null: must be text"),
        ("export", "output=null", "output=null: must be text"),
        ("export", "format=[onnx]", "format=.*: must be text or null"),
        ("select", "out=null", "out=null: must be text"),
        ("predict", "device=null", "device=null: must be text or a whole number"),
        ("labels", "url=[a]", "url=.*: must be text"),
        ("labels", "background=[a]", "background=.*: must be text or null"),
        ("evaluate", "split=null", "split=null: must be text"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(command, override, told):
    key = override.partition("=")[0]
    must = {name: 2 if name == "n" else "a" for name, value in own_settings(command).items() if value == "???"}
    if command in ("select", "round"):
        must["dataset"] = {"root": "photos"}
    config = OmegaConf.create({**own_settings(command), **must})
    check_settings(config, command)
    config[key] = OverridesParser.create().parse_override(override).value()
    with pytest.raises(ConfigError, match=told):
        check_settings(config, command)


@pytest.mark.parametrize("command", ["predict", "evaluate", "round"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("inference.flip=3", r"inference\.flip=3: must be true or false or null"),
        ("inference.stride=far", r"inference\.stride=far: must be a whole number or null"),
        ("inference.scales=2", r"inference\.scales=2: must be a list or null"),
        ("inference.mode=[whole]", r"inference\.mode=\[whole\]: must be text or null"),
    ],
)
def test_how_a_trained_model_predicts_is_checked_too(command, override, told):
    needed = {key: "a" for key, value in own_settings(command).items() if value == "???"} | {"n": 2}
    given = [f"{key}={value}" for key, value in needed.items() if key in own_settings(command)]
    given += ["dataset.root=x"] if command == "round" else []
    check_settings(composed(command, *given), command)
    with pytest.raises(ConfigError, match=told):
        check_settings(composed(command, *given, override), command)


def test_a_gpu_may_be_given_by_its_number():
    check_settings(composed("predict", "checkpoint=a", "input=b", "output=c", "device=0"), "predict")


def test_folders_of_photos_are_text():
    for root in ("[a]", "null", "{a: b}"):
        with pytest.raises(ConfigError, match=r"dataset\.root=.*: must be text"):
            check_settings(composed("select", "n=2", f"dataset.root={root}"), "select")


def test_a_commands_own_settings_come_from_its_file():
    assert own_settings("predict")["save"] == OmegaConf.create(["overlay"])
    assert "hydra" in own_settings("run")
    assert own_settings("no_such_command") == {}


@pytest.mark.parametrize(
    ("command", "key", "needed"),
    [
        ("app", "seconds", ["checkpoint=a.ckpt"]),
        ("select", "likeness", ["n=1", "dataset.root=a"]),
        ("round", "likeness", ["n=1", "to=coco", "checkpoint=a.ckpt", "dataset.root=a"]),
    ],
)
def test_amounts_may_be_fractions(command, key, needed):
    for value in ("0.5", "3"):
        check_settings(composed(command, f"{key}={value}", *needed), command)
