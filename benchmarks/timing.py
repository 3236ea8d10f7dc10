"""A clock that times the parts of a step."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Clock:
    """Adds up the seconds of named parts; off, it costs nothing and does not wait for the device.

    Args:
        device: whose work is waited for before and after each part.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.on = device, False
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        """When all work so far is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what is inside."""
        if not self.on:
            yield
            return
        start = self.now()
        yield
        self.seconds[part] += self.now() - start

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Time every call of ``owner.name``."""
        function = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self(part):
                return function(*arguments, **options)

        setattr(owner, name, staticmethod(timed) if isinstance(owner, type) else timed)
