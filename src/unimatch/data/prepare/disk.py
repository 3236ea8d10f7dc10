"""The disk that is written to."""

import shutil
from pathlib import Path

from unimatch.errors import DataError

SPARE = 2**26
"""Bytes that are to stay free."""


def check_space(folder: Path, needed: int) -> None:
    """See that the disk of a folder, which need not exist yet, has room.

    Args:
        folder: that is to be written to.
        needed: bytes.

    Raises:
        DataError: it has not.
    """
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise DataError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB are free; make room or "
            "choose another folder"
        )
