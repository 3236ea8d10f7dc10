"""Bounds what one image may cost: the model sees it in windows, and is stopped after some seconds."""

import time
from dataclasses import replace
from typing import Any

from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, DataError

SIDE = 1000
"""Images of more than the square of this are predicted in windows of at most this side: one cannot be given up."""
LARGEST_SEEN = 4 * SIDE**2
"""How many pixels of them a scale may make."""


def in_windows(rule: Inference) -> Inference:
    """Returns a rule by which the model sees no more at once than :data:`SIDE` squared, but for its scales."""
    large = min(rule.large or SIDE**2, SIDE**2)
    return replace(rule, large=large) if rule.window <= SIDE else replace(rule, large=large, window=SIDE, stride=None)


class Patience:
    """Counts seconds from :meth:`begin` on.

    Args:
        seconds: how long one image may take.

    Raises:
        ConfigError: ``seconds`` is not above 0.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ConfigError(f"seconds={seconds}: must be above 0")
        self.seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Begins to count."""
        self.until = time.monotonic() + self.seconds

    @property
    def ended(self) -> bool:
        """Whether the seconds are over."""
        return time.monotonic() > self.until


class Impatient:
    """An engine that gives up when patience has ended; else the engine that it is given."""

    def __init__(self, engine: Any, patience: Patience) -> None:
        self.engine, self.patience = engine, patience
        self.begin()

    def begin(self) -> None:
        """Begins to count."""
        self.patience.begin()
        self.pixels = 0.0

    def logits(self, images: Any, scale: float = 1.0, **options: Any) -> Any:
        """Returns the engine's logits, or raises a DataError."""
        pixels = images.shape[-1] * images.shape[-2] * scale**2
        if pixels > LARGEST_SEEN:
            raise DataError(
                f"the file: at scale {scale:g} the model would see {pixels / 1e6:.1f} million pixels at once"
            )
        if self.patience.ended:
            raise DataError(
                f"the file: given up after {self.patience.seconds:g} s, in which the model saw {self.pixels / 1e6:.1f} "
                "million pixels, windows and scales counted each; make it smaller, start the app with larger seconds, "
                "or use python -m unimatch.predict"
            )
        self.pixels += pixels
        return self.engine.logits(images, scale, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)
