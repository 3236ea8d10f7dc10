"""Writes ``report.html`` of runs, finished or still training, as ``python -m unimatch.report RUNS...``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unimatch import starting
from unimatch.errors import DataError
from unimatch.report import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages, prints where they are and returns the exit status."""
    starting.done()
    parser = argparse.ArgumentParser(
        prog="python -m unimatch.report",
        description="Write report.html into run directories, from the files in them. A run writes its own at its end.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    for place in parser.parse_args(arguments).runs:
        try:
            print(write_report(place))
        except (DataError, OSError) as error:
            print(f"unimatch: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
