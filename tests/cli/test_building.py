"""Objects that are built from a configuration."""

import sys

import pytest
from lightning import Callback
from omegaconf import OmegaConf

from unimatch.cli.building import build, made_as, user_error_in, with_key
from unimatch.cli.user_errors import exit_on_user_error
from unimatch.errors import ConfigError

OWN = """
import functools
from torch import nn

class Loss(nn.Module):
    def __init__(self, weight=None, error=None, message="too small\\nand more"):
        if error:
            raise error(message)
        super().__init__()

class Wrapped:
    def __init__(self, part):
        nn.Linear(-1, 1)  # a library raises it

make = {error.__name__: functools.partial(Loss, error=error) for error in (TypeError, ValueError, KeyError, OSError)}
type_error, value_error, key_error, os_error = make.values()
"""


@pytest.mark.parametrize(
    ("node", "said"),
    [
        *[
            ({"_target_": f"own_code.{name}"}, f"method: own_code.{name} cannot be made: {said} (own_code.py, line 8)")
            for name, said in (
                ("type_error", "TypeError: too small"), ("value_error", "ValueError: too small"),
                ("key_error", r"KeyError: 'too small\nand more'"), ("os_error", "OSError: too small"),
            )
        ],
        ({"_target_": "own_code.value_error", "message": ""}, "made: ValueError (own_code.py, line 8); HYDRA_"),
        ({"_target_": "own_code.Wrapped", "part": 1}, "own_code.Wrapped cannot be made: RuntimeError: Trying to"),
        (
            {"_target_": "own_code.Loss", "weight": {"_target_": "own_code.value_error"}},
            "method.weight: own_code.value_error cannot be made: ValueError: too small (own_code.py, line 8)",
        ),
        ({"_target_": "own_code.Loss", "wieght": 1}, "method.wieght=1: Loss has no such argument; did you mean"),
        ({"_target_": "own_code.Loss", "a": 1, "b": 2}, "former class, write ~method +method._target_=own_code.Loss"),
        ({"_target_": "torch.optim.SGD", "_partial_": True, "lrr": 1}, "method.lrr=1: SGD has no such argument; did"),
        ({"_target_": "torch.optim.SGD", "_partial_": True, "lr": "a"}, "method.lr=a: must be a number"),
    ],
)  # fmt: skip
def test_what_a_class_of_the_users_raises_is_a_line_with_its_key_and_place(node, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_code.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as stopped, exit_on_user_error():
        build(OmegaConf.create({"method": node}).method)
    assert stopped.value.code == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # with the traceback
    with pytest.raises(SystemExit), exit_on_user_error():
        build(OmegaConf.create({"method": node}).method)
    found = capsys.readouterr().err
    assert found.startswith("Traceback")
    assert said in found.splitlines()[-1]


def test_a_data_set_in_the_place_of_another_is_sent_to_a_file_of_its_own():
    node = {"_target_": f"{__name__}.refuse", "tau": 1, "flip": 2, "seed": 3, "other": 4}
    with pytest.raises(ConfigError, match=r"dataset.seed=3: refuse has no such argument.*FOLDER/dataset/NAME.yaml"):
        build(OmegaConf.create({"dataset": node}).dataset)


def test_what_is_made_is_of_the_kind_that_is_needed():
    node = OmegaConf.create({"callbacks": {"mine": {"_target_": "pathlib.PurePath"}}}).callbacks.mine
    with pytest.raises(
        ConfigError, match=r"^callbacks.mine: pathlib.PurePath makes .*Path, and an object of li.*'s class Callback is"
    ):
        made_as(Callback, build(node), node)
    assert made_as(object, 3, node) == 3


@pytest.mark.parametrize(
    ("node", "hint"),
    [
        ({"model": {"features": 3}}, "A data set's file names its task"),
        ({"dataset": {"dataset": {"root": "a"}}}, "begins with the line '# @package _global_'"),
        ({"trainer": {"max_steps": 3}}, "takes it from one of ours"),
    ],
)
def test_a_file_without_a_class_is_told_what_it_lacks(node, hint):
    with pytest.raises(ConfigError, match=f"^{next(iter(node))}._target_: missing; .*{hint}"):
        build(next(iter(OmegaConf.create(node).values())))


def test_an_error_within_a_class_of_ours_stays_one():
    with pytest.raises(AttributeError):
        build(OmegaConf.create({"model": {"_target_": "unimatch.methods.teacher.Teacher", "student": 3}}).model)


def test_an_error_in_a_loading_process_is_told_without_its_traceback():
    from unimatch import DataError
    from unimatch.cli.building import message_of

    text = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\n"
    assert message_of(DataError(text + "unimatch.errors.DataError: a.jpg: gone\n")) == "a.jpg: gone\n"
    assert message_of(DataError("a.jpg: gone")) == "a.jpg: gone"


CONFIG = OmegaConf.create(
    {
        "threshold": 2,
        "dataset": {"_target_": "unimatch.data.folder", "root": "there"},
        "method": {"_target_": "pathlib.PurePath", "tau": 2, "flip": 1},
        "datamodule": {"flip": 1, "strong": {"hue": 2}},
        "recipe": {"tau": 2, "width": 3},
    }
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("tau=2: must be a probability", "method.tau=2: must be a probability"),
        ("hue=2: must be below 1", "datamodule.strong.hue=2: must be below 1"),
        ("root=there: no such folder", "dataset.root=there: no such folder"),
        ("threshold=2: must be a probability", "threshold=2: must be a probability"),  # the command's own
        ("method.tau=2: must be a probability", "method.tau=2: must be a probability"),
        ("flip=1: of which node?", "flip=1: of which node?"),
        ("width=3: of no object", "width=3: of no object"),
        ("a.png: broken", "a.png: broken"),
    ],
)
def test_the_command_names_the_key_of_an_argument(message, told, capsys):
    with pytest.raises(SystemExit), exit_on_user_error(CONFIG):
        raise ConfigError(message)
    assert capsys.readouterr().err == f"unimatch: {told}\n"


