import os
import subprocess
import sys
from contextlib import suppress

import pytest

from helpers.support import at_night
from unimatch.cli.early_checks import check_early


@pytest.fixture
def look(monkeypatch, capsys):
    """``look("run", "seed=1")``: the exit status, None where the command goes on, and what was printed."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", ["-m", *arguments])
        status = None
        try:
            check_early(name)
        except SystemExit as ended:
            status = ended.code or 0
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["unimatch.run", "--help"], 0, "seed                    of everything random"),
        (["unimatch", "check", "datset=camvid"], 2, "unimatch: datset: no such key; did you mean dataset?"),
    ],
)
def test_help_and_a_wrong_key_need_no_pytorch(words, status, expected, tmp_path):
    for name in ("torch", "lightning", "timm", "albumentations"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status
    assert expected in done.stdout + done.stderr


def test_commands_import_no_pytorch_before_they_need_it():
    """Those that only read and write files never; ``convert`` not for its help."""
    names = ("check", "compare", "convert", "labels", "prepare", "report", "split")
    program = (
        "import sys; from importlib import import_module\n"
        f"for name in {names}: import_module('unimatch.' + name); print(name, 'torch' in sys.modules)\n"
        "from unimatch.data import folder; from unimatch import DataError; print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split("\n") == [*(f"{name} False" for name in names), "False", ""]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dataset=camvid", "trainer.max_step=3"], "trainer.max_step: no such key; did you mean trainer.max_steps?"),
        (["-m", "method.tau=0.5,0.9", "methods.tau=1"], "methods.tau: no such key; did you mean method.tau?"),
        (["-m", "seed=0,1", "encoder=vitx"], "encoder=vitx: no such encoder; did you mean vits?"),
        (["overwrite=no"], "overwrite=no: must be true or false"),
        (["seed=-1"], "seed=-1: must be at least 0"),
        (["+mine=3"], "mine: nothing reads this key"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder"),
        (["dataset.root="], "dataset.root"),
        (["method=null"], "method=null: no such method. There are: "),
        (["callbacks=3"], "callbacks=3: no such callbacks. There are: "),
    ],
)
def test_what_no_configuration_has_is_refused(look, arguments, expected):
    status, printed = look("run", *arguments)
    assert status == 2
    assert printed.startswith(f"unimatch: {expected}")


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"])
def test_a_rank_that_is_no_number_is_named(look, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert look("run", "seed=1") == (None, "")
    for text in ("", "one", "-1"):
        monkeypatch.setenv(variable, text)
        status, printed = look("run", "seed=1")
        assert status == 2
        assert printed.startswith(f"unimatch: the environment variable {variable}={text!r}: must be a whole number")


def test_each_command_is_looked_at_by_its_own_keys(look):
    assert look("evaluate", "checkpoint=best.ckpt") == (None, "")
    assert look("evaluate", "checkpoint=best.ckpt", "method.tau=0.5")[0] == 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ["dataset=camvid", "dataset.root=photos (1)", "trainer=debug"]),
        ("run", ["-m", "method.tau=0.5,0.9", "encoder=vits,vitb"]),
        ("run", ["method.tau=0.5,0.9"]),  # several values without -m: told once the sweep's own checks are imported
        ("run", ["--config-name", "run", "datset=1"]),  # as Lightning starts its further processes
        ("run", ["--cfg"]),  # a flag without its value: left to Hydra
        ("check", ["dataset=digits"]),  # its folder depends on the job, which has not begun
        ("check", ["dataset=digits", "out=a"]),
        ("split", ["root=photos", "labeled=[2,4]"]),
        ("labels", ["from=export", "to=photos", "background=null"]),
        ("select", ["dataset.root=photos", "n=2"]),
        ("round", ["checkpoint=[a,b]", "dataset.root=photos", "n=2", "to=coco"]),
        ("predict", ["checkpoint=a", "input=photos", "output=b", "inference.flip=true", "inference.scales=[1,2]"]),
        ("export", ["checkpoint=a", "output=b.onnx", "size=[64,96]"]),
        ("prepare", ["dataset=camvid", "source=a"]),
        ("app", ["checkpoint=a"]),
        ("compare", ["--help"]),
        ("no_command", []),
    ],
)
def test_the_rest_is_passed(look, name, arguments):
    assert look(name, *arguments) == (None, "")


def test_a_file_of_ones_own_is_read_and_what_is_wrong_with_it_is_one_line(look, tmp_path):
    (tmp_path / "recipe").mkdir()
    own = tmp_path / "recipe" / "mine.yaml"
    own.write_text("defaults: [paper]\ncrop: 70\n")
    assert look("run", "--config-dir", str(tmp_path), "recipe=mine") == (None, "")
    status, printed = look("run", "--config-dir", str(tmp_path), "recipe=mine", "recipe.crp=70")
    assert status == 2
    assert "recipe.crp: no such key; did you mean recipe.crop?" in printed
    wrong = {
        "crop: [70\n": f"{own}, line 2, column 1: expected ',' or ']', but got",
        "defaults: [nothing_such]\n": "In 'recipe/mine': Could not load 'recipe/nothing_such'. (composing recipe=mine)",
    }
    for text, expected in wrong.items():
        own.write_text(text)
        for arguments in (["recipe=mine"], ["-m", "recipe=mine,paper"]):
            status, printed = look("run", "--config-dir", str(tmp_path), *arguments)
            assert status == 2
            assert printed.startswith(f"unimatch: {expected}")
            assert printed.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], at_night(["--cfg", "hydra"]), ["--cfg", "job", "method.tau=0.5"]])
def test_what_is_shown_is_what_the_command_itself_shows(look, arguments, monkeypatch, capsys):
    from unimatch.run import main

    status, shown = look("run", *arguments)
    assert status == 0
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    with suppress(SystemExit):  # Hydra ends the process after its help
        main()
    assert capsys.readouterr().out == shown
    assert len(shown) > 100


@pytest.mark.parametrize("flag", ["-h", "--hydra-help", "--cfg=job", "-c=all", "--info", "-i=searchpath", "-sc"])
def test_every_flag_that_shows_something_shows_it_at_once(look, monkeypatch, flag):
    monkeypatch.setattr("unimatch.cli.early_checks.show", lambda name: sys.exit(7))
    assert look("run", "seed=1", flag) == (7, "")
