"""Predicts masks of images in Python: ``Predictor("best.ckpt")(image).mask``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.engines.base import Engine
from unimatch.engines.model_facts import ModelFacts
from unimatch.engines.test_time import Inference
from unimatch.engines.votes import blocks_of_each, count_votes, mean_of
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray, MaskArray, to_levels
from unimatch.images.pictures import overlay
from unimatch.inference.arrays import is_tensor, to_arrays
from unimatch.inference.open_engine import check_alike, open_engine
from unimatch.kinds import checked
from unimatch.options import at_least_one, is_between, is_whole, probability
from unimatch.types import IGNORE_INDEX

if TYPE_CHECKING:  # exported models run where PyTorch is not installed
    from torch import Tensor

    from unimatch.inference.load import Trained
    from unimatch.methods import Method
    from unimatch.models import Model

ImageLike = str | Path | Image.Image | NDArray[Any]
"""One image: a path, a PIL image, or an (H, W, 3) RGB or (H, W) grey array; for models of other bands, an array
(H, W, N) of all bands of a file."""

LARGE = 4_000_000
"""Images of more pixels than this are predicted in windows, unless :attr:`Inference.large` says otherwise."""


@dataclass(frozen=True)
class Prediction:
    """Holds the prediction for one image, at the image's size."""

    mask: MaskArray
    """(H, W) uint8 class ids; 255 where the confidence is below a threshold or the image has no data. In change
    detection, pixels without data count as unchanged."""
    confidence: NDArray[np.float32] | None
    """(H, W) probability of the most probable class, if requested; levels of 0-255 uint8, if requested so."""
    scores: NDArray[np.float32] | None
    """(C, H, W) probabilities, if requested."""
    facts: ModelFacts
    """Classes and colours."""
    disagreement: NDArray[np.float32] | None = None
    """(H, W) share of the models, 0-1, that predict another class than their mean, if requested; levels of 0-255 uint8,
    if requested so. It is 0 where the image has no data."""

    def overlay(self, image: ImageArray, opacity: float = 0.5) -> ImageArray:
        """Returns the image (H, W, 3), or levels (H, W, C), with distinguishable colours of the classes over it."""
        return overlay(self.facts.bands.picture(image), self.mask, self.facts.colors, opacity)

    def areas(self) -> dict[int, int]:
        """Returns the number of pixels of each class id, and of 255."""
        # Row by row: all at once would take 8 bytes a pixel.
        counts = np.sum([np.bincount(row, minlength=256) for row in self.mask], axis=0)
        return {i: int(counts[i]) for i in (*range(len(self.facts.classes)), IGNORE_INDEX)}


class PredictionOptions(TypedDict, total=False):
    """The options of :meth:`Predictor.__call__`, which explains them."""

    confidence: bool
    scores: bool
    threshold: float | None
    votes: int | None
    disagreement: bool
    batch_size: int | None


