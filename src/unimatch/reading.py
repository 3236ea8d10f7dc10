"""Reads files from disks and networks that fail now and then."""

import errno
import io
import logging
import os
import time
from pathlib import Path

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
"""Errors of a file system that may be gone a moment later; a missing file is none of them."""

LIMIT = 2**30
"""Bytes: no image or mask is larger."""


def read_file(path: Path) -> io.BytesIO:
    """The content of a file, tried again where the file system fails.

    Raises:
        OSError: it cannot be read, after several attempts if the error may pass; or it is larger than :data:`LIMIT`.
    """
    for wait in (*WAITS, None):
        try:
            with path.open("rb") as file:
                # As many bytes as there are and one more: Python sets aside as many as are asked for.
                content = file.read(min(os.fstat(file.fileno()).st_size, LIMIT) + 1)
        except OSError as error:
            if error.errno not in PASSING or wait is None:
                raise
            log.warning("%s: %s; trying again in %g s", path, error.strerror, wait)
            time.sleep(wait)
        else:
            if len(content) > LIMIT:
                raise OSError(errno.EFBIG, f"larger than {LIMIT >> 20} MiB")
            return io.BytesIO(content)
    raise AssertionError  # the last attempt returns or raises
