import stat
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.published import make_ade20k, make_pascal, pack
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Archive, Member, Published, members
from unimatch.errors import DataError


def stored(path):
    with Image.open(path) as image:
        return np.asarray(image)


def files_of(root):
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


UNSAFE = ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "a\\..\\..\\evil.png"]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("archive", ["ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"])
def test_archives_that_lead_out_of_their_folder_are_refused_by_name(tmp_path, name, archive):
    pack(tmp_path / "source", archive, {"images/training/a.jpg": b"x", name: b"evil"})
    with pytest.raises(DataError, match="leads out of the archive's folder") as caught:
        list(members(tmp_path / "source" / archive, tmp_path / "scratch"))
    assert repr(name) in str(caught.value)
    assert not list(tmp_path.rglob("evil*"))


def test_links_in_archives_are_refused_by_name(tmp_path):
    """A mask that is a link to some file of this machine."""
    make_ade20k(tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "source" / "ADEChallengeData2016.zip", "a") as archive:
        info = zipfile.ZipInfo("ADEChallengeData2016/annotations/training/zz.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"annotations/training/zz\.png is a link"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tar_archives_are_refused_by_name(tmp_path, kind):
    make_pascal(tmp_path / "source")
    with tarfile.open(tmp_path / "source" / "VOCtrainval_11-May-2012.tar", "a") as archive:
        info = tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/zz.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"JPEGImages/zz\.jpg is a link or a device"):
        convert_archives("pascal", tmp_path / "source", tmp_path / "root", workers=0)


def test_members_larger_than_they_may_be_or_than_they_say_are_refused(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(3_000_000))
    member = next(members(bomb, tmp_path))
    with pytest.raises(DataError, match=r"a\.png has 3000000 bytes; at most 1000000 are expected"):
        member.read(largest=1_000_000)
    # The directory of the archive lies: it says ten bytes.
    lying = Member(bomb, "a.png", 10)
    with pytest.raises(DataError, match=r"a\.png has not the 10 bytes declared"):
        lying.read()


def test_archives_that_expand_without_end_are_refused(tmp_path, monkeypatch):
    make_pascal(tmp_path)
    monkeypatch.setattr("unimatch.data.prepare.archives.LARGEST_TAR", 1000)
    with pytest.raises(DataError, match=r"benchmark\.tgz: more than 0 GB when decompressed"):
        convert_archives("pascal", tmp_path, tmp_path / "root", workers=0)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("archive", ["ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_damaged_archives_are_named(tmp_path, archive, damage):
    make_ade20k(tmp_path), make_pascal(tmp_path)
    path = tmp_path / archive
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "zeros": bytes(len(content)), "text": b"<html>"}[damage])
    dataset = "ade20k" if "ADE" in archive else "pascal"
    with pytest.raises(DataError) as caught:
        convert_archives(dataset, tmp_path, tmp_path / "root", workers=0)
    assert archive in str(caught.value)


def test_files_of_macos_in_archives_are_passed_over(tmp_path):
    expected = make_ade20k(tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "source" / "ADEChallengeData2016.zip", "a") as archive:
        archive.writestr("__MACOSX/ADEChallengeData2016/annotations/training/._ADE_train_00000001.png", b"junk")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert {name for name in files_of(tmp_path / "root") if "annotations" in name} == set(expected)


def test_folders_are_searched_without_running_in_circles(tmp_path):
    make_ade20k(tmp_path / "source", unpacked=True)
    (tmp_path / "source" / "again").symlink_to(tmp_path / "source")
    published = Published(tmp_path / "source", [Archive("x.zip", "", "")], tmp_path / "root", tmp_path)
    assert len(published.match("x.zip", r"images/training/[^/]+\.jpg")) == 4
