import json
import math
import os
import weakref

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from helpers.support import NIGHTLY, SMALL, at_night
from unimatch.cli.overrides import values
from unimatch.cli.sweeps import Sweep, note_hours, notes
from unimatch.errors import ConfigError

SHORT = [*SMALL, "trainer=debug", "callbacks=none"]


@pytest.fixture
def sweep(run_command, tmp_path):
    """``sweep("seed=0,1")``: the status, and the folders of the jobs."""

    def run(*overrides):
        try:
            run_command("-m", *SHORT, *overrides, f"hydra.sweep.dir={tmp_path}/sweep", hydra=False)
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        return status, sorted(path for path in tmp_path.glob("sweep/*") if path.is_dir())

    return run


def test_a_job_that_fails_ends_no_other_and_the_end_says_why(sweep, monkeypatch, capsys):
    def fit(trainer, method, *arguments, **options):
        if method.seed == 1:
            raise RuntimeError("the disk is on \x1b[31mfire")
        assert all(earlier() is None for earlier in methods)  # its memory is free again
        methods.append(weakref.ref(method))
        trained.append(method.seed)
        raise ConfigError("tau=0.7: not today")

    trained, methods = [], []
    monkeypatch.setattr("unimatch.trainer.Trainer.fit", fit)
    monkeypatch.setattr("unimatch.cli.building.own_place", lambda error: None)  # this file is not the package's
    status, jobs = sweep("seed=0,1,2", "method.tau=0.7")
    said = capsys.readouterr().err
    end = said.split("failed jobs of the sweep (3;")[1].splitlines()
    assert "\x1b" not in said
    assert status == 1
    assert trained == [0, 2]
    assert end[1] == f"  {jobs[0]}: method.tau=0.7: not today"
    assert end[2] == f"  {jobs[1]}: RuntimeError: the disk is on \\x1b[31mfire"
    assert json.loads((jobs[0] / "failed.json").read_text())["status"] == 2


def test_notes_of_a_sweep_are_told_from_older_ones_whatever_the_clock_says(tmp_path):
    def note(name, day):
        (tmp_path / name).mkdir(exist_ok=True)
        path = tmp_path / name / "new.json"
        path.write_text(json.dumps({"why": name}))
        os.utime(path, (day * 86_400, day * 86_400))
        path.replace(tmp_path / name / "failed.json")

    for name, day in (("future", 90_000), ("again", 90_000), ("past", 1)):
        note(name, day)
    sweep = Sweep()
    sweep.folder = tmp_path
    sweep.before = notes(tmp_path)
    assert sweep.left("failed.json") == {}
    note("again", 90_000)  # the clock was put right: the same time
    note("set_back", 0)
    assert [path.parent.name for path in sweep.left("failed.json")] == ["again", "set_back"]
    note("10_last", 0)
    note("9_first", 0)
    assert [path.parent.name for path in sweep.left("failed.json")][-2:] == ["9_first", "10_last"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("method.tau=0.9,2", "method.tau=2: must be a probability"),
        at_night("datamodule.batch_size=4,0", "datamodule.batch_size=0: must be at least 1"),
        at_night("method.optimizer=adamw,adam", "method.optimizer=adam: must be adamw or sgd or a function"),
        ("method.thresholds=fixed,reliable", "set datamodule.held_out=auto, or method.thresholds=fixed"),
        at_night("datamodule.held_out=4,some", "datamodule.held_out=some: must be a"),
        at_night("method.class_weights=[1,2],[0,0]", "method.class_weights=[0, 0]: must be numbers"),
        ("seed=0,x", "seed=x: must be a whole number"),
        ("output=x,y", "output: no such key; did you mean hydra.sweep.dir?"),
    ],
)
def test_values_that_cannot_be_are_found_before_the_first_job(sweep, capsys, values, message):
    """In one message: Hydra is made to raise errors, which is no wish of the user's for tracebacks."""
    status, jobs = sweep(values)
    assert (status, jobs) == (2, [])
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.fixture
def jobs_of(monkeypatch):
    """The folders and the settings of the jobs that would be trained, which leave a file instead."""
    found = []

    def train_in(run_dir, config, choices):
        found.append((run_dir, config))
        (run_dir / "trained").touch()
        return 0.0

    monkeypatch.setattr("unimatch.run.train_in", train_in)
    return found


def test_folders_carry_what_is_swept(sweep, jobs_of):
    status, jobs = sweep("method.tau=0.5,0.9")
    assert status == 0
    start = "digits_tiny_unimatch_v2_seed0"
    assert [path.name for path in jobs] == [f"{i}_{start}_method.tau={tau}" for i, tau in enumerate((0.5, 0.9))]


@pytest.mark.nightly
def test_a_plan_gives_the_sum_and_leaves_nothing(sweep, capsys, monkeypatch, tmp_path):
    def note(given):
        hours.append(given)
        note_hours(given)

    hours = []
    monkeypatch.setattr("unimatch.run.note_hours", note)
    assert sweep("method.tau=0.5,0.9", "plan=true") == (0, [])
    assert len(hours) == 2
    assert f"2 jobs, together about {sum(hours):.2g} hours" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
