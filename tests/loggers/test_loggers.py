import errno

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from unimatch import ConfigError, disk
from unimatch.loggers import loggers


def test_metrics_csv_is_always_there(tmp_path):
    assert [type(logger).__name__ for logger in loggers.csv(tmp_path)] == ["MetricsFile"]
    assert [type(logger).__name__ for logger in loggers.tensorboard(tmp_path)] == ["MetricsFile", "EventFiles"]


def test_absent_tensorboard_says_what_to_install(tmp_path, monkeypatch):
    def absent(*args, **kwargs):
        raise ModuleNotFoundError("Neither `tensorboard` nor `tensorboardX` is available")

    monkeypatch.setattr(loggers, "EventFiles", absent)
    with pytest.raises(ConfigError, match=r"pip install 'unimatch\[tensorboard\]'"):
        loggers.tensorboard(tmp_path)


def test_a_wandb_key_is_found_in_the_environment_and_in_netrc(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not loggers.has_wandb_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert loggers.has_wandb_key()
    (tmp_path / ".netrc").write_text("not a netrc file")
    assert not loggers.has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert loggers.has_wandb_key()


def test_two_wandb_runs_of_one_process_are_two_runs(tmp_path, monkeypatch):
    """As the jobs of a sweep are."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _, logger = loggers.wandb(tmp_path / name)
        logger.log_metrics({"loss": 1.0}, 0)
        logger.finalize("success")
        assert len(list(tmp_path.glob(f"{name}/wandb/offline-run-*"))) == 1


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
