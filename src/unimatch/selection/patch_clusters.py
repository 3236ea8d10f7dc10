"""Clusters patches into kinds by spherical k-means, and measures how much of each kind an image shows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ITERATIONS = 15
"""Iterations of k-means; later ones change little."""


def find_kinds(patches: Floats, count: int, seed: int) -> Floats:
    """Returns the cluster centres (count, E) of patches (P, E), both of unit length.

    A centre that is nearest to no patch stays where it is. If there are fewer than ``count`` patches, there are as many
    centres as patches.
    """
    generator = np.random.default_rng(seed)
    centres = patches[generator.permutation(len(patches))[:count]]
    for _ in range(ITERATIONS):
        nearest = nearest_of(patches, centres)
        sums = np.stack([patches[nearest == kind].sum(axis=0) for kind in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return centres


def nearest_of(patches: Floats, centres: Floats) -> NDArray[np.intp]:
    """Returns (P,), the index of the centre that is most similar to each patch (P, E)."""
    return (patches @ centres.T).argmax(axis=1)


def shares(patches: Floats, centres: Floats) -> Floats:
    """Returns (K,), the share of an image's patches that is nearest to each centre."""
    counts: Floats = np.bincount(nearest_of(patches, centres), minlength=len(centres)).astype(np.float32)
    return counts / np.float32(len(patches))
