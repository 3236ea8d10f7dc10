"""Keeps descriptions of photos on disk, by the photos' content: a photo is described once, wherever it lies."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from unimatch.errors import DataError
from unimatch.selection.features import Description

TABLE = "CREATE TABLE IF NOT EXISTS photos (key BLOB PRIMARY KEY, image BLOB, patches BLOB, size INTEGER) WITHOUT ROWID"


def default_folder() -> Path:
    """Returns the folder for what can be made again: ``$XDG_CACHE_HOME/unimatch``, or ``~/.cache/unimatch``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unimatch"


class Store:
    """Descriptions by key, in one SQLite file; what is added is there for good as soon as :meth:`add` returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __contains__(self, key: bytes) -> bool:
        return self.connection.execute("SELECT 1 FROM photos WHERE key = ?", (key,)).fetchone() is not None

    def __getitem__(self, key: bytes) -> Description:
        """Returns the description of a key that is there."""
        row = self.connection.execute("SELECT image, patches, size FROM photos WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        image, patches, size = row
        return Description(np.frombuffer(image, np.float16), np.frombuffer(patches, np.float16).reshape(-1, size))

    def add(self, key: bytes, found: Description) -> None:
        """Keeps a description."""
        row = (key, found.image.tobytes(), found.patches.tobytes(), found.patches.shape[1])
        with self.connection:
            self.connection.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?)", row)


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Opens ``features.sqlite`` in a folder, which is made if it is not there.

    Raises:
        DataError: it cannot be opened or written, or is damaged.
    """
    path = folder / "features.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(TABLE)
            yield Store(connection)
    except (sqlite3.Error, OSError) as error:
        raise DataError(f"{path}: {error}; remove it, or choose another folder with features=FOLDER") from error


def key_of(path: Path, describer: str) -> bytes | DataError:
    """Returns the key of a photo's content and of what describes it, or why the file cannot be read."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").digest()
    except OSError as error:
        return DataError(f"{path}: {error.strerror}")
    return hashlib.blake2b(content + describer.encode(), digest_size=20).digest()
