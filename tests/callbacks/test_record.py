import subprocess
from types import SimpleNamespace

import pytest

from unimatch.callbacks import record


def test_versions_are_those_of_the_packages():
    import torch

    found = record.versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(record.PACKAGES) | {"python"} == set(found)


def test_a_package_that_is_not_installed_is_unknown(monkeypatch):
    monkeypatch.setattr(record, "PACKAGES", ("no-such-package",))
    assert record.versions()["no-such-package"] == "unknown"


def test_git_revision_of_a_tree_marks_changes_and_is_none_without_one(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "record.py").write_text("1")
    monkeypatch.setattr(record, "__file__", str(package / "record.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert record.git_revision() is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    revision = git("rev-parse", "HEAD")
    assert record.git_revision() == revision
    (package / "record.py").write_text("2")
    assert record.git_revision() == revision + "+"


def test_peak_memory_grows_with_what_is_held():
    before = record.peak_memory_mb()
    held = bytearray(200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert record.peak_memory_mb() >= before
    assert record.peak_memory_mb() >= 200


@pytest.mark.parametrize("held_out", [(), ("a/1.png", "a/2.png")])
def test_images_that_are_held_out_are_listed(tmp_path, held_out):
    facts = record.RunFacts("m", "d", "e", "segmentation", 0, 8, 16, None, None, {"seed": 0}, held_out=held_out)
    kept = record.Record(tmp_path, facts, SimpleNamespace(info=None))
    kept.begin(SimpleNamespace(is_global_zero=True, global_step=0))
    assert not [*tmp_path.iterdir()]
    kept.begin(SimpleNamespace(is_global_zero=True, global_step=1))
    assert (tmp_path / "config.json").is_file()
    assert (tmp_path / "held_out.txt").exists() == bool(held_out)
    if held_out:
        assert (tmp_path / "held_out.txt").read_text() == "a/1.png\na/2.png\n"
