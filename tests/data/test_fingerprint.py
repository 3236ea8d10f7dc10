import os
import shutil
from dataclasses import replace

import pytest

import unimatch
from helpers.support import make_folder, write_pair
from unimatch.data import fingerprint as module
from unimatch.data.fingerprint import fingerprint
from unimatch.data.sources.base import FileSource


def read(root):
    return unimatch.data.folder(root)


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "photos", labeled=5, unlabeled=4, val=2)


def differing(before, after):
    return {f"{part}.{key}" for part in before for key in before[part] if before[part][key] != after[part][key]}


def test_the_same_data_elsewhere_is_the_same(root, tmp_path):
    moved = shutil.copytree(root, tmp_path / "far" / "away" / "data")
    assert fingerprint(read(root)) == fingerprint(read(moved))
    assert fingerprint(read(root))["labeled"]["images"] == 5


@pytest.mark.parametrize("part", ["images", "masks", "unlabeled"])
def test_a_file_that_was_replaced_is_noticed(root, part):
    before = fingerprint(read(root))
    path = sorted((root / part).iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # as long as before
    path.write_bytes(content)
    changed = "unlabeled" if part == "unlabeled" else "labeled"
    assert differing(before, fingerprint(read(root))) == {f"{changed}.contents"}


def test_a_file_that_is_gone_or_new_is_noticed(root):
    before = fingerprint(read(root))
    (root / "unlabeled" / "u1.png").unlink()
    gone = fingerprint(read(root))
    assert differing(before, gone) == {f"unlabeled.{key}" for key in ("images", "names", "order", "contents")}
    write_pair(root / "unlabeled" / "u9.png", None)
    assert {"unlabeled.names", "unlabeled.order"} <= differing(before, fingerprint(read(root)))


def test_a_file_that_is_named_and_gone_is_noticed(root):
    data = read(root)
    before = fingerprint(data)
    os.unlink(data.labeled.name(0))  # noqa: PTH108
    assert differing(before, fingerprint(data)) == {"labeled.contents"}


def test_another_order_is_noticed(root):
    data = read(root)
    turned = FileSource(list(data.unlabeled.pairs)[::-1], data.info)
    found = differing(fingerprint(data), fingerprint(replace(data, unlabeled=turned)))
    assert found == {"unlabeled.order", "unlabeled.contents"}


def test_large_sets_are_looked_into_here_and_there(root, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "SAMPLE", 2)
    monkeypatch.setattr(module, "summary", lambda path: seen.append(path.name) or "")
    fingerprint(read(root))
    assert seen == ["a0.png", "a0.png", "a3.png", "a3.png", "u0.png", "u2.png", "v0.png", "v0.png", "v1.png", "v1.png"]


def test_what_is_not_made_of_files_is_known_by_its_names():
    scenes = unimatch.data.digits(labeled=4, train=12, val=2, size=32)
    others = unimatch.data.digits(labeled=5, train=12, val=2, size=32)
    assert fingerprint(scenes) == fingerprint(unimatch.data.digits(labeled=4, train=12, val=2, size=32))
    assert "labeled.images" in differing(fingerprint(scenes), fingerprint(others))
