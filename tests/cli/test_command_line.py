import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unimatch
from unimatch.cli.command_line import check_output_folder, check_outputs_of_sweep, refuse_pickles
from unimatch.errors import ConfigError


def test_a_pickle_is_never_run_again():
    for flag in ("--experimental-rerun=config.pickle", "--experimental-rerun", "--exp=config.pickle"):
        with pytest.raises(ConfigError, match="would run code out of a pickle file"):
            refuse_pickles(["seed=1", flag])
    refuse_pickles(["seed=1", "--multirun", "-m", "--help", "--cfg", "job"])


def test_an_output_folder_that_cannot_be_made_is_refused_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        check_output_folder("run", [f"hydra.run.dir={tmp_path}/file/run"])
    monkeypatch.setattr("unimatch.cli.command_line.os.access", lambda path, mode: False)
    with pytest.raises(ConfigError, match=r"cannot be written to; choose another hydra\.sweep\.dir"):
        check_output_folder("run", ["-m", "seed=1", f"hydra.sweep.dir='{tmp_path}/a/b'"])
    check_output_folder("run", ["hydra.run.dir=${oc.env:HOME}/run", "seed=1"])


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["-m", "hydra.run.dir=a"], "hydra.sweep.dir"),
        (["seed=0,1", "+hydra.run.dir=a", "--multirun"], "hydra.sweep.dir"),
        (["hydra.mode=MULTIRUN", "hydra.run.dir=a"], "hydra.sweep.dir"),
        (["hydra.sweep.dir=a"], "hydra.run.dir"),
    ],
)
def test_an_output_folder_that_would_not_be_read_is_refused(arguments, read, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"would not be written there; give {read}=FOLDER"):
        check_output_folder("run", arguments)
    check_output_folder("run", [*(flag for flag in arguments if "dir" not in flag), f"{read}=a"])


@pytest.mark.parametrize(
    ("mode", "link"),
    [
        *(("run", link) for link in ("run.log", ".hydra", ".hydra/config.yaml")),
        *(("sweep", link) for link in ("run.log", "0_digits/run.log", "0_digits/.hydra/hydra.yaml")),
    ],
)
def test_a_run_directory_whose_files_lead_elsewhere_is_refused(mode, link, tmp_path):
    (tmp_path / "run" / link).parent.mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    (tmp_path / "run" / link).symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match=rf"hydra\.{mode}\.dir=.*{link} is a link.*remove it"):
        check_output_folder("run", [*["-m"] * (mode == "sweep"), f"hydra.{mode}.dir={tmp_path / 'run'}"])


def test_links_within_a_run_directory_that_hydra_does_not_write_are_left_alone(tmp_path):
    """W&B makes some, beside which the run is resumed."""
    (tmp_path / "run/wandb").mkdir(parents=True)
    (tmp_path / "run/wandb/debug.log").symlink_to(tmp_path / "elsewhere.log")
    check_output_folder("run", [f"hydra.run.dir={tmp_path / 'run'}", "resume=auto"])


@pytest.mark.nightly
def test_a_package_on_the_path_that_is_not_installed_says_so(tmp_path):
    # Without the link to the configuration, which a copy of the package alone may lack.
    left_out = shutil.ignore_patterns("__pycache__", "conf")
    shutil.copytree(Path(unimatch.__file__).parent, tmp_path / "unimatch", ignore=left_out)
    # Alone on the path before the dependencies, without the finders of an editable installation.
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['run']; import runpy; "
        "runpy.run_module('unimatch.run', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "unimatch.conf, is missing" in done.stderr
    assert str(tmp_path / "unimatch") in done.stderr
    assert "Traceback" not in done.stderr


def test_one_folder_for_all_jobs_of_a_checks_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^out=a: the jobs of a sweep would not be written there; give hydra\.sweep"):
        check_output_folder("check", ["-m", "out=a"])
    check_output_folder("check", ["out=a"])
    check_output_folder("split", ["-m", "out=a"])


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("predict", ["checkpoint=a,b", "output=o"], "^output=o: jobs of the sweep, which differ in checkpoint, would"),
        ("predict", ["checkpoint=a,b", "output=o,p"], "^output=o,p: jobs"),  # a/o, a/p, b/o, b/p
        ("predict", ["input=a,b", "output='o'"], "'output=outputs/\\${hydra:job.num}'"),
        ("export", ["model=student,teacher", "output=m.onnx"], r"num}\.SUFFIX'"),
        ("evaluate", ["checkpoint=a", "inference.flip=true,false"], "^output: is not given, so that jobs"),
        ("select", ["n=1,2"], "^out: is not given"),
        ("round", ["n=range(1,3)", "out=r", "overwrite=true"], "^out=r: "),
        ("split", ["root=a", "seed=0,1"], "^out: is not given"),
        ("labels", ["from=a", "to=coco,labelme", "out=o"], "^out=o: "),
        ("app", ["checkpoint=a,b"], "^-m: the app serves one page"),
    ],
)
def test_a_sweep_whose_jobs_would_write_to_one_place_is_refused(command, arguments, said):
    with pytest.raises(ConfigError, match=said):
        check_outputs_of_sweep(command, ["-m", *arguments])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("predict", ["checkpoint=a,b", "output=o/${hydra:job.num}"]),
        ("predict", ["checkpoint=a", "output=o,p"]),
        ("predict", ["checkpoint=[a,b]", "output=o", "hydra.job.num=0,1"]),
        ("evaluate", ["checkpoint=a,b", "split=val,test"]),
        ("labels", ["from=a,b", "to=data"]),  # each adds its labels
        ("run", ["seed=0,1"]),
        ("check", ["dataset=camvid,pascal"]),
    ],
)
def test_a_sweep_whose_jobs_write_to_their_own_places_is_not_refused(command, arguments):
    check_outputs_of_sweep(command, ["-m", *arguments])
