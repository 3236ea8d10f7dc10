"""Data sets for torch's loaders: they make a sample of a sampler's key, in training and in evaluation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from unimatch.data.check.before_training import size_fault
from unimatch.data.loading.rare_classes import RareClasses
from unimatch.data.loading.samplers import STREAMS, SampleKey, Stream, sample_rng
from unimatch.data.sources.base import Source
from unimatch.errors import DataError, own_errors_explained
from unimatch.images.arrays import ImageArray, LabelArray
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.tensors import to_tensor
from unimatch.types import IGNORE_INDEX

REPLACEMENTS = 8
"""Images that are tried in place of one that cannot be read, before the data set as a whole is held at fault."""

Views = Callable[[np.random.Generator, ImageArray, Any], dict[str, Tensor]]
"""Makes a sample of a generator, an image and its label, if it has one: methods of :class:`Views`."""


class LabeledDataset(Dataset[dict[str, Tensor]]):
    """Makes labelled samples. Positions beyond the list start it again.

    Args:
        source: the images and their masks.
        view: makes a sample of both.
        seed: of the run.
        rare: draws the images, from each sample's own key, instead of taking them in turn; None for in turn.
    """

    def __init__(self, source: Source, view: Views, seed: int, rare: RareClasses | None = None) -> None:
        self.source, self.view, self.seed, self.rare = source, view, seed, rare

    @override
    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index, shown, crops = key[1] % len(self.source), None, 1
        if self.rare is not None:
            # The 3 keeps this apart from the sample's views.
            shown, index = self.rare.draw(np.random.default_rng((self.seed, STREAMS["labeled"], *key, 3)))
            crops = self.rare.crops
        with own_errors_explained(partial(self.source.name, index)):
            return self._sample(key, index, shown, crops)

    def _sample(self, key: SampleKey, index: int, shown: int | None, crops: int) -> dict[str, Tensor]:
        """Makes a sample of an image: the first of some crops that shows a class, or the last."""
        mask = self.source.mask(index)
        if mask is None:
            raise DataError(f"{self.source.name(index)}: has no mask, but is in the labelled list")
        image = self.source.image(index)
        if fault := size_fault(self.source, index, image, mask):  # a view would stretch the mask
            raise DataError(fault)
        rng = sample_rng(self.seed, "labeled", key)
        for _ in range(crops):
            sample = self.view(rng, image, mask)
            if shown is None or (sample["label"] == shown).any():
                break
        return {**sample, "index": torch.tensor(index)}


class UnlabeledDataset(Dataset[dict[str, Tensor]]):
    """Makes unlabelled samples: one weak view of each image, and its strong views.

    Args:
        source: the images.
        views: makes them of an image.
        seed: of the run.
        stream: the random stream from which the views are drawn.
        skip_bad: whether another image, drawn from the sample's own key, takes the place of one that cannot be read.
            Samples then have a field ``bad``, (:data:`REPLACEMENTS`,) int64: the indices of such images, else -1.
    """

    def __init__(
        self, source: Source, views: Views, seed: int, stream: Stream = "unlabeled", *, skip_bad: bool = False
    ) -> None:
        self.source, self.views, self.seed, self.stream, self.skip_bad = source, views, seed, stream, skip_bad

    @override
    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index, image, bad = self._read(key)
        rng = sample_rng(self.seed, self.stream, key)
        with own_errors_explained(partial(self.source.name, index)):
            sample = {**self.views(rng, image, self._truth(index, image)), "index": torch.tensor(index)}
        if self.skip_bad:
            sample["bad"] = torch.tensor(bad + [-1] * (REPLACEMENTS - len(bad)))
        return sample

    def _read(self, key: SampleKey) -> tuple[int, ImageArray, list[int]]:
        """Returns the index and image of a key, or of its first readable replacement; and the bad ones before."""
        index, bad = key[1] % len(self.source), list[int]()
        while True:
            try:
                with own_errors_explained(partial(self.source.name, index)):
                    return index, self.source.image(index), bad
            except DataError as error:
                if not self.skip_bad:
                    raise
                if len(bad) == REPLACEMENTS:
                    raise DataError(f"{len(bad) + 1} unlabelled images in a row cannot be read. {error}") from error
            bad.append(index)
            # The 2 keeps this apart from the sample's views.
            rng = np.random.default_rng((self.seed, STREAMS[self.stream], *key, 2, len(bad)))
            index = int(rng.integers(len(self.source)))

    def _truth(self, index: int, image: ImageArray) -> LabelArray | None:
        """Returns the label that pseudo labels are measured against; a bad one is no reason to stop training."""
        try:
            mask = self.source.mask(index)
        except DataError:
            return None
        return mask if mask is not None and mask.shape in (image.shape[-3:-1], ()) else None


class EvaluationDataset(Dataset[dict[str, Tensor]]):
    """Gives whole images at their own size, and their labels, which do not count where an image has no data."""

    def __init__(self, source: Source, bands: Bands = PHOTOS) -> None:
        self.source, self.bands = source, bands

    def __len__(self) -> int:
        return len(self.source)

    @override
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        with own_errors_explained(partial(self.source.name, index)):
            return self._sample(index)

    def _sample(self, index: int) -> dict[str, Tensor]:
        mask = self.source.mask(index)
        if mask is None:
            raise DataError(f"{self.source.name(index)}: has no mask, so it cannot be evaluated")
        image = self.source.image(index)
        if fault := size_fault(self.source, index, image, mask):
            raise DataError(fault)
        if mask.ndim and (empty := self.bands.without_data(image)) is not None:
            mask = np.where(empty, np.uint8(IGNORE_INDEX), mask)
        return {"image": to_tensor(image), "label": torch.from_numpy(mask), "index": torch.tensor(index)}


def keep_list(samples: list[Any]) -> list[Any]:
    """Returns a batch as the list it is, because images of evaluation differ in size."""
    return samples
