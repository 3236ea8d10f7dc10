"""Makes what commands show in a terminal: tables of text, and progress bars."""

import io
import logging
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm
from typing_extensions import override

from unimatch.starting import UntilReaderLeaves
from unimatch.texts import one_line


def text_table(rows: Sequence[Sequence[str]], *, left: Container[int] = (0,), gap: str = "  ") -> list[str]:
    """Returns a line for each row, with the cells of a column equally wide; control characters are escaped.

    Args:
        rows: of equally many cells.
        left: columns whose cells begin at the left; those of the others end at the right.
        gap: between two columns.

    >>> text_table([["class", "IoU"], ["tree", "7.5"], ["sky", "82.0"]])
    ['class   IoU', 'tree    7.5', 'sky    82.0']
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [gap.join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in rows]


def is_terminal() -> bool:
    """Returns whether stderr is a terminal; a service has none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


class Unfailing(UntilReaderLeaves):
    """A stream whose reader may go away, or whose disk may fill, without an end to the work that it tells of."""

    @contextmanager
    @override
    def forgetting(self) -> Iterator[None]:
        with suppress(OSError):
            yield


def progress_bar(
    total: float | None,
    title: str,
    unit: str,
    *,
    done: int = 0,
    scaled: bool = False,
    seconds: float = 10.0,
    late: bool = False,
    disable: bool = False,
) -> tqdm:
    """Returns a bar on stderr; where that is no terminal, a line now and then.

    Args:
        total: how many there are of ``unit``; None where that is not known.
        title: before the bar.
        unit: what is counted.
        done: how many are done already.
        scaled: whether numbers are shortened: 12.3M for 12345678.
        seconds: between two lines where there is no terminal.
        late: whether, where there is no terminal, work that takes less than ``seconds`` has no line.
        disable: whether there is no bar.
    """
    terminal = is_terminal()
    stream: Any = Unfailing(sys.stderr)
    interval = 0.5 if terminal else seconds
    bar = tqdm(
        file=stream,
        total=total,
        initial=done,
        desc=one_line(title),
        unit=unit,
        unit_scale=scaled,
        mininterval=interval,
        maxinterval=interval,
        delay=interval if late and not terminal else 0,
        dynamic_ncols=True,
        ascii=not terminal,
        disable=disable or sys.stderr is None,
        miniters=1,
    )
    # The clock may be set back, and then the bar would stand still for as long.
    bar._time = time.monotonic
    bar.start_t = bar.last_print_t = time.monotonic()
    return bar


def print_any_name() -> None:
    """Lets the terminal and log files show names that are no UTF-8, or that a terminal has no characters for."""
    handlers = logging.getLogger().handlers
    for stream in (sys.stdout, sys.stderr, *(getattr(handler, "stream", None) for handler in handlers)):
        stream = getattr(stream, "stream", stream)  # of UntilReaderLeaves
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors="backslashreplace")
