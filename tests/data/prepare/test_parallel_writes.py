import os

import pytest

from unimatch._version import __version__
from unimatch.data.prepare.parallel_writes import MARK, Job, Outcome, is_needed, read_mark, run
from unimatch.errors import DataError


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    replace = os.replace

    def fail(path, target):
        if target.suffix == ".png":
            raise OSError("disk full")
        replace(path, target)

    monkeypatch.setattr("unimatch.disk.os.replace", fail)
    with pytest.raises(DataError, match=r"a\.png: cannot be written \(disk full\)"):
        run([Job("a/a.png", b"0123456789ABC".upper, 13)], tmp_path, {"dataset": "x"}, workers=0)
    assert not list((tmp_path / "a").iterdir())


def job(name, content=b"abc", **options):
    return Job(name, content.upper, len(content), **options)


def test_what_is_there_is_kept_and_counted(tmp_path):
    facts = {"dataset": "x"}
    assert run([job("a/1"), job("a/2")], tmp_path, facts, workers=0) == Outcome(written=2, kept=0)
    assert (tmp_path / "a" / "1").read_bytes() == b"ABC"
    (tmp_path / "a" / "1").write_bytes(b"mine")
    assert run([job("a/1"), job("a/2"), job("a/3")], tmp_path, facts, workers=0) == Outcome(written=1, kept=2)
    assert (tmp_path / "a" / "1").read_bytes() == b"mine"
    assert run([job("a/1")], tmp_path, facts, overwrite=True, workers=0) == Outcome(written=1, kept=0)
    assert (tmp_path / "a" / "1").read_bytes() == b"ABC"
    assert read_mark(tmp_path) == {"unimatch": __version__, "dataset": "x", "finished": True, "files": 1}


def test_what_is_in_the_way_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"abcd")
    assert is_needed(job("b"), tmp_path, started=False, overwrite=False)
    assert not is_needed(job("a", b"abcd", copied=True), tmp_path, started=False, overwrite=False)
    with pytest.raises(DataError, match="is there already and was not made by unimatch"):
        is_needed(job("a"), tmp_path, started=False, overwrite=False)
    with pytest.raises(DataError, match="this published file would be replaced"):
        is_needed(job("a", original=tmp_path / "a"), tmp_path, started=True, overwrite=True)


def test_a_mark_that_cannot_be_read_is_named(tmp_path):
    assert read_mark(tmp_path) == {}
    (tmp_path / MARK).write_text("{")
    with pytest.raises(DataError, match=rf"{MARK}: cannot be read .*; remove it"):
        read_mark(tmp_path)
