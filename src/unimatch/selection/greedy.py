"""Chooses the images that together represent a set best: greedily, by facility location and coverage.

Both are monotone and submodular, so that a greedy choice is at least 63% as good as the best one (Nemhauser, Wolsey and
Fisher 1978). As gains only shrink while images are chosen, a gain that was computed is an upper bound of the same gain
later, so that most gains are never computed again (the lazy greedy algorithm of Minoux 1978).
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
"""The most images whose representation facility location measures, spread evenly over the set."""

BLOCK = 1024
"""Candidates whose first gains are computed together."""

TOGETHER = 256
"""The most candidates whose gains are computed anew together: 1, then 2, 4 ... until the best of all is known."""


@dataclass
class Coverage:
    """The value of the chosen images: how much they show of each kind of patch, and how well they represent the others.

    Args:
        features: (N, D), a row of unit length for each image; float16 is enough.
        histogram: (N, K), the shares of each image's patches that are of each kind; rows sum to 1.
        likeness: weight of facility location relative to coverage.
    """

    features: NDArray[np.floating]
    histogram: Floats
    likeness: float
    nearest: Floats = field(init=False)
    """(M,), the similarity of each represented image to the chosen image that is most similar to it."""
    shown: Floats = field(init=False)
    """(K,), the sum of the chosen images' histograms."""

    def __post_init__(self) -> None:
        step = math.ceil(len(self.features) / SAMPLE)
        self.represented = self.features[::step].astype(np.float32)
        self.nearest = np.zeros(len(self.represented), np.float32)
        self.shown = np.zeros(self.histogram.shape[1], np.float32)
        self.whole = np.sqrt(self.histogram.sum(axis=0)).sum()  # makes the coverage of all images together 1

    def gains(self, images: Sequence[int] | NDArray[np.intp]) -> Floats:
        """Returns by how much the value would rise if each of these images alone were chosen next."""
        features = self.features[images].astype(np.float32)
        closer = np.maximum(features @ self.represented.T, self.nearest).mean(axis=1) - self.nearest.mean()
        shown = np.sqrt(self.shown + self.histogram[images]) - np.sqrt(self.shown)
        gains: Floats = shown.sum(axis=1) / self.whole + self.likeness * closer
        return gains

    def choose(self, image: int) -> None:
        """Adds an image to the chosen ones."""
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
    """Chooses images one after the other, each time the one whose gain times its weight is largest.

    Args:
        count: how many to choose.
        coverage: the value of choices; the given and the chosen images are added to it.
        given: images that count as chosen already, such as labelled ones.
        weights: (N,), at least 0, such as how unsure a model is of each image; None for 1.
        groups: the group of each image, such as its drive or scanner: no group gets more than an even share of
            ``count``, rounded up, while other groups have images left.

    Returns:
        Indices, the best first. The result is deterministic: of images with equal gains the first one is chosen.

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
    known: set[int] = set()  # images whose bound is their gain given the images chosen so far
    together = 1
    while len(chosen) < count:
        if not bounds:  # all groups that have images left have had their share
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
            recomputed = [image]
            while bounds and len(recomputed) < together and bounds[0][1] not in known:
                recomputed.append(heapq.heappop(bounds)[1])
            gains = (coverage.gains(recomputed) * weight[recomputed]).astype(float)
            for gain, candidate in zip(gains, recomputed, strict=True):
                heapq.heappush(bounds, (-gain, candidate))
            known.update(recomputed)
            together = min(2 * together, TOGETHER)
    return chosen


def check_count(count: int, total: int, given: int) -> None:
    """Checks that ``count`` images can be chosen of ``total``, of which ``given`` are labelled.

    Raises:
        ConfigError: it is below 1 or above the number of the others.
    """
    if given == total:
        raise ConfigError(f"n={count}: all {total} photos are labelled already")
    if not 1 <= count <= total - given:
        raise ConfigError(f"n={count}: must be 1 to {total - given}, the number of photos that are not labelled yet")


def first_gains(coverage: Coverage, images: Sequence[int]) -> NDArray[np.float64]:
    """Returns the gains of all candidates, computed block by block."""
    blocks = [coverage.gains(images[start : start + BLOCK]) for start in range(0, len(images), BLOCK)]
    return np.concatenate(blocks).astype(float)
