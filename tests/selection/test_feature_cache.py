import os
import shutil
import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest

from unimatch import DataError
from unimatch.errors import WriteError
from unimatch.selection.feature_cache import open_store
from unimatch.selection.features import Description

FOUND = Description(np.ones(6, np.float16), np.ones((4, 3), np.float16))


@pytest.fixture
def folder(tmp_path):
    with open_store(tmp_path) as store:
        for key in (b"1", b"2"):
            store.add(key, FOUND)
    return tmp_path


def change(folder, *statements):
    connection = sqlite3.connect(folder / "features.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def read(folder):
    with open_store(folder) as store:
        return [store[key] for key in (b"1", b"2")]


def test_what_was_added_is_there_when_it_is_opened_again(folder):
    for found in read(folder):
        np.testing.assert_array_equal(found.image, FOUND.image)
        np.testing.assert_array_equal(found.patches, FOUND.patches)


@pytest.mark.parametrize(
    "wrong",
    [
        "image = NULL", "image = 'text'", "image = x'00'", "image = x''", "image = zeroblob(14)", "image = x'007e'",
        "patches = NULL", "patches = x''", "patches = zeroblob(10)", "size = 0", "size = -1", "size = 'text'",
        "size = NULL", "size = 9223372036854775807", "size = 12",
    ],
)  # fmt: skip
def test_a_description_that_is_none_is_one_message(wrong, folder):
    change(folder, f"UPDATE photos SET {wrong} WHERE key = (SELECT max(key) FROM photos)")
    with pytest.raises(DataError, match=r"features\.sqlite: a photo's description .*; remove it, or choose another"):
        read(folder)


def endless(folder):
    rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT zeroblob(9) AS key, 1 AS size FROM c"
    change(folder, "DROP TABLE photos", f"CREATE VIEW photos AS {rows}")


def with_a_trigger(folder):
    change(folder, "CREATE TRIGGER more AFTER INSERT ON photos BEGIN SELECT 1; END")


def of_another_version(folder):
    change(folder, "ALTER TABLE photos ADD COLUMN more")


def no_database(folder):
    (folder / "features.sqlite").write_bytes(bytes(range(256)) * 40)


@pytest.mark.parametrize("make", [endless, with_a_trigger, of_another_version, no_database])
def test_a_file_that_is_another_is_one_message_and_is_left_alone(make, folder):
    make(folder)
    before = (folder / "features.sqlite").read_bytes()
    with pytest.raises(DataError, match=r"not made by this version|not a database"):
        read(folder)
    assert (folder / "features.sqlite").read_bytes() == before


def test_nothing_is_written_through_a_link(folder, tmp_path_factory):
    victim = tmp_path_factory.mktemp("elsewhere") / "other.sqlite"
    sqlite3.connect(victim).close()
    os.replace(folder / "features.sqlite", folder / "old")  # noqa: PTH105
    (folder / "features.sqlite").symlink_to(victim)
    with pytest.raises(DataError, match="is a link"):
        read(folder)
    assert victim.stat().st_size == 0


def test_one_that_another_process_holds_is_not_to_be_removed(folder, monkeypatch):
    connect = sqlite3.connect
    holder = connect(folder / "features.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0))
    with pytest.raises(DataError, match="another process holds it; wait"):
        read(folder)
    holder.close()


def test_a_full_disk_has_its_status(folder):
    def fill():
        with open_store(folder) as store:
            store.connection.execute("PRAGMA max_page_count = 1")
            store.add(b"3", Description(np.ones(9000, np.float16), FOUND.patches))

    with pytest.raises(WriteError, match="is full; make room"):
        fill()


def test_a_disk_without_room_for_what_is_beside_it_is_full(folder, monkeypatch):
    def fail(connection):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    monkeypatch.setattr("unimatch.selection.feature_cache.check_schema", fail)
    with pytest.raises(DataError, match="disk I/O error; remove it"):
        read(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=30_000))
    with pytest.raises(WriteError, match="disk I/O error; make room"):
        read(folder)


def test_a_folder_that_cannot_be_made_is_one_message(folder):
    (folder / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written \(.*\); choose another folder with features=FOLDER$"):
        read(folder / "file" / "below")
