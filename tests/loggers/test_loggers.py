import errno
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

from unimatch import ConfigError, disk
from unimatch.loggers import loggers


def test_metrics_csv_is_always_there(tmp_path):
    assert [type(logger).__name__ for logger in loggers.csv(tmp_path)] == ["MetricsFile"]
    assert [type(logger).__name__ for logger in loggers.tensorboard(tmp_path)] == ["MetricsFile", "EventFiles"]


@pytest.mark.parametrize(("name", "kind"), [("tensorboard", "EventFiles"), ("mlflow", "MlflowRun")])
def test_an_absent_library_says_what_to_install(name, kind, tmp_path, monkeypatch):
    def absent(*arguments, **options):
        raise ModuleNotFoundError(f"{name} is not available")

    monkeypatch.setattr(loggers, kind, absent)
    with pytest.raises(ConfigError, match=rf"^logger={name} needs \w+: pip install 'unimatch\[{name}\]'"):
        getattr(loggers, name)(tmp_path)


@pytest.fixture
def login(tmp_path, monkeypatch):
    """Makes wandb read its settings anew, without a key: ``login(NAME=value)`` says whether one is found then."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def found(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()
        return loggers.has_wandb_key()

    yield found
    wandb.teardown()


def test_a_wandb_key_is_found_where_wandb_finds_it(tmp_path, login):
    assert not login()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert login()
    (tmp_path / ".netrc").write_text("not a netrc file")
    assert not login()
    other = tmp_path / "elsewhere"
    other.write_text("machine wandb.example.org login user password secret\n")
    assert not login(NETRC=str(other))
    assert login(WANDB_BASE_URL="https://wandb.example.org")  # a server of one's own
    assert not login(WANDB_BASE_URL="https://api.wandb.ai")
    assert login(WANDB_API_KEY="a" * 40)


def test_mlflows_logger_of_lightning_takes_what_it_is_given(tmp_path, monkeypatch):
    """Also where MLflow is not installed."""
    given = []

    def logger(*arguments, **options):
        given.append(inspect.signature(MLFlowLogger).bind(*arguments, **options).arguments)
        return SimpleNamespace(run_id="7")

    monkeypatch.setattr(loggers, "MLFLOW_SERVER", None)
    monkeypatch.setattr(loggers, "MlflowRun", logger)
    (tmp_path / "run").mkdir()
    loggers.mlflow(tmp_path / "run", experiment="streets", tags={"who": "me"})
    loggers.mlflow(tmp_path / "run", resumed=True, tracking_uri="http://host", name="second")
    store = (tmp_path / "mlruns").as_uri()
    first = {"experiment_name": "streets", "run_name": "run", "tracking_uri": store, "tags": {"who": "me"}}
    assert given[0] == {**first, "run_id": None}
    assert given[1]["run_id"] == "7"
    assert (given[1]["tracking_uri"], given[1]["run_name"]) == ("http://host", "second")


def test_a_run_in_mlflows_files_is_continued_and_neighbours_share_the_store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setattr(loggers, "MLFLOW_SERVER", None)
    for name, resumed in (("a", False), ("a", True), ("b", False), ("a", False)):
        (tmp_path / name).mkdir(exist_ok=True)
        _, logger = loggers.mlflow(tmp_path / name, resumed=resumed, tags={"who": "me"})
        logger.log_metrics({"teacher_iou/traffic light": 50.0}, int(resumed))
        logger.log_picture("validation", np.zeros((4, 6, 3), np.uint8), 3)
        logger.finalize("success")
    client = logger.experiment
    runs = client.search_runs([client.get_experiment_by_name("unimatch").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["a", "a", "b"]
    found = [client.get_metric_history(run.info.run_id, "teacher_iou/traffic light") for run in runs]
    assert sorted(len(values) for values in found) == [1, 1, 2]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert list(tmp_path.glob("mlruns/*/*/artifacts/validation/3.png"))


@pytest.mark.nightly
def test_two_wandb_runs_of_one_process_are_two_runs(tmp_path, monkeypatch):
    """As the jobs of a sweep are."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _, logger = loggers.wandb(tmp_path / name)
        logger.log_metrics({"loss": 1.0}, 0)
        logger.finalize("success")
        (path,) = tmp_path.glob(f"{name}/wandb/offline-run-*")
        assert path.name.endswith((tmp_path / name / "wandb_id").read_text())


def test_a_wandb_that_cannot_be_reached_is_one_message(tmp_path, monkeypatch):
    def unreached(**options):
        folder = tmp_path / "wandb" / "run-new"
        folder.mkdir(parents=True)
        for link in ("latest-run", "debug.log"):
            (tmp_path / "wandb" / link).unlink(missing_ok=True)
            (tmp_path / "wandb" / link).symlink_to(folder)
        raise wandb.errors.CommError("deadline exceeded\nno such host")

    monkeypatch.setattr(wandb, "init", unreached)
    for earlier in (False, True):
        if earlier:  # an earlier run's files stay, and it can be resumed
            (tmp_path / "wandb" / "run-old").mkdir(parents=True)
            (tmp_path / "wandb" / "latest-run").symlink_to(tmp_path / "wandb" / "run-old")
            (tmp_path / "wandb_id").write_text("old")
        _, logger = loggers.wandb(tmp_path)
        with pytest.raises(ConfigError, match=r"^logger=wandb: .*exceeded no such host\); WANDB_MODE=offline"):
            _ = logger.experiment
        assert {path.name for path in tmp_path.rglob("*")} == ({"wandb", "run-old", "wandb_id"} if earlier else set())
    assert (tmp_path / "wandb_id").read_text() == "old"
    _, logger = loggers.wandb(tmp_path, resumed=True)
    assert logger._wandb_init["id"] == "old"


def test_event_files_that_cannot_be_written_end_no_run(tmp_path, monkeypatch, caplog):
    def full(self, *arguments):
        raise ValueError("cannot be logged") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", full)
    disk.unwritten.clear()
    events = loggers.tensorboard(tmp_path)[1]
    for step in range(2):
        events.log_metrics({"a": 1.0}, step)
    assert list(disk.unwritten) == [tmp_path / "tensorboard"]
    assert caplog.text.count("tensorboard was not written: No space left") == 1
    disk.unwritten.clear()
