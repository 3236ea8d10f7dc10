"""The interface through which predicting uses a model, whether PyTorch or an exported file runs it."""

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from unimatch.images.arrays import MaskArray

if TYPE_CHECKING:  # exported models run where PyTorch is not installed
    from torch import Tensor

Array = TypeVar("Array", "Tensor", "NDArray[Any]")
"""The arrays of an engine. Code for both kinds uses only indexing and arithmetic."""


class Engine(Protocol[Array]):
    """A model, and the few array operations that predicting needs."""

    num_classes: int
    batch_size: int
    """How many images at once suit the device."""
    threads: int
    """How many processor threads can be divided among images that are predicted at the same time, since one image does
    not occupy them all; 1 if the engine divides its threads itself."""

    def use_threads(self, count: int) -> None:
        """Lets the calling thread compute with this many processor threads from now on."""

    def logits(self, images: Array | NDArray[np.uint8], scale: float = 1.0, *, flipped: bool = False) -> Array:
        """Returns (B, C, H, W) float32 logits of (B, ..., 3, H, W) images: normalised arrays, or uint8 RGB in NumPy's.

        The model sees the images at the size it takes that is nearest to ``scale`` times H x W, and mirrored left to
        right if ``flipped``; the logits are mirrored back.
        """

    def softmax(self, logits: Array) -> Array:
        """Returns probabilities (B, C, H, W)."""

    def zeros(self, *shape: int) -> Array:
        """Returns a float32 array on the model's device."""

    def array(self, values: NDArray[np.float32]) -> Array:
        """Copies a NumPy array to the model's device."""

    def labels(self, scores: Array) -> MaskArray:
        """Returns the ids of the highest scores, (B, C, H, W) -> (B, H, W) uint8, in the host's memory."""

    def confidence(self, probabilities: Array) -> NDArray[np.float32]:
        """Returns the highest probabilities, (B, C, H, W) -> (B, H, W), in the host's memory."""

    def numpy(self, array: Array) -> NDArray[np.float32]:
        """Copies an array to the host's memory."""
