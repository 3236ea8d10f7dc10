"""Datasets for PyTorch's loaders: they make a sample for each key of a sampler, in training and in evaluation."""

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
"""How many images are tried in place of one that cannot be read, before an error ends the training."""

MakeSample = Callable[[np.random.Generator, ImageArray, Any], dict[str, Tensor]]
"""Makes a sample of a generator, an image and its label or None: a method of :class:`unimatch.augment.Views`."""


class LabeledDataset(Dataset[dict[str, Tensor]]):
    """Makes labelled samples; positions beyond the end of the list start again at its beginning.

    Args:
        source: the images and their masks.
        make_sample: makes a sample of an image and its mask.
        seed: of the run.
        rare: draws the images, each from its sample's key; None takes them in turn.
    """

    def __init__(self, source: Source, make_sample: MakeSample, seed: int, rare: RareClasses | None = None) -> None:
        self.source, self.make_sample, self.seed, self.rare = source, make_sample, seed, rare

    @override
    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index, shown, crops = key[1] % len(self.source), None, 1
        if self.rare is not None:
            # The 3 keeps this generator apart from that of the sample's views.
            shown, index = self.rare.draw(np.random.default_rng((self.seed, STREAMS["labeled"], *key, 3)))
            crops = self.rare.crops
        with own_errors_explained(partial(self.source.name, index)):
            return self._sample(key, index, shown, crops)

    def _sample(self, key: SampleKey, index: int, shown: int | None, crops: int) -> dict[str, Tensor]:
        """Makes a sample of an image: the first of some crops that shows the class ``shown``, or the last one."""
        image, mask = read_labelled(self.source, index, "has no mask, but is in the labelled list")
        rng = sample_rng(self.seed, "labeled", key)
        for _ in range(crops):
            sample = self.make_sample(rng, image, mask)
            if shown is None or (sample["label"] == shown).any():
                break
        return {**sample, "index": torch.tensor(index)}


class UnlabeledDataset(Dataset[dict[str, Tensor]]):
    """Makes unlabelled samples: a weak view of each image, and its strong views.

    Args:
        source: the images.
        make_sample: makes a sample of an image.
        seed: of the run.
        stream: the random stream from which the views are drawn.
        skip_bad: whether an image that cannot be read is replaced by another one, drawn from the sample's key. Samples
            then have a field ``bad``, (:data:`REPLACEMENTS`,) int64: the indices of such images, filled up with -1.
    """

    def __init__(
        self,
        source: Source,
        make_sample: MakeSample,
        seed: int,
        stream: Stream = "unlabeled",
        *,
        skip_bad: bool = False,
    ) -> None:
        self.source, self.make_sample, self.seed = source, make_sample, seed
        self.stream, self.skip_bad = stream, skip_bad

    @override
    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index, image, bad = self._read(key)
        rng = sample_rng(self.seed, self.stream, key)
        with own_errors_explained(partial(self.source.name, index)):
            sample = {**self.make_sample(rng, image, self._truth(index, image)), "index": torch.tensor(index)}
        if self.skip_bad:
            sample["bad"] = torch.tensor(bad + [-1] * (REPLACEMENTS - len(bad)))
        return sample

    def _read(self, key: SampleKey) -> tuple[int, ImageArray, list[int]]:
        """Returns the index and image of a key or of its first readable replacement, and the indices tried before."""
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
            # The 2 keeps this generator apart from that of the sample's views.
            rng = np.random.default_rng((self.seed, STREAMS[self.stream], *key, 2, len(bad)))
            index = int(rng.integers(len(self.source)))

    def _truth(self, index: int, image: ImageArray) -> LabelArray | None:
        """Returns the label with which pseudo labels are compared; None if there is none that can be used."""
        try:
            mask = self.source.mask(index)
        except DataError:
            return None
        return mask if mask is not None and mask.shape in (image.shape[-3:-1], ()) else None


class EvaluationDataset(Dataset[dict[str, Tensor]]):
    """Returns whole images at their own size, and their labels, in which pixels without data are ignored."""

    def __init__(self, source: Source, bands: Bands = PHOTOS) -> None:
        self.source, self.bands = source, bands

    def __len__(self) -> int:
        return len(self.source)

    @override
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        with own_errors_explained(partial(self.source.name, index)):
            return self._sample(index)

    def _sample(self, index: int) -> dict[str, Tensor]:
        image, mask = read_labelled(self.source, index, "has no mask, so it cannot be evaluated")
        if mask.ndim and (empty := self.bands.without_data(image)) is not None:
            mask = np.where(empty, np.uint8(IGNORE_INDEX), mask)
        return {"image": to_tensor(image), "label": torch.from_numpy(mask), "index": torch.tensor(index)}


def read_labelled(source: Source, index: int, without_mask: str) -> tuple[ImageArray, LabelArray]:
    """Returns an image and its label.

    Raises:
        DataError: either cannot be read, they differ in size, or there is no label, as ``without_mask`` says.
    """
    mask = source.mask(index)
    if mask is None:
        raise DataError(f"{source.name(index)}: {without_mask}")
    image = source.image(index)
    if fault := size_fault(source, index, image, mask):
        raise DataError(fault)
    return image, mask


def keep_list(samples: list[Any]) -> list[Any]:
    """Collates a batch as a list, because images of evaluation differ in size."""
    return samples
