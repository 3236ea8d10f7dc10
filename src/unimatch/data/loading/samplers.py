"""Samplers: the order of samples is a function of the seed, so that a run does not depend on its workers.

A sampler yields :data:`SampleKey` values instead of indices: they carry the epoch, so that a dataset needs no state,
and each sample's views are drawn from (seed, stream, epoch, position). The labelled and the unlabelled loader have
separate streams: methods that differ in one see the same samples in the other.
"""

from collections.abc import Iterator
from math import ceil
from typing import Literal

import numpy as np
from torch.utils.data import DistributedSampler
from typing_extensions import override

SampleKey = tuple[int, int]
"""(epoch, position in the epoch's list)."""

STREAMS = {"labeled": 1, "unlabeled": 2, "partner": 3}
"""The number of each random stream in seeds."""

Stream = Literal["labeled", "unlabeled", "partner"]


class TrainSampler(DistributedSampler):
    """Yields each position of an epoch's list at most once, in an order drawn from (seed, stream, epoch).

    Each step is split into ``P`` parts of ``batch_size`` images; part ``p`` gets the step's keys ``p``, ``p + P``,
    ``p + 2P`` and so on. Process ``r`` of ``W`` takes parts ``r``, ``r + W`` and so on, one after the other, so that a
    part holds the same samples for any number of processes. Positions that do not fill a step are left out, unless
    fewer than ``P`` are missing: the first positions are then taken again, which gives the published number of steps.
    (It is a ``DistributedSampler`` because Lightning replaces other samplers.)

    Args:
        length: of the epoch, all processes together.
        population: length of the whole list, if it is longer than an epoch; each epoch then draws other positions.
        batch_size: images of a part.
        seed: of the run.
        stream: the random stream from which the order is drawn.
        parts: how many parts of a step each process takes, ``P / W``.
        num_replicas: number of processes ``W``.
        rank: of this process, ``r``.
        start: (epoch, number of its batches that are done): the epoch to begin with, without these batches. The length
            includes them nevertheless, as Lightning expects when it resumes inside an epoch.
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

    @override
    def __len__(self) -> int:
        return self.num_samples

    @override
    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng((self.seed, STREAMS[self.stream], self.epoch)).permutation(self.population)
        # np.resize cuts the order, or repeats its beginning.
        shared = np.resize(order, (self.steps, self.batch_size, self.parts, self.num_replicas))
        mine = shared[..., self.rank].transpose(0, 2, 1).ravel()
        done = self.start[1] * self.batch_size if self.epoch == self.start[0] else 0
        epoch = self.epoch  # may be set while the keys are yielded
        return ((epoch, int(position)) for position in mine[done:])  # a list of a million would take 100 MB


class EvaluationSampler(DistributedSampler):
    """Yields the images ``r``, ``r + W`` and so on in process ``r`` of ``W``: each image in exactly one process.

    With ``padded``, all processes get equally many: the first images follow the last one again.
    """

    def __init__(self, length: int, *, num_replicas: int = 1, rank: int = 0, padded: bool = False) -> None:
        end = ceil(length / num_replicas) * num_replicas if padded else length
        self.indices = [position % length for position in range(rank, end, num_replicas)]

    @override
    def set_epoch(self, epoch: int) -> None:
        pass  # the order is always the same

    @override
    def __len__(self) -> int:
        return len(self.indices)

    @override
    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def sample_rng(seed: int, stream: Stream, key: SampleKey) -> np.random.Generator:
    """Returns the generator from which all of one sample's views are drawn."""
    # The 1 keeps this generator apart from that of the sampler, whose seed has three words.
    return np.random.default_rng((seed, STREAMS[stream], *key, 1))
