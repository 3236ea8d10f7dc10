"""Chooses the images that together show most of a set: facility location and coverage, by one greedy.

Both grow with every image chosen, and by less the more are chosen, so that a greedy choice is at least 63% as good as
the best one (Nemhauser, Wolsey and Fisher 1978). That they grow by less also means that a gain which has been worked
out is a bound of that gain later: most are never worked out again (Minoux 1978).
"""

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unimatch.errors import ConfigError

Floats = NDArray[np.float32]

SAMPLE = 10_000
"""Images that facility location asks how well they are represented, at most: spread evenly over the set."""

BLOCK = 1024
"""Candidates whose first gains are worked out together."""

TOGETHER = 256
"""Candidates whose gains are worked out anew together, at most: 1, then 2, 4 ... while none of them is the best."""


@dataclass
class Coverage:
    """How much the chosen images show of each kind of patch, and how like the others they are.

    Args:
        features: (N, D) of unit length, one row an image; halves are enough.
        histogram: (N, K) of each image, the share of its patches that is of each kind; rows sum to 1.
        likeness: weight of facility location beside coverage.
    """

    features: NDArray[np.floating]
    histogram: Floats
    likeness: float
    nearest: Floats = field(init=False)
    """(M,) of each represented image, its likeness to the chosen image that is most like it."""
    shown: Floats = field(init=False)
    """(K,) the sum of the chosen images' histograms."""

    def __post_init__(self) -> None:
        step = -(-len(self.features) // SAMPLE)
        self.represented = self.features[::step].astype(np.float32)
        self.nearest = np.zeros(len(self.represented), np.float32)
        self.shown = np.zeros(self.histogram.shape[1], np.float32)
        self.whole = np.sqrt(self.histogram.sum(axis=0)).sum()  # so that all images together have the value 1

    def gains(self, images: Sequence[int] | NDArray[np.intp]) -> Floats:
        """Returns by how much the value rises if each of these images is chosen next."""
        features = self.features[images].astype(np.float32)
        alike = np.maximum(features @ self.represented.T, self.nearest).mean(axis=1) - self.nearest.mean()
        shows = np.sqrt(self.shown + self.histogram[images]) - np.sqrt(self.shown)
        gains: Floats = shows.sum(axis=1) / self.whole + self.likeness * alike
        return gains

    def choose(self, image: int) -> None:
        """Takes an image in."""
        self.nearest = np.maximum(self.nearest, self.represented @ self.features[image].astype(np.float32))
        self.shown = self.shown + self.histogram[image]


def choose(
    count: int,
    coverage: Coverage,
    *,
    given: Sequence[int] = (),
    weights: Floats | None = None,
    groups: Sequence[str] | None = None,
) -> list[int]:
    """Chooses images one after the other: each time the one whose gain, times its weight, is largest.

    Args:
        count: how many.
        coverage: of the set; it takes in what is given and what is chosen.
        given: images that count as chosen already, such as labelled ones.
        weights: of each image, at least 0, such as how unsure a model is of it; None for 1.
        groups: of each image, such as the drive or the scanner it is from: while another group has images left, none
            gets more than its even share of the ``count``, rounded up.

    Returns:
        Indices, the best first. The same each time: of equal gains the first image's counts.

    Raises:
        ConfigError: there are not that many images besides the given ones.
    """
    total = len(coverage.features)
    left = sorted(set(range(total)) - set(given))
    check_count(count, total, total - len(left))
    for image in given:
        coverage.choose(image)
    weight = np.ones(total, np.float32) if weights is None else weights
    names = ["" for _ in range(total)] if groups is None else list(groups)
    share = math.ceil(count / len({names[image] for image in left}))
    bounds = [(-gain, image) for image, gain in zip(left, first_gains(coverage, left) * weight[left], strict=True)]
    heapq.heapify(bounds)
    chosen: list[int] = []
    taken: Counter[str] = Counter()
    set_aside: list[tuple[float, int]] = []
    known: set[int] = set()  # whose bound is the gain beside what is chosen now
    together = 1
    while len(chosen) < count:
        if not bounds:  # the groups that have images left have had their share
            bounds, set_aside, share = set_aside, [], share + 1
            heapq.heapify(bounds)
        bound, image = heapq.heappop(bounds)
        if taken[names[image]] >= share:
            set_aside.append((bound, image))
        elif image in known:
            coverage.choose(image)
            chosen.append(image)
            taken[names[image]] += 1
            known.clear()
            together = 1
        else:
            tried = [image]
            while bounds and len(tried) < together and bounds[0][1] not in known:
                tried.append(heapq.heappop(bounds)[1])
            for gain, candidate in zip((coverage.gains(tried) * weight[tried]).astype(float), tried, strict=True):
                heapq.heappush(bounds, (-gain, candidate))
            known.update(tried)
            together = min(2 * together, TOGETHER)
    return chosen


def check_count(count: int, total: int, given: int) -> None:
    """Refuses to choose none of ``total`` images, or more than are left beside the ``given`` ones."""
    if given == total:
        raise ConfigError(f"n={count}: all {total} photos are labelled already")
    if not 1 <= count <= total - given:
        raise ConfigError(f"n={count}: must be 1 to {total - given}, the number of photos that are not labelled yet")


def first_gains(coverage: Coverage, images: Sequence[int]) -> NDArray[np.float64]:
    """Returns the gains of all candidates, worked out block by block."""
    blocks = [coverage.gains(images[start : start + BLOCK]) for start in range(0, len(images), BLOCK)]
    return np.concatenate(blocks).astype(float)
