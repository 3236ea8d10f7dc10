import errno
import gzip
import os
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers.published import make_ade20k, make_pascal, pack
from unimatch import disk
from unimatch.data.prepare import convert_archives
from unimatch.data.prepare.archives import Archive, Member, Published, members
from unimatch.errors import DataError, WriteError
from unimatch.safe_text import one_line


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
    assert not list(tmp_path.rglob(".unimatch*"))


def test_a_forged_length_fills_no_disk_and_leaves_nothing(tmp_path, monkeypatch):
    content = bytearray(gzip.compress(bytes(20_000_000)))
    content[-4:] = (1000).to_bytes(4, "little")
    (tmp_path / "benchmark.tgz").write_bytes(content)
    scratch = tmp_path / "scratch"

    def usage(folder):
        used = sum(path.stat().st_size for path in scratch.glob("*"))
        return SimpleNamespace(free=disk.SPARE + 5_000_000 - used)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    with pytest.raises(DataError, match=r"benchmark\.tgz: the disk is full after 0\.0 GB .* it declares less"):
        list(members(tmp_path / "benchmark.tgz", scratch))
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path, monkeypatch):
    (tmp_path / "benchmark.tgz").write_bytes(gzip.compress(bytes(1000)))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(WriteError, match=r"benchmark\.tgz\.tar: cannot be written .*No space left"):
        list(members(tmp_path / "benchmark.tgz", tmp_path / "scratch"))


def negative(kind: bytes, size: int) -> bytes:
    """A tar archive of one file whose header says a size below 0."""
    info = tarfile.TarInfo("a.png")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header) + bytes(4096)


@pytest.mark.parametrize("size", [-1, -512, -1024, -(2**62)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.DIRTYPE, b"?"])
def test_sizes_below_zero_are_refused(tmp_path, kind, size):
    (tmp_path / "a.tar").write_bytes(negative(kind, size))
    with pytest.raises(DataError, match=r"a\.tar: "):
        list(members(tmp_path / "a.tar", tmp_path))


def test_what_was_decompressed_of_a_refused_archive_does_not_stay(tmp_path):
    archive, scratch = tmp_path / "a.tgz", tmp_path / "scratch"
    archive.write_bytes(gzip.compress(negative(tarfile.REGTYPE, -1024)))
    with pytest.raises(DataError, match=r"a\.tgz: a\.png has -1024 bytes"):
        list(members(archive, scratch))
    assert list(scratch.iterdir()) == []


def test_an_archive_that_was_got_anew_is_decompressed_anew(tmp_path):
    archive, scratch = tmp_path / "a.tgz", tmp_path / "scratch"
    for name in ("a.png", "b.png"):
        pack(tmp_path, "a.tgz", {name: b"x"})
        assert [member.name for member in members(archive, scratch)] == [name]
        os.utime(scratch / "a.tgz.tar", ns=(0, 0))


def test_a_size_below_zero_in_an_extended_header_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"size": "-1024"}
        archive.addfile(info)
    with pytest.raises(DataError, match=r"a\.tar: a\.png has -1024 bytes"):
        list(members(tmp_path / "a.tar", tmp_path))


def test_links_that_lead_out_of_an_unpacked_folder_are_not_followed(tmp_path, caplog):
    expected = make_ade20k(tmp_path / "source", unpacked=True)
    (tmp_path / "secret" / "images" / "training").mkdir(parents=True)
    (tmp_path / "secret" / "images" / "training" / "zz.jpg").write_bytes(b"secret")
    (tmp_path / "source" / "more").symlink_to(tmp_path / "secret")
    convert_archives("ade20k", tmp_path / "source", tmp_path / "root", workers=0)
    assert {name for name in files_of(tmp_path / "root") if "annotations" in name} == set(expected)
    assert "more: is a link that leads out of" in caplog.text
    image = next(tmp_path.glob("source/**/images/training/*.jpg"))
    (image.parent / "zz.jpg").symlink_to(tmp_path / "secret" / "images" / "training" / "zz.jpg")
    with pytest.raises(DataError, match=r"zz\.jpg is a link"):
        convert_archives("ade20k", tmp_path / "source", tmp_path / "root", overwrite=True, workers=0)
    assert not list(tmp_path.glob("root/**/zz.*"))


def test_a_folder_that_is_a_link_itself_is_read(tmp_path):
    make_ade20k(tmp_path / "real", unpacked=True)
    (tmp_path / "source").symlink_to(tmp_path / "real")
    published = Published(tmp_path / "source", [Archive("x.zip", "", "")], tmp_path / "root", tmp_path)
    found = published.match("x.zip", r"images/training/[^/]+\.jpg")
    assert len(found) == 4
    assert not any(member.link for _, member in found)


def test_what_cannot_be_decompressed_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 9, 3000, dtype=np.uint8).tobytes()
    for name, kind in (("a.zip", zipfile.ZIP_DEFLATED), ("b.zip", zipfile.ZIP_LZMA), ("c.zip", zipfile.ZIP_BZIP2)):
        with zipfile.ZipFile(tmp_path / name, "w", kind) as archive:
            archive.writestr("x.png", noise)
        content = bytearray((tmp_path / name).read_bytes())
        content[45:300] = b"\xff" * 255
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: x\.png cannot be read"):
            next(members(tmp_path / name, tmp_path)).read()


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


@pytest.mark.parametrize("name", ["a\x1b[2J.png", "a\nprepared: all is well.png", "a\u202egnp.png"])
@pytest.mark.parametrize("archive", ["ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar"])
def test_names_with_control_characters_are_refused_without_showing_them(tmp_path, name, archive):
    pack(tmp_path, archive, {name: b"x"})
    with pytest.raises(DataError, match="has control characters") as caught:
        list(members(tmp_path / archive, tmp_path))
    assert one_line(caught.value) == str(caught.value)
