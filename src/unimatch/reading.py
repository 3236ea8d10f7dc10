"""Reads files: again where the file system fails for a moment, and none without an end."""

import errno
import io
import logging
import os
import time
from pathlib import Path

from unimatch.errors import OPEN_FILES, ProcessError, lacks_open_files

log = logging.getLogger("unimatch")

WAITS = (0.2, 1.0, 5.0)
"""Seconds before each further attempt."""

PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EREMOTEIO"),
        *("ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNABORTED", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)
)
"""Errors of a file system that may pass in a moment. A missing file is not among them."""

LIMIT = 2**30
"""The most bytes that an image or mask may have, and characters that a list may."""


def read_file(path: Path) -> io.BytesIO:
    """Reads a file; where the file system fails, it tries again.

    Raises:
        OSError: it cannot be read, after several attempts if the error may pass; or it is larger than :data:`LIMIT`.
        ProcessError: this process has too many files open.
    """
    for wait in (*WAITS, None):
        try:
            with path.open("rb") as file:
                # As many bytes as there are and one more: Python sets aside as many as are asked for.
                content = file.read(min(os.fstat(file.fileno()).st_size, LIMIT) + 1)
        except OSError as error:
            if lacks_open_files(error):  # which is no fault of the file
                raise ProcessError(f"{path}: cannot be read, as {OPEN_FILES}") from error
            if error.errno not in PASSING or wait is None:
                raise
            log.warning("%s: %s; trying again in %g s", path, error.strerror, wait)
            time.sleep(wait)
        else:
            if len(content) > LIMIT:
                raise OSError(errno.EFBIG, f"larger than {LIMIT >> 20} MiB")
            return io.BytesIO(content)
    raise AssertionError  # the last attempt returns or raises


def read_text(path: Path, largest: int = LIMIT, errors: str = "strict") -> str:
    """Reads a text file of UTF-8, without the mark that some begin with.

    A setting may come out of a stranger's file, and name a device without an end.

    Args:
        path: of the file.
        largest: how many characters it may have.
        errors: what becomes of bytes that are no UTF-8, as for :func:`open`.

    Raises:
        OSError: it cannot be read, is no file but a device or the like, or has more characters.
        UnicodeDecodeError: it is no UTF-8.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "is no regular file")
    with path.open(encoding="utf-8-sig", errors=errors) as file:
        text = file.read(largest + 1)
    if len(text) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} characters")
    return text
