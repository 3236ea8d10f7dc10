"""Bounds what one image may cost: the model sees it in windows, and gives it up after some seconds."""

import time
from dataclasses import replace
from typing import Any

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, DataError

SIDE = 1000
"""Images of more than SIDE x SIDE pixels are predicted in windows of at most this side, as no window can be given up.

A whole image of at most as many pixels is one window.
"""
LARGEST_SEEN = 4 * SIDE**2
"""The most pixels that the model may see at once, at the largest scale."""


def in_windows(rule: Inference) -> Inference:
    """Returns a rule by which the model sees at most SIDE x SIDE pixels of an image at once, before it is scaled."""
    large = min(rule.large or SIDE**2, SIDE**2)
    return replace(rule, large=large) if rule.window <= SIDE else replace(rule, large=large, window=SIDE, stride=None)


class TimeLimit:
    """Measures whether some seconds have passed since :meth:`start`.

    Args:
        seconds: how long one image may take.

    Raises:
        ConfigError: ``seconds`` is not above 0.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ConfigError(f"seconds={seconds}: must be above 0")
        self.seconds = seconds
        self.start()

    def start(self) -> None:
        """Starts the time again."""
        self.end = time.monotonic() + self.seconds

    @property
    def is_over(self) -> bool:
        """Whether the seconds have passed."""
        return time.monotonic() > self.end


class LimitedEngine:
    """An engine that gives an image up after a time limit, and otherwise does what the engine that it wraps does.

    Args:
        engine: the engine to wrap; see :mod:`unimatch.engines`.
        time_limit: of each image.
    """

    def __init__(self, engine: Any, time_limit: TimeLimit) -> None:
        self.engine, self.time_limit = engine, time_limit
        self.start()

    def start(self) -> None:
        """Starts the time limit, and the count of pixels, of a new image."""
        self.time_limit.start()
        self.pixels = 0.0

    def logits(self, images: Any, scale: float = 1.0, **options: Any) -> Any:
        """Returns the logits of the wrapped engine.

        Raises:
            DataError: the time is over, or the model would see more than :data:`LARGEST_SEEN` pixels at once.
        """
        pixels = images.shape[-1] * images.shape[-2] * scale**2
        if pixels > LARGEST_SEEN:
            raise DataError(
                f"the file: at scale {scale:g} the model would see {pixels / 1e6:.1f} million pixels at once"
            )
        if self.time_limit.is_over:
            raise DataError(
                f"the file: given up after {self.time_limit.seconds:g} s, in which the model saw "
                f"{self.pixels / 1e6:.1f} million pixels, in all windows and scales; make it smaller, start the app "
                "with larger seconds, or use python -m unimatch.predict"
            )
        self.pixels += pixels
        return self.engine.logits(images, scale, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)