@checked
class Predictor:
    """Predicts masks with a trained model.

    Args:
        path: a checkpoint, a file of ``python -m unimatch.export``, a model or method (which is copied), or a result of
            :func:`unimatch.inference.load.load_with_facts`. An ONNX file needs only NumPy, Pillow and onnxruntime. Or a
            list of several of these with the same classes and bands: the mean of their probabilities decides, and the
            first one says how images are predicted.
        model: the teacher, which the paper reports, or the student; for checkpoints and methods.
        classes: names in the order of the ids, for a model or method, which do not have them; None for the ids.
        inference: how images are predicted; None for the rule by which the model was evaluated in training, but images
            of more than 4 megapixels in windows.
        device: ``auto`` (the GPU if there is one), ``cpu``, ``cuda``, ...
        precision: of the computation, ``float32``, ``bfloat16`` or ``float16``; ONNX and ``.pt2`` files have their own.
        trusted: must be True for a ``.pt2`` file, because reading one may run code: set it only for your own files.

    Raises:
        ConfigError: a setting is invalid.
        WeightsError: a file cannot be read, or is not one of ours.
    """

    def __init__(
        self,
        path: "str | Path | Model | Method | Trained | Sequence[str | Path | Model | Method | Trained]",
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
        given: Any = path
        sources = given if type(given) in (list, tuple) else [given]  # Trained, one source, is a subclass of tuple
        if not sources:
            raise ConfigError("path: no model is named")
        opened = [
            open_engine(source, model=model, classes=classes, device=device, precision=precision, trusted=trusted)
            for source in sources
        ]
        check_alike(sources, [facts for _, facts in opened])
        self.engine: Engine[Any] = opened[0][0]
        self.others: list[Engine[Any]] = [engine for engine, _ in opened[1:]]
        """The other models, if there are several."""
        self.facts: ModelFacts = opened[0][1]
        rule = self.facts.inference
        self.inference = inference or (rule if rule.large is not None else replace(rule, large=LARGE))
        self.batch_size = min(engine.batch_size for engine in self.engines)
        """Images of one size that the model sees at once: 8 on a GPU, 1 on a CPU, whose caches more would overrun."""

    @property
    def engines(self) -> list[Engine[Any]]:
        """All models, of which there may be one."""
        return [self.engine, *self.others]

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
        votes: int | None = None,
        disagreement: bool = False,
        batch_size: int | None = None,
    ) -> Any:
        """Predicts one image or several.

        Args:
            images: an (H, W, 3) RGB or (H, W) grey uint8 array, a PIL image, a (3, H, W) uint8 tensor, or a path; a
                sequence of these, or a (B, 3, H, W) tensor, for several. Models of change detection take a pair of
                dates as one image: a (2, H, W, 3) array, or a sequence of pairs, each of two images. Models of other
                bands (:attr:`ModelFacts.bands`) take all bands of a file, with the file's values and type.
            confidence: also return each pixel's confidence.
            scores: also return the probabilities of all classes.
            threshold: pixels of lower confidence become 255.
            votes: for several models: pixels on whose class fewer models agree become 255.
            disagreement: for several models: also return the share of them that predicts another class.
            batch_size: images of one size that the model sees at once; None for :attr:`batch_size`.

        Returns:
            A :class:`Prediction`, or a list of them for several images.

        Raises:
            ConfigError: an option has no meaning, such as a threshold in percent, or votes of one model.
            DataError: not an image.
        """
        self.check_threshold(threshold)
        self.check_votes(votes, disagreement=disagreement)
        at_least_one(batch_size=batch_size)
        several = isinstance(images, (list, tuple)) or (is_tensor(images) and images.ndim == 3 + self.facts.dates)
        arrays = [to_arrays(image, self.facts.dates, self.facts.bands) for image in (images if several else [images])]
        at_once = int(batch_size or self.batch_size)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, array in enumerate(arrays):
            by_shape.setdefault(array.shape, []).append(i)
        predictions: dict[int, Prediction] = {}
        for group in by_shape.values():
            for first in range(0, len(group), at_once):
                chosen = group[first : first + at_once]
                found = self.predict_batch(
                    [arrays[i] for i in chosen],
                    confidence=confidence,
                    scores=scores,
                    threshold=threshold,
                    votes=votes,
                    disagreement=disagreement,
                )
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
        votes: int | None = None,
        disagreement: bool = False,
        levels: bool = False,
    ) -> list[Prediction]:
        """Predicts (H, W, C) uint8 images of one size: all at once, or one by one if they are predicted in windows.

        With ``levels``, confidences and disagreements are :func:`unimatch.images.arrays.to_levels`, which take a
        quarter of the memory. The other options are those of :meth:`__call__`.
        """
        self.check_votes(votes, disagreement=disagreement)
        height, width = images[0].shape[-3:-1]
        slides = self.inference.slides(height, width)
        if slides and len(images) > 1:
            predict = partial(
                self.predict_batch,
                confidence=confidence,
                scores=scores,
                threshold=threshold,
                votes=votes,
                disagreement=disagreement,
                levels=levels,
            )
            return [predict([image])[0] for image in images]
        # A single image is not copied, because it may be large.
        batch = np.moveaxis(images[0][None] if len(images) == 1 else np.stack(images), -1, -3)  # (B, ..., 3, H, W)
        engine, engines = self.engine, self.engines
        if not (self.others or confidence or scores or threshold is not None or slides):
            masks = engine.labels(self.inference.scores(engine, batch))  # without probabilities
            for mask, image in zip(masks, images, strict=True):
                self.fill_gaps(image, mask)
            return [Prediction(mask, None, None, self.facts) for mask in masks]
        shape, share_type = (len(images), height, width), np.uint8 if levels else np.float32
        masks = np.empty(shape, np.uint8)
        confidences: Any = np.empty(shape, share_type) if confidence else None
        probabilities = np.empty((len(images), engine.num_classes, height, width), np.float32) if scores else None
        dissents: Any = np.empty(shape, share_type) if disagreement else None
        for top, left, of_engines in blocks_of_each(engines, self.inference, batch):
            block = mean_of(engines, of_engines)
            rows, columns = slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1])
            labels = engine.labels(block)
            if votes is not None or disagreement:
                agreeing = count_votes(engines, of_engines, labels)
                if votes is not None:
                    labels[agreeing < votes] = IGNORE_INDEX
                if dissents is not None:
                    share = (1 - agreeing / len(engines)).astype(np.float32)
                    dissents[:, rows, columns] = to_levels(share) if levels else share
            if confidence or threshold is not None:
                sure = engine.confidence(block)
                if threshold is not None:
                    labels[sure < threshold] = IGNORE_INDEX
                if confidences is not None:
                    confidences[:, rows, columns] = to_levels(sure) if levels else sure
            masks[:, rows, columns] = labels
            if probabilities is not None:
                probabilities[:, :, rows, columns] = engine.numpy(block)
        predictions = []
        for i, image in enumerate(images):
            prediction = Prediction(
                masks[i],
                None if confidences is None else confidences[i],
                None if probabilities is None else probabilities[i],
                self.facts,
                None if dissents is None else dissents[i],
            )
            self.fill_gaps(image, prediction.mask, prediction.disagreement)
            predictions.append(prediction)
        return predictions

    def check_threshold(self, threshold: float | None) -> None:
        """Refuses a threshold that is no probability, or in change detection.

        Raises:
            ConfigError: with the reason.
        """
        if threshold is not None:
            probability(threshold=threshold)
            if self.facts.dates > 1:
                raise ConfigError(f"threshold={threshold}: 255 means changed in labels, so no pixel can be left open")

    def check_votes(self, votes: int | None, *, disagreement: bool = False) -> None:
        """Refuses to count the votes of one model, or more votes than there are models.

        Raises:
            ConfigError: with the reason.
        """
        count = len(self.engines)
        if count == 1 and (votes is not None or disagreement):
            key = f"votes={votes}" if votes is not None else "disagreement"
            raise ConfigError(
                f"{key}: one model has none to agree with; give several, as in checkpoint=[a.ckpt,b.ckpt]"
            )
        if votes is not None and not (is_between(votes, 1, count) and is_whole(votes)):
            raise ConfigError(f"votes={votes}: must be a whole number between 1 and that of models, {count}")
        if votes is not None and self.facts.dates > 1:
            raise ConfigError(f"votes={votes}: 255 means changed in labels, so no pixel can be left open")

    def fill_gaps(self, image: ImageArray, mask: MaskArray, disagreement: NDArray[Any] | None = None) -> None:
        """Sets the pixels (H, W) where the image has no data, in place, as :class:`Prediction` explains."""
        empty = self.facts.bands.without_data(image)
        if empty is not None:
            mask[empty] = IGNORE_INDEX if self.facts.dates == 1 else 0
            if disagreement is not None:
                disagreement[empty] = 0
