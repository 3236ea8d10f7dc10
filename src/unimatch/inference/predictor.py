"""Masks of images, in Python: ``Predictor("best.ckpt")(image).mask``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    disagreement: NDArray[np.float32] | None = None
    """(H, W) share of several models, 0-1, that predict another class than their mean does, if asked for; if asked for
    as levels, 0-255 uint8. Where the image has no data it is 0."""

    def overlay(self, image: ImageArray, opacity: float = 0.5) -> ImageArray:
        """Returns the image (H, W, 3), or levels (H, W, C), with the classes' colours, told apart, over it."""
        return overlay(self.facts.bands.picture(image), self.mask, self.facts.colors, opacity)

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
    votes: int | None
    disagreement: bool
    batch_size: int | None


class Predictor:
    """Predicts masks with a trained model.

    Args:
        path: a checkpoint, or a file that ``python -m unimatch.export`` wrote, or a model or method (which is copied),
            or what :func:`unimatch.inference.load.load_with_facts` has read. ONNX needs numpy, Pillow and onnxruntime
            alone. Or a list of several of these, whose classes and bands are the same: the prediction is then that of
            the mean of their probabilities, by the first one's rule.
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
        sources = given if type(given) in (list, tuple) else [given]  # what has been read is a kind of tuple too
        if not sources:
            raise ConfigError("path: no model is named")
        opened = [
            open_engine(source, model=model, classes=classes, device=device, precision=precision, trusted=trusted)
            for source in sources
        ]
        check_alike(sources, [facts for _, facts in opened])
        self.engine: Engine[Any] = opened[0][0]
        self.others: list[Engine[Any]] = [engine for engine, _ in opened[1:]]
        """Further models that vote."""
        self.facts: ModelFacts = opened[0][1]
        rule = self.facts.inference
        self.inference = inference or (rule if rule.large is not None else replace(rule, large=LARGE))
        self.batch_size = min(engine.batch_size for engine in self.engines)
        """Images of one size that the model sees at once: 8 on a GPU, 1 on a CPU, whose caches more would overrun."""

    @property
    def engines(self) -> list[Engine[Any]]:
        """All models: one, or those that vote."""
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
                bands (:attr:`ModelFacts.bands`) take what a file would hold: all its bands, of its type.
            confidence: also return each pixel's confidence.
            scores: also return the probabilities of all classes.
            threshold: pixels of lower confidence become 255.
            votes: of several models: pixels on whose class fewer of them agree become 255.
            disagreement: also return which share of several models predicts another class.
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
            found = self.predict_batch(
                batch,
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
        """Predicts (H, W, C) uint8 images of one size, all at once, or one by one where they are seen in windows.

        With ``levels``, confidences and disagreements are :func:`unimatch.images.arrays.to_levels`, which takes a
        quarter of the memory.
        """
        self.check_votes(votes, disagreement=disagreement)
        height, width = images[0].shape[-3:-1]
        if self.inference.slides(height, width) and len(images) > 1:
            asked: Any = {
                "confidence": confidence,
                "scores": scores,
                "threshold": threshold,
                "votes": votes,
                "disagreement": disagreement,
                "levels": levels,
            }
            return [self.predict_batch([image], **asked)[0] for image in images]
        # One image is not copied: it may be large.
        batch = np.moveaxis(images[0][None] if len(images) == 1 else np.stack(images), -1, -3)  # (B, ..., 3, H, W)
        engine, engines = self.engine, self.engines
        if not (self.others or confidence or scores or threshold is not None or self.inference.slides(height, width)):
            masks = self._with_gaps(engine.labels(self.inference.scores(engine, batch)), images)
            return [Prediction(mask, None, None, self.facts) for mask in masks]
        count = len(images)
        masks = np.empty((count, height, width), np.uint8)
        confidences: Any = np.empty((count, height, width), np.uint8 if levels else np.float32) if confidence else None
        probabilities = np.empty((count, engine.num_classes, height, width), np.float32) if scores else None
        dissents: Any = np.empty((count, height, width), np.uint8 if levels else np.float32) if disagreement else None
        for top, left, each in blocks_of_each(engines, self.inference, batch):
            block = mean_of(engines, each)
            rows, columns = slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1])
            labels = engine.labels(block)
            if votes is not None or disagreement:
                agreeing = count_votes(engines, each, labels)
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
        masks = self._with_gaps(masks, images)
        nothing = [None] * count
        optional = [nothing if found is None else found for found in (confidences, probabilities, dissents)]
        return [
            Prediction(mask, sure, score, self.facts, self._without_gaps(dissent, image))
            for mask, sure, score, dissent, image in zip(masks, *optional, images, strict=True)
        ]

    def check_votes(self, votes: int | None, *, disagreement: bool = False) -> None:
        """Refuses to count votes of one model, or more of them than there are models."""
        count = len(self.engines)
        if count == 1 and (votes is not None or disagreement):
            key = f"votes={votes}" if votes is not None else "disagreement"
            raise ConfigError(
                f"{key}: one model has none to agree with; give several, as in checkpoint=[a.ckpt,b.ckpt]"
            )
        if votes is not None and not 1 <= votes <= count:
            raise ConfigError(f"votes={votes}: must be between 1 and the number of models, {count}")
        if votes is not None and self.facts.dates > 1:
            raise ConfigError(f"votes={votes}: 255 means changed in labels, so no pixel can be left open")

    def _without_gaps(self, dissent: Any, image: ImageArray) -> Any:
        """Returns a disagreement that is 0 where the image has no data."""
        if dissent is not None and (empty := self.facts.bands.without_data(image)) is not None:
            dissent[empty] = 0
        return dissent

    def _with_gaps(self, masks: MaskArray, images: Sequence[ImageArray]) -> MaskArray:
        """Returns masks (B, H, W) that say where the images have no data."""
        for mask, image in zip(masks, images, strict=True):
            if (empty := self.facts.bands.without_data(image)) is not None:
                mask[empty] = IGNORE_INDEX if self.facts.dates == 1 else 0
        return masks
