"""Lists which required speeds (bars) a GPU meets, from the results of ``benchmarks/gpu.sh``: a table and ``bars.json``.

python benchmarks/bars.py gpu
"""

import json
import operator
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

Folder = Path
Value = float | bool | None


def read(folder: Folder, name: str) -> Any:
    """What a part has left, or nothing."""
    path = folder / name
    return json.loads(path.read_text()) if path.is_file() else None


def of_json(name: str, value: Callable[[Any], float | None]) -> Callable[[Folder], Value]:
    """A number of a part's JSON."""

    def found(folder: Folder) -> Value:
        result = read(folder, f"{name}.json")
        return None if result is None else value(result)

    return found


def row(name: str, key: str) -> Callable[[Folder], Value]:
    """A number of our step, in the table of ``benchmarks/step.py``."""
    return of_json(name, lambda result: result["rows"][key]["ours"])


def passed(name: str) -> Callable[[Folder], Value]:
    """Whether a part has ended well; None where it has not been run."""

    def found(folder: Folder) -> Value:
        path = folder / "parts.tsv"
        status = dict(line.split("\t")[:2] for line in path.read_text().splitlines()) if path.is_file() else {}
        return None if status.get(name) in (None, "no time left") else status[name] == "0"

    return found


def guard(folder: Folder) -> Value:
    """By how much all of it changes the teacher's score, as a share of what another seed does."""
    runs = [read(folder, f"{name}/summary.json") for name in ("guard-plain-0", "guard-plain-1", "guard-fast-0")]
    if None in runs:
        return None
    plain, other, fast = (run[f"teacher/{run['headline']}"] for run in runs)
    return abs(fast - plain) / max(abs(other - plain), 1e-9)


BARS: list[tuple[str, Callable[[Folder], Value], Callable[[Any, Any], bool], float | bool]] = [
    ("the step of 4 + 4, times as fast as the plain one", of_json("step", lambda r: 1 / r["ratio"]), operator.ge, 6.5),
    ("the same, % of the measured matrix peak", row("step", "% of the matrix peak"), operator.ge, 40),
    ("four parts at once, % of the peak", row("together", "% of the matrix peak"), operator.ge, 48),
    (
        "memory at 150 classes, of the plain step's",
        of_json("memory", lambda r: r["bytes above weights"]["ours"] / r["bytes above weights"]["plain"]),
        operator.le,
        0.3,
    ),
    ("ViT-L, 2 + 2, within 24 GB", passed("large"), operator.eq, True),
    ("% of the time waiting for images", of_json("feed", lambda r: 100 * median(r["shares"])), operator.le, 5),
    ("evaluation, times the plain loop", of_json("evaluate", lambda r: median(r["ratios"])), operator.ge, 3),
    ("seconds of the first step, nothing compiled before", row("step", "s of the 1st step"), operator.le, 60),
    ("the same with blocks one by one", row("blocks", "s of the 1st step"), operator.le, 60),
    ("the tests on a GPU pass", passed("tests"), operator.eq, True),
    ("times the host waits for the device in a step", of_json("step", lambda r: r["host waits"]), operator.le, 0),
    ("change of the score, of that by another seed", guard, operator.le, 1),
]
"""What is asked, what was found, how they compare, and with what."""


def main() -> None:
    """Compare and print."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("give the folder that benchmarks/gpu.sh has written: python benchmarks/bars.py FOLDER")
    folder = Path(sys.argv[1])
    signs = {operator.ge: "at least", operator.le: "at most", operator.eq: ""}
    rows = []
    for title, find, compare, bar in BARS:
        value = find(folder)
        met = None if value is None else compare(value, bar)
        rows.append({"what": title, "bar": f"{signs[compare]} {bar}".strip(), "found": value, "met": met})
        said = "not measured" if value is None else str(value) if isinstance(value, bool) else f"{value:.3g}"
        print(
            f"{title:54s}{rows[-1]['bar']!s:16s}{said:14s}{ {None: '', True: 'met', False: 'NOT MET'}[met] }".rstrip()
        )
    (folder / "bars.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
