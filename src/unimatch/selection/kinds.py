"""Sorts patches into kinds, by k-means, and says how much of each kind an image shows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROUNDS = 15
"""Of k-means; later ones move little."""


def find_kinds(patches: Floats, count: int, seed: int) -> Floats:
    """Returns the centres (count, E) of unit length that k-means on the sphere finds in patches (P, E) of unit length.

    A centre that no patch is nearest to stays where it is. Fewer patches than ``count`` give as many centres.
    """
    generator = np.random.default_rng(seed)
    centres = patches[generator.permutation(len(patches))[:count]]
    for _ in range(ROUNDS):
        nearest = nearest_of(patches, centres)
        sums = np.stack([patches[nearest == kind].sum(axis=0) for kind in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return centres


def nearest_of(patches: Floats, centres: Floats) -> NDArray[np.intp]:
    """Returns for each patch (P, E) the number of the centre that is most like it."""
    return (patches @ centres.T).argmax(axis=1)


def shares(patches: Floats, centres: Floats) -> Floats:
    """Returns (K,) which share of an image's patches is nearest to each centre."""
    counts: Floats = np.bincount(nearest_of(patches, centres), minlength=len(centres)).astype(np.float32)
    return counts / np.float32(len(patches))
