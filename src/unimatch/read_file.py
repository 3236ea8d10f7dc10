"""Reads files: tries again if the file system fails for a moment, and refuses files without an end."""

import errno
import io
import logging
import os
import stat
import time
from pathlib import Path

from unimatch.errors import OPEN_FILES, ProcessError, lacks_open_files

log = logging.getLogger("unimatch")

RETRY_WAITS = (0.2, 1.0, 5.0)
"""Seconds before each new attempt."""

TRANSIENT_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EREMOTEIO"),
        *("ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNABORTED", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)
)
"""Errors of a file system that may soon be over. A missing file is not among them."""

LIMIT = 2**30
"""The most bytes that an image or mask, and the most characters that a list may have."""


def require_regular(path: Path) -> None:
    """Refuses pipes, sockets and devices, which may never begin or end; folders fail when they are opened.

    Raises:
        OSError: it is one of these, or does not exist.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is no regular file")


def read_file(path: Path) -> io.BytesIO:
    """Reads a whole file into memory, in several attempts if the file system fails.

    Raises:
        OSError: the file cannot be read, or is larger than :data:`LIMIT`.
        ProcessError: this process has too many files open.
    """
    for wait in (*RETRY_WAITS, None):
        try:
            require_regular(path)
            with path.open("rb") as file:
                # Python allocates as many bytes as are asked for: not more than the file has and one.
                content = file.read(min(os.fstat(file.fileno()).st_size, LIMIT) + 1)
        except OSError as error:
            if lacks_open_files(error):  # the file is not at fault
                raise ProcessError(f"{path}: cannot be read, as {OPEN_FILES}") from error
            if error.errno not in TRANSIENT_ERRORS or wait is None:
                raise
            log.warning("%s: %s; trying again in %g s", path, error.strerror, wait)
            time.sleep(wait)
        else:
            if len(content) > LIMIT:
                raise OSError(errno.EFBIG, f"larger than {LIMIT >> 20} MiB")
            return io.BytesIO(content)
    raise AssertionError  # the last attempt returns or raises


def read_text(path: Path, largest: int = LIMIT, errors: str = "strict") -> str:
    """Reads a text file in UTF-8, without a byte order mark.

    Settings in a stranger's file may name a device that never ends: nothing but regular files is read.

    Args:
        path: the file.
        largest: the most characters it may have.
        errors: what becomes of bytes that are not UTF-8, as in :func:`open`.

    Raises:
        OSError: it cannot be read, is no regular file, or has more characters.
        UnicodeDecodeError: it is not UTF-8.
    """
    require_regular(path)
    with path.open(encoding="utf-8-sig", errors=errors) as file:
        text = file.read(largest + 1)
    if len(text) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} characters")
    return text


def why_no_text(text: str) -> str:
    r"""Says, for a message, why zero bytes are in what was read as text, with ``surrogateescape`` or as UTF-8.

    >>> why_no_text("a\0b\0"), why_no_text("ab\0\0")
    ('it is in UTF-16; save it as UTF-8', 'zero bytes, it is no text file or was cut short')
    """
    zeros = [bool(half) and not half.strip("\0") for half in (text[:200:2], text[1:200:2])]
    if text.startswith(("\udcff\udcfe", "\udcfe\udcff")) or sum(zeros) == 1:  # one half of each ASCII character
        return "it is in UTF-16; save it as UTF-8"
    return "zero bytes, it is no text file or was cut short"
