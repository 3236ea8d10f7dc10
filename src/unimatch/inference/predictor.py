"""Masks of images, in Python: ``Predictor("best.ckpt")(image).mask``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.bands import PHOTOS, Bands
from unimatch.engines.base import Engine
from unimatch.engines.model_facts import ModelFacts
from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, DataError
from unimatch.images import ImageArray, MaskArray, to_levels
from unimatch.pictures import overlay
from unimatch.rasters import read_bands
from unimatch.types import IGNORE_INDEX

if TYPE_CHECKING:  # exported models run where PyTorch is not installed
    from torch import Tensor

    from unimatch.inference.load import Trained
    from unimatch.methods import Method
    from unimatch.models import Model

ImageLike = str | Path | Image.Image | NDArray[Any]
"""One image: a path, a PIL image, or an (H, W, 3) RGB or (H, W) grey array; for models of other bands an array
(H, W, N) of all that a file would hold."""

LARGE = 4_000_000
"""Images of more pixels than this are predicted in windows, unless the rule says otherwise."""


@dataclass(frozen=True)
class Prediction:
    """Holds what is predicted for one image, at its own size."""

    mask: MaskArray
    """(H, W) uint8 class ids; 255 where the confidence is below a threshold or the image has no data. In change
    detection, where there is no data nothing has changed."""
    confidence: NDArray[np.float32] | None
    """(H, W) probability of the most probable class, if asked for; if asked for as levels, 0-255 uint8."""
    scores: NDArray[np.float32] | None
    """(C, H, W) probabilities, if asked for."""
    facts: ModelFacts
    """Classes and colours."""

    def overlay(self, image: ImageArray, opacity: float = 0.5) -> ImageArray:
        """The image (H, W, 3), or levels (H, W, C), with the classes' colours over it; pixels without one stay."""
        return overlay(self.facts.bands.picture(image), self.mask, self.facts.palette, opacity)

    def areas(self) -> dict[int, int]:
        """Returns the number of pixels of each class id, and of 255."""
        # Row by row: all at once would take 8 bytes a pixel.
        counts = np.sum([np.bincount(row, minlength=256) for row in self.mask], axis=0)
        return {i: int(counts[i]) for i in (*range(len(self.facts.classes)), IGNORE_INDEX)}


class PredictionOptions(TypedDict, total=False):
    """What can be asked of a prediction, as for :class:`Predictor`."""

    confidence: bool
    scores: bool
    threshold: float | None
    batch_size: int | None


