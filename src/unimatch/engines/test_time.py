"""Predicts images at test time: whole or in windows, at one scale or several, with or without their mirror images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from sys import float_info
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unimatch.engines.base import Array, Engine
from unimatch.engines.sliding_window import sliding_blocks
from unimatch.errors import ConfigError
from unimatch.kinds import checked
from unimatch.options import at_least_one, is_between


@checked
@dataclass(frozen=True)
class Inference:
    """Says how images are predicted; the rule is the same in evaluations during training, ``evaluate`` and ``predict``.

    ``whole`` resizes an image to the nearest size that the model takes, and the logits back; ``sliding`` does the same
    with windows and averages their probabilities. With several ``scales``, or with ``flip``, each image or window is
    predicted several times, and the probabilities are averaged.

    Args:
        mode: ``whole`` or ``sliding``.
        window: side of the windows, pixels.
        stride: pixels from one window to the next; None for two thirds of the window, rounded down.
        scales: factors by which images (or windows) are resized.
        flip: also predict the mirror image.
        large: images of more pixels than this are predicted in windows even in mode ``whole``; None for no limit.

    Raises:
        ConfigError: a setting is invalid.
    """

    mode: Literal["whole", "sliding"] = "whole"
    window: int = 798
    stride: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    large: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mode, str) or self.mode not in ("whole", "sliding"):
            raise ConfigError(f"mode={self.mode}: must be 'whole' or 'sliding'")
        at_least_one(window=self.window, large=self.large)
        at_least_one(stride=self.stride)
        if self.stride is not None and self.stride > self.window:
            raise ConfigError(f"stride={self.stride}: must be between 1 and the window, {self.window}")
        listed = (
            isinstance(self.scales, Iterable) and not isinstance(self.scales, (str, bytes)) and np.ndim(self.scales) > 0
        )
        scales = tuple(self.scales) if listed else (self.scales,)
        if not listed or not scales or not all(is_between(scale, float_info.min, float_info.max) for scale in scales):
            raise ConfigError(f"scales={list(scales)}: at least one factor above 0 is needed, in a list")
        object.__setattr__(self, "scales", scales)

    def slides(self, height: int, width: int) -> bool:
        """Tells whether an image of that size is predicted in windows."""
        return self.mode == "sliding" or (self.large is not None and height * width > self.large)

    def averages(self, height: int, width: int) -> bool:
        """Tells whether several predictions of such an image are averaged, so that :meth:`scores` are probabilities."""
        return self.slides(height, width) or self.flip or len(self.scales) > 1

    def scores(self, engine: Engine[Array], images: Array | NDArray[np.uint8]) -> Array:
        """Returns (B, C, H, W) scores, whose highest class is the prediction; images are as for :meth:`Engine.logits`.

        They are logits if the model sees the images once and whole, else probabilities.
        """
        height, width = images.shape[-2:]
        if not self.slides(height, width):
            return self.predict_whole(engine, images, probabilities=False)
        result = engine.zeros(images.shape[0], engine.num_classes, height, width)
        for top, left, block in self.blocks(engine, images):
            result[..., top : top + block.shape[-2], left : left + block.shape[-1]] = block
        return result

    def blocks(self, engine: Engine[Array], images: Array | NDArray[np.uint8]) -> Iterator[tuple[int, int, Array]]:
        """Yields probabilities in blocks that cover the image: a block's first row and column, and its values.

        A block is (B, C, rows, columns). An image predicted whole is one block.
        """
        if not self.slides(*images.shape[-2:]):
            yield 0, 0, self.predict_whole(engine, images, probabilities=True)
            return
        stride = self.stride or max(1, int(self.window * 2 / 3))
        predict = partial(self.predict_whole, engine, probabilities=True)
        yield from sliding_blocks(engine, images, predict, window=self.window, stride=stride)

    def predict_whole(self, engine: Engine[Array], images: Array | NDArray[np.uint8], *, probabilities: bool) -> Array:
        """Returns scores of images or windows that the model sees whole, averaged over scales and mirror images."""
        (scale, _), *others = product(self.scales, (False, True) if self.flip else (False,))
        logits = engine.logits(images, scale)
        if not others and not probabilities:
            return logits
        total = engine.softmax(logits)
        for scale, flipped in others:
            total = total + engine.softmax(engine.logits(images, scale, flipped=flipped))
        return total / (1 + len(others)) if others else total