def refuse(tau, flip):
    raise ConfigError(f"flip={flip}: cannot be")


def test_an_object_that_is_built_knows_its_node():
    node = OmegaConf.merge(CONFIG, {"method": {"_target_": f"{__name__}.refuse"}}).method
    with pytest.raises(ConfigError, match=r"^method\.flip=1: cannot be"):
        build(node)
    with pytest.raises(ConfigError, match=r"trainer\.callbacks: set by the command; add an entry to the group"):
        build(OmegaConf.create({"trainer": {"_target_": "builtins.dict", "callbacks": []}}).trainer, callbacks=[])
    with pytest.raises(ConfigError, match=r"model\._target_: missing"):
        build(OmegaConf.create({"model": {"features": 3}}).model)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"_target_": "nomodule.Thing"}, "method._target_=nomodule.Thing: cannot be imported"),
        ({"_target_": f"{__name__}.Gone"}, f"method._target_={__name__}.Gone: cannot be imported"),
        ({"_target_": "os.path"}, "method._target_=os.path: is no class and no function"),
        ({"_target_": 5}, "method._target_=5: cannot be imported"),
        ({"_target_": f"{__name__}.refuse", "tau": 1, "flipp": 2}, "method.flipp=2: refuse has no such argument"),
        ({"_target_": f"{__name__}.refuse", "tau": 1}, "method.flip: missing; refuse needs it"),
        ({"_target_": f"{__name__}.refuse", "tau": 1, "flip": "???"}, "method.flip: missing; give method.flip=VALUE"),
        (
            {
                "_target_": f"{__name__}.refuse",
                "flip": 1,
                "tau": {"_target_": "unimatch.augment.ScaledCrop", "flip": "o"},
            },
            "method.tau.flip=o: must be a number",
        ),
    ],
)
def test_a_node_that_cannot_be_built_is_one_message(node, told):
    with pytest.raises(ConfigError) as error:
        build(OmegaConf.create({"method": node}).method)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_a_name_that_the_system_refuses_is_no_traceback(tmp_path):
    (tmp_path / "file").touch()
    for use, told in (
        (lambda: (tmp_path / "file").mkdir(exist_ok=True), "file: a file is there, where a folder is needed"),
        (lambda: (tmp_path / "file" / "below").mkdir(), "below: leads through a file, where a folder is needed"),
        (lambda: tmp_path.write_text("x"), ": is a folder, where a file is needed"),
    ):
        with pytest.raises(OSError, match=str(tmp_path)) as caught:
            use()
        assert told in str(user_error_in(caught.value))


def test_null_is_told_as_it_is_written():
    config = OmegaConf.create({"split": None, "text": "None", "method": {"tau": None}})
    assert with_key("split=None: wrong", config) == "split=null: wrong"
    assert with_key("text=None: wrong", config) == "text=None: wrong"
    assert with_key("tau=None: wrong", config) == "method.tau=null: wrong"
