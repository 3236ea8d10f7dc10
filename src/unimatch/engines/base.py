"""What predicting needs of a model, whether PyTorch or an exported file runs it."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unimatch.images import MaskArray

Array = Any
"""A torch tensor or a numpy array: what is written for it uses indexing and arithmetic alone."""


class Engine(Protocol):
    """A model and the few array operations around it. Arrays are torch tensors, or numpy's where torch is absent."""

    num_classes: int
    batch_size: int
    """Images at once that suit the device."""
    threads: int
    """Of the processor, that can be divided among images, because one image does not keep them all at work; or 1."""

    def use_threads(self, count: int) -> None:
        """So many for what the calling thread computes from now on."""
        ...

    def logits(self, images: Array, scale: float = 1.0) -> Array:
        """(B, 3, H, W), normalised or a numpy array of uint8 RGB -> (B, C, H, W) float32.

        The model sees the size nearest to ``scale`` times H x W that it takes.
        """
        ...

    def softmax(self, logits: Array) -> Array:
        """Over the classes."""
        ...

    def flip(self, array: Array) -> Array:
        """Left to right."""
        ...

    def zeros(self, *shape: int) -> Array:
        """A float32 array on the model's device."""
        ...

    def array(self, values: NDArray[np.float32]) -> Array:
        """A numpy array on the model's device."""
        ...

    def labels(self, scores: Array) -> MaskArray:
        """(B, C, H, W) -> (B, H, W) uint8 ids of the highest scores, in the host's memory."""
        ...

    def confidence(self, probabilities: Array) -> NDArray[np.float32]:
        """(B, C, H, W) -> (B, H, W) highest probabilities, in the host's memory."""
        ...

    def numpy(self, array: Array) -> NDArray[np.float32]:
        """In the host's memory."""
        ...
