"""Calls a function on many items in several processes or threads, with results in order."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import Any, TypeVar

from unimatch.data.sources.base import FileSource, Source
from unimatch.errors import ConfigError
from unimatch.terminal import progress_bar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32
"""The most items that a process takes at a time: passing them should cost little compared to the work."""
TURNS = 16
"""How often each process takes items, if there are enough: with fewer turns the others wait long for the last one."""

START = "fork" if sys.platform == "linux" else "spawn"
"""How processes are started: a forked one need not import anything again, but only Linux forks safely."""

_work: tuple[Callable[[Any, Any], Any], Any]
"""In each worker process, the function and its first argument."""


def for_each(
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    workers: int | None = None,
    title: str = "",
    unit: str = "image",
) -> Iterator[Result]:
    """Yields ``function(shared, item)`` for each item, in their order, with a progress bar if there is a title.

    Args:
        function: must be importable, since worker processes call it.
        shared: its first argument, passed to each process once.
        items: its second arguments.
        workers: processes; None for one per core, 0 for this process alone.
        title: of the progress bar.
        unit: what the progress bar calls an item.

    Raises:
        ConfigError: ``workers`` is below 0.

    >>> list(for_each(pow, 2, [1, 2, 3], workers=0))
    [2, 4, 8]
    """
    if workers is not None and workers < 0:
        raise ConfigError(f"workers={workers}: must be at least 0")
    if workers == 0 or len(items) <= 1:
        yield from _bar((function(shared, item) for item in items), len(items), title, unit)
        return
    count = min(workers or available_cores(), ceil(len(items) / CHUNK))
    chunk = max(1, min(CHUNK, len(items) // (count * TURNS)))
    pool = ProcessPoolExecutor(count, multiprocessing.get_context(START), _start, (function, shared))
    try:
        yield from _bar(pool.map(_call, items, chunksize=chunk), len(items), title, unit)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def sample_map(source: Source) -> Iterator[Callable[[Callable[[int], Any], Iterable[int]], Iterator[Any]]]:
    """Provides a ``map`` for functions that read samples of a source by their indices: in threads, if it reads files.

    Other sources may be the user's own, and not thread-safe.
    """
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield pool.map if isinstance(source, FileSource) else map


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bar(results: Iterator[Result], total: int, title: str, unit: str) -> Iterator[Result]:
    """Yields the results, and counts them on a progress bar."""
    bar = progress_bar(total, title, unit, disable=not title)
    for result in results:
        yield result
        bar.update()
    bar.close()


def _start(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _work
    _work = function, shared


def _call(item: Any) -> Any:
    function, shared = _work
    return function(shared, item)
