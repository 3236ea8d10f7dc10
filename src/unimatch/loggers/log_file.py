"""``run.log``, on a disk that fills."""

import logging
import sys
from pathlib import Path

from typing_extensions import override

from unimatch.disk import unwritten


class LogFile(logging.FileHandler):
    """A log file that lacks lines where the disk was full, which the end of training then says."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file could not even be opened
            self.handleError(record)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, FileNotFoundError):
            return  # of a call that failed: its folder is gone
        if isinstance(error, OSError):
            unwritten[Path(self.baseFilename)] = f"{self.baseFilename} lacks lines: {error.strerror}"
        else:
            super().handleError(record)
