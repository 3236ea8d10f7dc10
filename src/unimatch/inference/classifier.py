"""Predicts classes of images in Python: ``Classifier("best.ckpt")(image).name``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray
from unimatch.images.tensors import normalize, to_tensor
from unimatch.inference.arrays import to_array
from unimatch.inference.load import Trained, choose_device, trained_model
from unimatch.inference.predictor import ImageLike
from unimatch.kinds import checked
from unimatch.models.networks import ClassificationModel
from unimatch.speed.apply import speed_up
from unimatch.tasks.classification import center_crop


@dataclass(frozen=True)
class ClassPrediction:
    """Holds the prediction for one image."""

    label: int
    """The most probable class's id."""
    name: str
    """The name of that class."""
    confidence: float
    """The probability of that class."""
    scores: NDArray[np.float32]
    """(C,) probabilities of all classes."""


@checked
class Classifier:
    """Predicts classes of images with a trained model.

    Args:
        path: a checkpoint, or a result of :func:`unimatch.inference.load.load_with_facts`.
        model: the teacher, or the student.
        device: ``auto`` (the GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: a setting is invalid, or the model gives masks.
        WeightsError: the file cannot be read, or is not one of ours.
    """

    def __init__(
        self, path: str | Path | Trained, *, model: Literal["teacher", "student"] = "teacher", device: str = "auto"
    ) -> None:
        network, facts = trained_model(path, model)
        if not isinstance(network, ClassificationModel):
            raise ConfigError("path: this model gives masks and no classes of images; use unimatch.Predictor")
        self.device = choose_device(device)
        self.model = network.to(self.device)
        speed_up(self.model, self.device)
        self.bands = network.bands
        """What the images' bands mean."""
        self.classes = facts.classes
        """Names in the order of their ids."""

    @overload  # a str, which is a sequence too, is one image
    def __call__(self, images: ImageLike | Tensor) -> ClassPrediction: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: Sequence[ImageLike | Tensor]) -> list[ClassPrediction]: ...

    def __call__(self, images: Any) -> Any:
        """Predicts one image or several, which may have different sizes.

        Args:
            images: an (H, W, 3) RGB or (H, W) grey uint8 array, a PIL image, a (3, H, W) uint8 tensor, or a path; or a
                sequence of these. If the model is for other bands, arrays hold the unscaled values of a file.

        Returns:
            A :class:`ClassPrediction`, or a list of them for several images.

        Raises:
            DataError: not an image.
        """
        single = not isinstance(images, (list, tuple))
        arrays = [to_array(image, self.bands) for image in ([images] if single else images)]
        predictions = self.predict_batch(arrays)
        return predictions[0] if single else predictions

    @torch.no_grad()
    def predict_batch(self, images: Sequence[ImageArray]) -> list[ClassPrediction]:
        """Predicts (H, W, C) uint8 images, which may have different sizes, in one batch."""
        if not images:
            return []
        size, resize = self.model.image_size, self.model.resize
        views = [
            center_crop(normalize(to_tensor(image)[None].to(self.device), self.bands), size, resize) for image in images
        ]
        probability = self.model(torch.cat(views)).softmax(1).cpu().numpy()  # (B, C)
        best = probability.argmax(1).tolist()
        return [ClassPrediction(i, self.classes[i], float(p[i]), p) for i, p in zip(best, probability, strict=True)]
