"""The order of samples: a function of the seed, so that a run does not depend on its workers.

A sampler hands out :data:`SampleKey` values, not plain indices: the epoch travels with the index, so a data
set needs no state, and each sample's views are drawn from (seed, stream, epoch, position). The labelled and the
unlabelled loader have streams of their own: methods that differ in one see the same of the other.
"""

from collections.abc import Iterator
from math import ceil
from typing import Literal

import numpy as np
from torch.utils.data import DistributedSampler

SampleKey = tuple[int, int]
"""(epoch, position in the epoch's list)."""

STREAMS = {"labeled": 1, "unlabeled": 2, "partner": 3}
"""A number for each random stream."""

Stream = Literal["labeled", "unlabeled", "partner"]


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
