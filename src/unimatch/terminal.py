"""Makes what commands show in a terminal: text tables and progress bars."""

import io
import logging
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm
from typing_extensions import override

from unimatch.safe_text import one_line
from unimatch.startup import PipeSafeStream


def text_table(rows: Sequence[Sequence[str]], *, left: Container[int] = (0,), gap: str = "  ") -> list[str]:
    """Returns a line for each row, with aligned columns; control characters are escaped.

    Args:
        rows: the cells of each row, equally many.
        left: columns that are aligned to the left; the others are aligned to the right.
        gap: the text between two columns.

    >>> text_table([["class", "IoU"], ["tree", "7.5"], ["sky", "82.0"]])
    ['class   IoU', 'tree    7.5', 'sky    82.0']
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [gap.join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in rows]


def is_terminal() -> bool:
    """Returns whether stderr is a terminal; a service may have no stderr at all."""
    return sys.stderr is not None and sys.stderr.isatty()


class FailSafeStream(PipeSafeStream):
    """A stream that drops what cannot be written, for any reason such as a full disk: the work goes on."""

    @contextmanager
    @override
    def dropping(self) -> Iterator[None]:
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
    """Returns a bar on stderr, which prints lines at intervals if that is no terminal.

    Args:
        total: how many units there are; None if unknown.
        title: the text before the bar.
        unit: the name of what is counted.
        done: how many units are done already.
        scaled: whether numbers are shortened: 12.3M for 12345678.
        seconds: between two lines, if there is no terminal.
        late: whether the first line comes only after ``seconds``, if there is no terminal: quick work then has none.
        disable: whether to show nothing.
    """
    terminal = is_terminal()
    stream: Any = FailSafeStream(sys.stderr)
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
    # With tqdm's own clock, the bar would stand still for as long as the system's clock is set back.
    bar._time = time.monotonic
    bar.start_t = bar.last_print_t = time.monotonic()
    return bar


def print_any_name() -> None:
    """Makes the terminal and log files show names that they cannot encode, with escapes in place of the characters."""
    handlers = logging.getLogger().handlers
    for stream in (sys.stdout, sys.stderr, *(getattr(handler, "stream", None) for handler in handlers)):
        stream = getattr(stream, "stream", stream)  # the one that a PipeSafeStream wraps
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors="backslashreplace")
