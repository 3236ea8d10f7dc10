"""Writes ``run.log``, even where the disk fills up."""

import logging
import sys
from pathlib import Path

from typing_extensions import override

from unimatch.disk import unwritten


class LogFile(logging.FileHandler):
    """A log file that loses lines while the disk is full; the end of training reports that."""

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
            return  # a command that failed has removed its empty folder, with the log
        if isinstance(error, OSError):
            unwritten[Path(self.baseFilename)] = f"{self.baseFilename} lacks lines: {error.strerror}"
        else:
            super().handleError(record)