class Predictor:
    """Predicts masks with a trained model.

    Args:
        path: a checkpoint, or a file that ``python -m unimatch.export`` wrote, or a model or method (which is copied),
            or what :func:`unimatch.inference.load.load_with_facts` has read. ONNX needs numpy, Pillow and onnxruntime
            alone.
        model: the teacher, which the paper reports, or the student; of checkpoints and methods only.
        classes: names in the order of the ids, for a model or method, which knows none; None for its ids.
        inference: how images are predicted; None for how the model was evaluated in training, but images of more than
            4 megapixels in windows.
        device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda``, ...
        precision: of the computation, ``float32``, ``bfloat16`` or ``float16``; ONNX and ``.pt2`` files have their own.
        trusted: must be True for a ``.pt2`` file, because reading one may run code: say so of your own files alone.

    Raises:
        ConfigError: a setting that cannot be.
        WeightsError: the file cannot be read, or is not one of ours.
    """

    def __init__(
        self,
        path: "str | Path | Model | Method | Trained",
        *,
        model: Literal["teacher", "student"] = "teacher",
        classes: Sequence[str] | None = None,
        inference: Inference | None = None,
        device: str = "auto",
        precision: str = "float32",
        trusted: bool = False,
    ) -> None:
        if precision not in ("float32", "bfloat16", "float16"):
            raise ConfigError(f"precision={precision}: must be float32, bfloat16 or float16")
        self.engine: Engine[Any]
        if isinstance(path, (str, Path)) and Path(path).suffix == ".onnx":
            from unimatch.engines.onnx import OnnxEngine

            engine = OnnxEngine(Path(path).expanduser(), "cpu" if device == "auto" else device)
            self.engine, self.facts = engine, engine.facts
        elif isinstance(path, (str, Path)) and Path(path).suffix == ".pt2":
            if not trusted:
                raise ConfigError(
                    f"{path}: reading a .pt2 file may run code. Give trusted=True if it is your own; or export as "
                    ".onnx or .safetensors, which run none"
                )
            from unimatch.engines.torch import TorchEngine
            from unimatch.inference.load import choose_device
            from unimatch.inference.program import Program

            program = Program(Path(path).expanduser(), choose_device(device))
            self.engine, self.facts = TorchEngine(program), program.facts  # type: ignore[arg-type]
        else:
            # PyTorch is imported here and not above, so that exported models run without it.
            from unimatch.engines.torch import TorchEngine
            from unimatch.inference.load import choose_device, trained_model
            from unimatch.speed.fold_batch_norms import fold_batch_norms

            network, self.facts = trained_model(path, model, classes)
            if network.task == "classification":
                raise ConfigError("path: this model gives classes of images and no masks; use unimatch.Classifier")
            self.engine = TorchEngine(fold_batch_norms(network).to(choose_device(device)), precision)
        rule = self.facts.inference
        self.inference = inference or (rule if rule.large is not None else replace(rule, large=LARGE))
        self.batch_size = self.engine.batch_size
        """Images of one size that the model sees at once: 8 on a GPU, 1 on a CPU, whose caches more would overrun."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the ids in masks."""
        return self.facts.classes

    @overload  # a str, which is a sequence too, is one image
    def __call__(self, images: ImageLike, **options: Unpack[PredictionOptions]) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(
        self,
        images: "Sequence[ImageLike | Tensor | Sequence[ImageLike | Tensor]]",
        **options: Unpack[PredictionOptions],
    ) -> list[Prediction]: ...

    @overload
    def __call__(self, images: "Tensor", **options: Unpack[PredictionOptions]) -> Any: ...

    def __call__(
        self,
        images: Any,
        *,
        confidence: bool = False,
        scores: bool = False,
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Predicts one image or several.

        Args:
            images: an (H, W, 3) RGB or (H, W) grey uint8 array, a PIL image, a (3, H, W) uint8 tensor, or a path; a
                sequence of these, or a (B, 3, H, W) tensor, for several. Models of change detection take a pair of
                dates as one image: a (2, H, W, 3) array, or a sequence of pairs, each of two images. Models of other
                bands (:attr:`ModelFacts.bands`) take what a file would hold: all its bands, of its type.
            confidence: also return each pixel's confidence.
            scores: also return the probabilities of all classes.
            threshold: pixels of lower confidence become 255.
            batch_size: images of one size that the model sees at once; None for :attr:`batch_size`.

        Returns:
            A :class:`Prediction`, or a list of them for several images.

        Raises:
            DataError: not an image.
        """
        several = isinstance(images, (list, tuple)) or (is_tensor(images) and images.ndim == 3 + self.facts.dates)
        arrays = [to_arrays(image, self.facts.dates, self.facts.bands) for image in (images if several else [images])]
        at_once = batch_size or self.batch_size
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, array in enumerate(arrays):
            groups.setdefault(array.shape, []).append(i)
        predictions: dict[int, Prediction] = {}
        for chosen in [group[i : i + at_once] for group in groups.values() for i in range(0, len(group), at_once)]:
            batch = [arrays[i] for i in chosen]
            found = self.predict_batch(batch, confidence=confidence, scores=scores, threshold=threshold)
            predictions.update(zip(chosen, found, strict=True))
        ordered = [predictions[i] for i in range(len(arrays))]
        return ordered if several else ordered[0]

    def predict_batch(
        self,
        images: Sequence[ImageArray],
        *,
        confidence: bool = False,
        scores: bool = False,
        threshold: float | None = None,
        levels: bool = False,
    ) -> list[Prediction]:
        """Predicts (H, W, C) uint8 images of one size, all at once, or one by one where they are seen in windows.

        With ``levels``, confidences are :func:`unimatch.images.to_levels`, which takes a quarter of the memory.
        """
        height, width = images[0].shape[-3:-1]
        if self.inference.slides(height, width) and len(images) > 1:
            return [
                self.predict_batch([image], confidence=confidence, scores=scores, threshold=threshold, levels=levels)[0]
                for image in images
            ]
        # One image is not copied: it may be large.
        batch = np.moveaxis(images[0][None] if len(images) == 1 else np.stack(images), -1, -3)  # (B, ..., 3, H, W)
        engine = self.engine
        if not (confidence or scores or threshold is not None or self.inference.slides(height, width)):
            masks = self._with_gaps(engine.labels(self.inference.scores(engine, batch)), images)
            return [Prediction(mask, None, None, self.facts) for mask in masks]
        count = len(images)
        masks = np.empty((count, height, width), np.uint8)
        confidences: Any = np.empty((count, height, width), np.uint8 if levels else np.float32) if confidence else None
        probabilities = np.empty((count, engine.num_classes, height, width), np.float32) if scores else None
        for top, left, block in self.inference.blocks(engine, batch):
            rows, columns = slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1])
            labels = engine.labels(block)
            if confidence or threshold is not None:
                sure = engine.confidence(block)
                if threshold is not None:
                    labels[sure < threshold] = IGNORE_INDEX
                if confidences is not None:
                    confidences[:, rows, columns] = to_levels(sure) if levels else sure
            masks[:, rows, columns] = labels
            if probabilities is not None:
                probabilities[:, :, rows, columns] = engine.numpy(block)
        masks = self._with_gaps(masks, images)
        nothing = [None] * count
        sure_or_not = nothing if confidences is None else confidences
        score_or_not = nothing if probabilities is None else probabilities
        return [Prediction(*found, self.facts) for found in zip(masks, sure_or_not, score_or_not, strict=True)]

    def _with_gaps(self, masks: MaskArray, images: Sequence[ImageArray]) -> MaskArray:
        """Returns masks (B, H, W) that say where the images have no data."""
        for mask, image in zip(masks, images, strict=True):
            if (empty := self.facts.bands.without_data(image)) is not None:
                mask[empty] = IGNORE_INDEX if self.facts.dates == 1 else 0
        return masks


def is_tensor(image: Any) -> bool:
    """Tells whether something is a PyTorch tensor, without importing PyTorch."""
    return type(image).__module__.split(".")[0] == "torch"


def to_arrays(image: Any, dates: int, bands: Bands = PHOTOS) -> ImageArray:
    """Returns one image as :func:`to_array` makes it, or one image for each date, stacked."""
    if dates == 1:
        return to_array(image, bands)
    found = [] if isinstance(image, (str, Path, Image.Image)) else [to_array(date, bands) for date in image]
    if len(found) != dates or len({date.shape for date in found}) > 1:
        raise DataError(f"this model needs {dates} images of one size as one, such as a (2, H, W, 3) array")
    return np.stack(found)


def to_array(image: Any, bands: Bands = PHOTOS) -> ImageArray:
    """Returns an image of any accepted kind as (H, W, 3) uint8 RGB, or as levels of the bands, (H, W, C).

    Raises:
        DataError: not an image.
    """
    if isinstance(image, (str, Path)):
        return read_bands(Path(image), bands)
    if not bands.photos:
        stored = image.detach().cpu().numpy() if is_tensor(image) else np.asarray(image)
        if stored.ndim == 2:
            stored = stored[..., None]
        elif is_tensor(image):
            stored = np.moveaxis(stored, 0, -1)
        if stored.ndim != 3 or 0 in stored.shape:
            raise DataError(f"an image must be (H, W, N), or (N, H, W) for tensors; this one is {stored.shape}")
        return bands.levels(bands.choose(stored, "the image"), "the image")
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if is_tensor(image):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array[..., None]
    else:
        array = np.asarray(image)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise DataError(
            f"an image must be (H, W, 3) or (H, W) for arrays and (3, H, W) for tensors, uint8 in 0-255; this one is "
            f"{tuple(getattr(image, 'shape', ()))} of {getattr(image, 'dtype', type(image).__name__)}"
        )
    return array
