import csv
import errno

import pytest

from unimatch import disk
from unimatch.loggers import metrics_file
from unimatch.loggers.metrics_file import MetricsFile


def rows(path):
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_rows_with_new_columns_keep_the_old_ones(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 1.5}, 0)
    logger.save()
    logger.log_metrics({"a": 2.0}, 1)
    logger.save()
    logger.log_metrics({"b": 3.0}, 1)
    logger.finalize("success")
    expected = [{"a": "1.5", "step": "0"}, {"a": "2.0", "step": "1"}, {"b": "3.0", "step": "1"}]
    assert rows(tmp_path / "metrics.csv") == expected
    assert logger.rows == 3


def test_nothing_to_write_writes_nothing(tmp_path):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.resume(0)
    logger.save()
    assert not (tmp_path / "metrics.csv").exists()
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    assert rows(tmp_path / "metrics.csv") == [{"a": "1.0", "step": "0"}]


def test_a_new_run_begins_the_file_anew(tmp_path):
    (tmp_path / "metrics.csv").write_text("a,step\n1,0\n")
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"b": 1.0}, 0)
    logger.save()
    assert rows(tmp_path / "metrics.csv") == [{"b": "1.0", "step": "0"}]


@pytest.mark.parametrize("kept", [0, 1, 3, 9])
def test_resuming_keeps_the_rows_before_and_no_half_of_one(kept, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("a,step\n" + "".join(f"{i}.0,{i}\n" for i in range(5)) + "5.")  # killed while writing
    logger = MetricsFile(path)
    logger.resume(min(kept, 5))
    logger.log_metrics({"a": 7.0, "b": 8.0}, 7)
    logger.save()
    expected = [{"a": f"{i}.0", "step": str(i)} for i in range(min(kept, 5))]
    assert rows(path) == [*expected, {"a": "7.0", "b": "8.0", "step": "7"}]
    assert logger.rows == min(kept, 5) + 1


def test_resuming_from_another_run_copies_its_rows(tmp_path):
    source = tmp_path / "other.csv"
    source.write_text("a,step\n1.0,0\n2.0,1\n")
    logger = MetricsFile(tmp_path / "run" / "metrics.csv")
    logger.resume(1, source)
    assert rows(tmp_path / "run" / "metrics.csv") == [{"a": "1.0", "step": "0"}]
    assert len(rows(source)) == 2


def test_rows_are_written_when_many_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_file, "PENDING", 3)
    logger = MetricsFile(tmp_path / "metrics.csv")
    for step in range(4):
        logger.log_metrics({"a": 0.0}, step)
    assert len(rows(tmp_path / "metrics.csv")) == 3


def test_a_full_disk_loses_no_row(tmp_path, monkeypatch, caplog):
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 1.0}, 0)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "fsync", full)
        logger.save()
    assert "metrics.csv was not written: No space left" in caplog.text
    assert not (tmp_path / "metrics.csv").exists()
    logger.log_metrics({"a": 2.0}, 1)
    logger.save()
    assert [row["step"] for row in rows(tmp_path / "metrics.csv")] == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a,step\n1.0,0\n2.0,1\n3.", 2), ("a,step\n1.0,0\n2.0\n3.0,2\n", 2), ("a,step\n1.0,0\n", 1),
        ("a,st", 0), ("", 0), ('a,step\n"' + "x" * 200_000 + '"\n', 0),
    ],
)  # fmt: skip
def test_rows_that_are_lost_are_told_when_a_training_continues(text, kept, tmp_path, caplog):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    logger = MetricsFile(path)
    logger.resume(3)
    assert f"of 3 rows up to the checkpoint {3 - kept} are lost" in caplog.text
    logger.log_metrics({"b": 1.0}, 9)
    logger.save()
    assert len(rows(path)) == kept + 1
    caplog.clear()
    MetricsFile(path).resume(kept + 1)
    assert "lost" not in caplog.text


def test_garbage_in_the_file_does_not_end_a_training(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = MetricsFile(path)
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    with path.open("ab") as file:
        file.write(b"\xff\x00\n")
    logger.log_metrics({"b": 1.0}, 1)
    logger.save()
    assert [row["step"] for row in rows(path)] == ["0", "1"]
