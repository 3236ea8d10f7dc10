import errno
import pickle
import re
import sys
from pathlib import Path

import pytest

import unimatch
from unimatch import DataError, disk
from unimatch.cli.building import user_error_in
from unimatch.errors import WriteError


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch, sync):
    synced = []
    monkeypatch.setattr(disk.os, "fsync", synced.append)
    path = tmp_path / "file"
    path.write_text("before")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        disk.replace_file(path, fail, sync=sync)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    disk.replace_file(path, lambda file: file.write(b"after"), sync=sync)
    assert path.read_text() == "after"
    assert len(synced) == 1 + sync  # the file, and its folder


WRITERS = {
    "bytes": lambda path: disk.replace_file(path, lambda file: file.write(b"new")),
    "text": lambda path: disk.replace_text(path, "new"),
    "output": lambda path: disk.write_output(path, "new"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_link_in_a_files_place_is_replaced_and_not_written_through(tmp_path, write):
    victim, path = tmp_path / "victim", tmp_path / "run" / "report.html"
    victim.write_text("old")
    path.parent.mkdir()
    path.symlink_to(victim)
    write(path)
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("old", "new", False)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_name_that_somebody_has_taken_is_not_written_to(tmp_path, monkeypatch, write):
    monkeypatch.setattr(disk.secrets, "token_hex", lambda count: "0" * 2 * count)  # else nobody could foresee it
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("old")
    disk.temporary_name(path).symlink_to(victim)
    with pytest.raises((FileExistsError, DataError), match="exists"):
        write(path)
    assert victim.read_text() == "old"
    assert not path.exists()
    with pytest.raises(FileExistsError), disk.temporary_folder(path):
        pass


def test_nothing_is_added_to_what_a_link_leads_to(tmp_path, monkeypatch):
    victim, path = tmp_path / "victim", tmp_path / "metrics.csv"
    victim.write_text("old")
    path.symlink_to(victim)
    monkeypatch.setattr(disk.os, "truncate", None)  # which would follow it
    with pytest.raises(OSError, match="symbolic link"):
        disk.append(path, "new")
    assert victim.read_text() == "old"


def test_what_is_added_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("a\n")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            disk.append(path, "b\n")
    assert path.read_text() == "a\n"
    disk.append(path, "c\n")
    assert path.read_text() == "a\nc\n"


def test_names_as_long_as_may_be_can_be_written(tmp_path):
    path = tmp_path / ("x" * 255)
    disk.replace_text(path, "new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="has neither devices nor pipes among its files")
def test_a_writer_of_torch_fails_with_what_the_system_says(tmp_path):
    def write(file):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - as torch does

    with pytest.raises(OSError, match="No space left"):
        disk.replace_file(tmp_path / "a.ckpt", write)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_gets_its_name_when_all_is_in_it(tmp_path):
    with disk.temporary_folder(tmp_path / "out") as passing:
        disk.replace_text(passing / "a", "new")
        assert not (tmp_path / "out").exists()
        passing.rename(tmp_path / "out")
    with pytest.raises(ZeroDivisionError), disk.temporary_folder(tmp_path / "other"):
        1 / 0  # noqa: B018
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/a"]


ALLOWED = {
    "disk.py": "the one place",
    "app/files.py": "into a folder of its own",
    "data/prepare/download.py": "adds to NAME.part, by no_link",
    "startup.py": "the null device",
}


def test_nothing_else_in_the_code_writes_files():
    package = Path(unimatch.__file__).parent
    writing = re.compile(
        r"write_text\(|write_bytes\(|open\([^()]*\"[wax]b?\"|os\.replace|mkstemp|NamedTemporary|imwrite\("
        r"|\.tofile\(|save_file\(|savefig\((?!file)|\.save\([^()]*path"
    )
    found = {p.relative_to(package).as_posix() for p in package.rglob("*.py") if writing.search(p.read_text("utf-8"))}
    assert found == set(ALLOWED)


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    disk.write_output(tmp_path / "new" / "a.txt", "é")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()
    with pytest.raises(DataError, match=r"a\.txt/b: cannot be written"):
        disk.write_output(tmp_path / "new" / "a.txt" / "b", "x")


@pytest.mark.parametrize("write", [disk.replace_text, disk.write_output, disk.append])
def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch, write):
    (path := tmp_path / "a.txt").touch()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises((OSError, WriteError)) as caught:
        write(path, "x")
    found = user_error_in(pickle.loads(pickle.dumps(caught.value)))  # as from a process
    assert found.status == 74
    assert re.fullmatch(r".*a\.txt:? cannot be written.*No space left on device\)?; make room", str(found))


def test_what_is_removed_is_the_link_and_never_what_it_leads_to(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    file.write_text("mine")
    for name, target in {"a": folder, "b": file, "c": tmp_path / "nowhere"}.items():
        (tmp_path / name).symlink_to(target)
        disk.remove(tmp_path / name)
        assert not (tmp_path / name).is_symlink()
    disk.remove(tmp_path / "nowhere")
    assert (folder / "mine").read_text() == file.read_text() == "mine"
    disk.remove(folder)
    disk.remove(file)
    assert not list(tmp_path.iterdir())


def test_a_command_ends_with_its_status():
    with pytest.raises(SystemExit) as ended:
        disk.exit_with(lambda: 3)
    assert ended.value.code == 3


class Full:
    """A stream onto a disk without room."""

    def write(self, text):
        return len(text)

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_no_room_for_what_a_command_prints_is_one_line_with_a_status_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", full := Full())
    with pytest.raises(SystemExit) as ended:
        disk.exit_with(lambda: 0)
    assert sys.stdout is not full  # Python writes what is left in its stream
    assert ended.value.code == WriteError.status
    assert capsys.readouterr().err.startswith("unimatch: what this prints cannot be written (No space left on device)")


def test_other_errors_of_a_command_are_not_called_a_full_disk():
    def fail():
        raise OSError(errno.EIO, "another")

    with pytest.raises(OSError, match="another"):
        disk.exit_with(fail)
