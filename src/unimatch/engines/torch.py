"""Runs a PyTorch model as an engine, on any device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.engines.whole_image import whole_image_logits
from unimatch.images.arrays import MaskArray
from unimatch.images.tensors import normalize
from unimatch.models.base import Model
from unimatch.speed.apply import speed_up
from unimatch.speed.half_precision import warn_of_slow_half


class TorchEngine:
    """Runs a PyTorch model in eval mode, in ``float32``, or with autocast in ``bfloat16`` or ``float16``.

    The methods are those of :class:`unimatch.engines.base.Engine`.
    """

    def __init__(self, model: Model, precision: str = "float32") -> None:
        self.model = model
        self.dtype = getattr(torch, precision)
        self.num_classes = model.num_classes
        self.device = next(model.parameters()).device
        speed_up(model, self.device)
        warn_of_slow_half(self.device, precision)
        self.batch_size = 1 if self.device.type == "cpu" else 8
        self.threads = torch.get_num_threads() if self.device.type == "cpu" else 1

    def use_threads(self, count: int) -> None:
        """Lets the calling thread compute with this many processor threads from now on."""
        torch.set_num_threads(count)

    def logits(self, images: Tensor | NDArray[np.uint8], scale: float = 1.0, *, flipped: bool = False) -> Tensor:
        """Returns :func:`whole_image_logits`; uint8 images keep their channels last in memory."""
        if flipped:
            mirrored = images[..., ::-1] if isinstance(images, np.ndarray) else images.flip(-1)
            return self.logits(mirrored, scale).flip(-1)
        if isinstance(images, np.ndarray):
            pixels = torch.from_numpy(np.array(np.moveaxis(images, -3, -1), order="C"))  # (B, ..., H, W, 3), a copy
            images = normalize(pixels.to(self.device).movedim(-1, -3), self.model.bands)
        if self.dtype == torch.float32:  # without autocast, unless the caller has turned it on
            return whole_image_logits(self.model, images, scale)
        with torch.autocast(self.device.type, self.dtype):
            return whole_image_logits(self.model, images, scale)

    def softmax(self, logits: Tensor) -> Tensor:
        """Returns probabilities over the classes."""
        return logits.softmax(1)

    def zeros(self, *shape: int) -> Tensor:
        """Returns zeros on the model's device."""
        return torch.zeros(shape, device=self.device)

    def array(self, values: NDArray[np.float32]) -> Tensor:
        """Copies a NumPy array to the model's device."""
        return torch.from_numpy(values).to(self.device)

    def numpy(self, array: Tensor) -> NDArray[Any]:
        """Copies a tensor to the host's memory."""
        return array.cpu().numpy()

    def labels(self, scores: Tensor) -> MaskArray:
        """Returns the ids of the highest scores."""
        return scores.argmax(1).byte().cpu().numpy()

    def confidence(self, probabilities: Tensor) -> NDArray[np.float32]:
        """Returns the highest probabilities."""
        return probabilities.amax(1).cpu().numpy()
