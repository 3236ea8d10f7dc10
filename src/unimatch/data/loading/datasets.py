"""Samples and their order: both functions of the seed, so that a run does not depend on its workers.

A sampler hands out :data:`SampleKey` values, not plain indices: the epoch travels with the index, so a data
set needs no state, and each sample's views are drawn from (seed, stream, epoch, position). The labelled and the
unlabelled loader have streams of their own: methods that differ in one see the same of the other.
"""

from collections.abc import Callable, Iterator
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from unimatch.augment.views import to_tensor
from unimatch.data.sources.base import Source
from unimatch.errors import DataError
from unimatch.images import ImageArray, LabelArray

SampleKey = tuple[int, int]
"""(epoch, position in the epoch's list)."""

STREAMS = {"labeled": 1, "unlabeled": 2, "partner": 3}
"""A number for each random stream."""

REPLACEMENTS = 8
"""Images that are tried in the place of one that cannot be read; then the data set as a whole is at fault."""

Stream = Literal["labeled", "unlabeled", "partner"]

Views = Callable[[np.random.Generator, ImageArray, Any], dict[str, Tensor]]
"""From an image and what :meth:`Source.mask` gives of it to a sample."""


class TrainSampler(DistributedSampler):
    """Every position of an epoch's list at most once, in an order drawn from (seed, stream, epoch).

    A step is shared by ``P`` parts of ``batch_size`` images: part ``p`` takes every ``P``-th key of the step's from the
    ``p``-th. There is a part for each process, or there are several that it takes one after the other: then process
    ``r`` of ``W`` takes parts ``r``, ``r + W`` and so on. So a part holds the same samples at any number of processes.
    Positions that do not fill a step are left out, but where up to ``P - 1`` more would fill one, the first of the
    order are taken again: the published runs have as many steps an epoch. (It is a ``DistributedSampler`` so that
    Lightning keeps it as it is.)

    Args:
        length: of the epoch, all processes together.
        population: of the list the epoch is drawn from, where it is longer than the epoch; each epoch then draws
            others of it.
        batch_size: images of a part.
        seed: of the run.
        stream: whose order this is.
        parts: of a step that each process takes, ``P / W``.
        num_replicas: number of processes ``W``.
        rank: of this process, ``r``.
        start: (epoch, batches of it that are done): the first epoch to draw, whose done batches are left out. The
            length counts them nevertheless, as Lightning does when it resumes inside an epoch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        stream: Stream,
        population: int | None = None,
        parts: int = 1,
        num_replicas: int = 1,
        rank: int = 0,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self.population, self.seed, self.stream = max(population or 0, length), seed, stream
        self.num_replicas, self.rank = num_replicas, rank
        self.epoch, self.start = start[0], start
        self.batch_size, self.parts = batch_size, parts
        self.steps = ceil(length / (parts * num_replicas)) // batch_size
        self.num_samples = self.steps * parts * batch_size

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng((self.seed, STREAMS[self.stream], self.epoch)).permutation(self.population)
        # np.resize cuts the order, or starts it again.
        shared = np.resize(order, (self.steps, self.batch_size, self.parts, self.num_replicas))
        mine = shared[..., self.rank].transpose(0, 2, 1).ravel()
        done = self.start[1] * self.batch_size if self.epoch == self.start[0] else 0
        epoch = self.epoch  # may be set while the keys are handed out
        return ((epoch, int(position)) for position in mine[done:])  # a list of a million would take 100 MB


class EvaluationSampler(DistributedSampler):
    """Process ``r`` of ``W`` takes every ``W``-th image from the ``r``-th: each image exactly once, none padded."""

    def __init__(self, length: int, *, num_replicas: int = 1, rank: int = 0) -> None:
        self.indices = range(rank, length, num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """The order is always the same."""

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def sample_rng(seed: int, stream: Stream, key: SampleKey) -> np.random.Generator:
    """The generator from which all of one sample's views are drawn."""
    # The 1 keeps this apart from the sampler's own generator, whose entropy has three words.
    return np.random.default_rng((seed, STREAMS[stream], *key, 1))


class LabeledDataset(Dataset[dict[str, Tensor]]):
    """Labelled images, each as one view. Positions beyond the list start it again."""

    def __init__(self, source: Source, view: Views, seed: int) -> None:
        self.source, self.view, self.seed = source, view, seed

    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index = key[1] % len(self.source)
        mask = self.source.mask(index)
        if mask is None:
            raise DataError(f"{self.source.name(index)}: has no mask, but is in the labelled list")
        sample = self.view(sample_rng(self.seed, "labeled", key), self.source.image(index), mask)
        return {**sample, "index": torch.tensor(index)}


class UnlabeledDataset(Dataset[dict[str, Tensor]]):
    """Unlabelled images, each as one weak view and its strong views.

    Args:
        source: the images.
        views: of an image.
        seed: of the run.
        stream: whose order and views these are.
        skip_bad: whether another image, drawn from the sample's own key, takes the place of one that cannot be read.
            Samples then have a field ``bad``, (:data:`REPLACEMENTS`,) int64: the indices of such images, else -1.
    """

    def __init__(
        self,
        source: Source,
        views: Views,
        seed: int,
        stream: Stream = "unlabeled",
        *,
        skip_bad: bool = False,
    ) -> None:
        self.source, self.views, self.seed, self.stream, self.skip_bad = source, views, seed, stream, skip_bad

    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        index, image, bad = self._read(key)
        rng = sample_rng(self.seed, self.stream, key)
        sample = {**self.views(rng, image, self._truth(index, image)), "index": torch.tensor(index)}
        if self.skip_bad:
            sample["bad"] = torch.tensor(bad + [-1] * (REPLACEMENTS - len(bad)))
        return sample

    def _read(self, key: SampleKey) -> tuple[int, ImageArray, list[int]]:
        """The image of a key, or the first readable one of its replacements; and the indices of those before it."""
        index, bad = key[1] % len(self.source), list[int]()
        while True:
            try:
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
        """The mask that pseudo labels are measured against; a bad one is no reason to stop training."""
        try:
            mask = self.source.mask(index)
        except DataError:
            return None
        return mask if mask is not None and mask.shape in (image.shape[-3:-1], ()) else None


class EvaluationDataset(Dataset[dict[str, Tensor]]):
    """Images at their own size with their masks."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        mask = self.source.mask(index)
        if mask is None:
            raise DataError(f"{self.source.name(index)}: has no mask, so it cannot be evaluated")
        image = to_tensor(self.source.image(index))
        return {"image": image, "label": torch.from_numpy(mask), "index": torch.tensor(index)}


def keep_list(samples: list[Any]) -> list[Any]:
    """The collate function of evaluation: images of different sizes stay a list."""
    return samples
