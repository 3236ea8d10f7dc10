"""Stores descriptions of photos on disk by the photos' content: a photo is described once, wherever its file lies."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from unimatch.disk import unwritable
from unimatch.errors import DataError, WriteError
from unimatch.selection.features import Description

TABLE = "CREATE TABLE photos (key BLOB PRIMARY KEY, image BLOB, patches BLOB, size INTEGER) WITHOUT ROWID"

OVERHEAD = 2**20
"""Bytes that SQLite needs besides the descriptions."""

ELSEWHERE = "choose another folder with features=FOLDER"
"""The remedy in messages about the file of descriptions."""


def default_folder() -> Path:
    """Returns the user's cache: ``$XDG_CACHE_HOME/unimatch``, or else ``~/.cache/unimatch``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unimatch"


class Store:
    """Descriptions by key, in one SQLite file; each is on disk as soon as :meth:`add` returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.sizes: set[tuple[int, int]] = set()
        """The lengths of the features of images and of patches that were read; those of one describer are all equal."""

    def __contains__(self, key: bytes) -> bool:
        return self.connection.execute("SELECT 1 FROM photos WHERE key = ?", (key,)).fetchone() is not None

    def __getitem__(self, key: bytes) -> Description:
        """Returns the description of a key.

        Raises:
            KeyError: there is none.
            sqlite3.DatabaseError: it is damaged.
        """
        row = self.connection.execute("SELECT image, patches, size FROM photos WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        try:
            found = Description(
                np.frombuffer(row[0], np.float16), np.frombuffer(row[1], np.float16).reshape(-1, row[2])
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise sqlite3.DatabaseError(f"a photo's description is damaged ({error})") from error
        self.sizes.add((found.image.size, found.patches.shape[1]))
        if len(self.sizes) > 1 or not found.image.size or not found.patches.size:
            raise sqlite3.DatabaseError("a photo's description is empty or of another length than the others")
        if not (np.isfinite(found.image).all() and np.isfinite(found.patches).all()):
            raise sqlite3.DatabaseError("a photo's description holds what is no number")
        return found

    def add(self, key: bytes, found: Description) -> None:
        """Stores a description."""
        row = (key, found.image.tobytes(), found.patches.tobytes(), found.patches.shape[1])
        with self.connection:
            self.connection.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?)", row)


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Opens ``features.sqlite`` in a folder, which is made if it is missing.

    Raises:
        DataError: it cannot be opened or written, holds something else, or is damaged.
        WriteError: the disk is full.
    """
    path = folder / "features.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            raise DataError(f"{path}: is a link, and nothing is written through one; put the file itself there")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            check_schema(connection)
            yield Store(connection)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DataError(f"{path}: another process holds it; wait for that, or {ELSEWHERE}") from error
        # On a full disk the memory-mapped file beside this one causes a general error.
        io_error = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL or (io_error and shutil.disk_usage(folder).free < OVERHEAD):
            raise WriteError(f"{path}: {error}; make room, or {ELSEWHERE}") from error
        raise DataError(f"{path}: {error}; remove it, or {ELSEWHERE}") from error
    except sqlite3.Error as error:
        raise DataError(f"{path}: {error}; remove it, or {ELSEWHERE}") from error
    except OSError as error:  # such as a home that cannot be written to
        raise unwritable(f"{path}: cannot be written ({error.strerror}); {ELSEWHERE}", error) from error


def check_schema(connection: sqlite3.Connection) -> None:
    """Makes the table in an empty file.

    Raises:
        sqlite3.DatabaseError: the file holds another table, or anything else, such as an endless view.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # of two processes that begin, the second one sees the table of the first
        made = connection.execute("SELECT type, sql FROM sqlite_master").fetchall()
        if not made:
            connection.execute(TABLE)
        elif made != [("table", TABLE)]:
            raise sqlite3.DatabaseError("it was not made by this version")


def key_of(path: Path, describer: str) -> bytes | DataError:
    """Returns the key for a photo's content and a describer's identity, or the error of a file that cannot be read."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").digest()
    except OSError as error:
        return DataError(f"{path}: {error.strerror}")
    return hashlib.blake2b(content + describer.encode(), digest_size=20).digest()
