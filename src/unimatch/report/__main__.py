"""``python -m unimatch.report RUNS...``: writes ``report.html`` of runs, finished or still training."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unimatch import startup
from unimatch.disk import LOCK, exit_with, lacks_room, remove_half_files
from unimatch.errors import DataError, WriteError
from unimatch.report import write_report
from unimatch.safe_text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages, prints their paths and returns the exit status: that of the last page that failed, or 0."""
    startup.done()
    parser = argparse.ArgumentParser(
        prog="python -m unimatch.report",
        description="Write report.html into run directories, from the files in them. A run writes its own at its end.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    status = 0
    for place in parser.parse_args(arguments).runs:
        try:
            if not (place / LOCK).exists():  # a training there may be writing its own files
                remove_half_files(place)
            print(one_line(write_report(place)))
        except (DataError, OSError) as error:
            print(f"unimatch: {error}", file=sys.stderr)
            status = WriteError.status if lacks_room(error) else DataError.status
    return status


if __name__ == "__main__":
    exit_with(main)