def test_a_plan_that_fails_says_why_and_leaves_an_earlier_sweep_as_it_was(sweep, capsys, monkeypatch, tmp_path):
    def print_plan(config, *parts):
        if config.method.tau == 0.5:
            raise ConfigError("tau=0.5: not today")
        note_hours(3.0)
        return 0.0

    def content():
        return {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}

    monkeypatch.setattr("unimatch.run.print_plan", print_plan)
    earlier = tmp_path / "sweep" / "0_digits_tiny_unimatch_v2_seed0_method.tau=0.5" / "failed.json"
    earlier.parent.mkdir(parents=True)
    for path in (earlier, tmp_path / "sweep" / "multirun.yaml"):
        path.write_text('{"why": "of an earlier sweep", "status": 1}')
    before = content()
    assert sweep("method.tau=0.5,0.9", "plan=true")[0] == 2
    printed = capsys.readouterr()
    assert "1 jobs, together about 3 hours" in printed.out
    assert printed.err.rstrip().endswith(f"(1; the others are done):\n  {earlier.parent}: method.tau=0.5: not today")
    assert content() == before


@pytest.mark.nightly
def test_what_depends_on_the_data_is_no_reason_to_refuse_a_sweep(sweep, jobs_of):
    assert sweep("datamodule.held_out=4,auto", "method.class_weights=[1,2,3],balanced")[0] == 0
    assert [job.datamodule.held_out for _, job in jobs_of] == [4, 4, "auto", "auto"]


def test_a_job_whose_folder_is_taken_names_the_sweeps_folder(sweep, capsys, tmp_path):
    taken = tmp_path / "sweep" / "0_digits_tiny_unimatch_v2_seed0" / "checkpoints" / "last.ckpt"
    taken.parent.mkdir(parents=True)
    taken.touch()
    assert sweep("seed=0")[0] == 2
    message = capsys.readouterr().err
    assert "another hydra.sweep.dir keeps it" in message
    assert "hydra.run.dir" not in message
    assert not (
        taken.parent.parent / "failed.json"
    ).exists()  # another sweep, that trains there, would take it for its own


def test_a_sweeper_that_chooses_values_cannot_resume(sweep, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    status, jobs = sweep("hydra/sweeper=optuna", "resume=auto", "method.tau=choice(0.9,0.95)")
    assert (status, jobs) == (2, [])
    assert "resume=auto: this sweeper chooses other values" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("values", "more", "tried", "end"),
    [
        ("choice(0.9,0.8)", [], {0.8, 0.9}, "the others are done"),
        pytest.param("choice(0.9,0.91)", [], {0.9, 0.91}, "the sweeper has given up", marks=NIGHTLY),  # no best one
        pytest.param(
            "choice(0.9,0.91)",
            ["hydra.sweeper.max_failure_rate=0.5"],
            None,
            "the sweeper has given up",
            marks=NIGHTLY,
        ),
    ],
)
def test_a_trial_that_fails_ends_no_search(sweep, monkeypatch, capsys, values, more, tried, end):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")

    def train_in(run_dir, config, choices):
        seen.append(config.method.tau)
        if config.method.tau == 0.9:
            raise ConfigError("tau=0.9: not today")
        return 50.0 if config.method.tau < 0.9 else math.nan

    seen = []
    monkeypatch.setattr("unimatch.run.train_in", train_in)
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"]
    status, _ = sweep(*search, "hydra.sweeper.sampler.seed=1", f"method.tau={values}", *more)
    assert status == 2
    assert (set(seen) == tried and len(seen) == 3) if tried else len(seen) == 1
    failures = capsys.readouterr().err.split("failed jobs of the sweep (")[1].splitlines()
    assert failures[0] == f"{sum(tau >= 0.9 for tau in seen)}; {end}):"
    whys = {0.9: "method.tau=0.9: not today", 0.91: "no score to compare: do the validation images show any class?"}
    failed = [whys[tau] for tau in seen if tau >= 0.9]
    assert all(line.endswith(why) for line, why in zip(failures[1:], failed, strict=True))


def test_both_ends_of_an_interval_are_looked_at(sweep, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    assert sweep("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "method.tau=interval(0.5,1.5)") == (2, [])
    assert "method.tau=1.5: must be a probability" in capsys.readouterr().err


def test_the_values_of_an_interval_are_of_its_kind():
    texts = {
        "interval(1,4)": ["1.0", "4.0"],
        "tag(log,interval(1,4))": ["1.0", "4.0"],
        "int(interval(1,4.5))": ["1", "4"],
    }
    for text, expected in texts.items():
        (override,) = OverridesParser.create().parse_overrides([f"a={text}"])
        assert values(override) == expected


@pytest.mark.nightly
def test_jobs_that_are_tasks_of_an_array_lie_in_the_folder_of_their_sweep(run_command, monkeypatch, tmp_path):
    """As submitit's are, which a command outside of any array sends."""

    def in_a_task(*arguments, **options):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        return run_job(*arguments, **options)

    launcher = Plugins.instance().class_name_to_class[f"{BasicLauncher.__module__}.BasicLauncher"]
    names = launcher.launch.__globals__  # Hydra imports its plugins a second time
    run_job = names["run_job"]
    monkeypatch.setitem(names, "run_job", in_a_task)
    monkeypatch.setattr("unimatch.trainer.Trainer.fit", lambda *arguments, **options: stop())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run_command("-m", *SMALL, *SHORT, "seed=0,1", hydra=False)
    (sweep,) = (tmp_path / "runs").iterdir()
    assert os.environ["SLURM_ARRAY_TASK_ID"] == "3"
    assert sweep.name.endswith("_sweep")
    assert len([path for path in sweep.iterdir() if path.is_dir()]) == 2


def stop():
    raise ConfigError("tau: enough")
