import numpy as np

from unimatch.selection.patch_clusters import find_kinds, nearest_of, shares


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_kinds_that_are_far_apart_are_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    patches = unit(np.eye(4)[truth] + rng.normal(0, 0.05, (400, 4)))
    centres = next(c for c in (find_kinds(patches, 4, seed) for seed in range(20)) if len(set(c.argmax(1))) == 4)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    assert (centres.argmax(1)[nearest_of(patches, centres)] == truth).all()
    np.testing.assert_allclose(shares(patches, centres)[centres.argmax(1).argsort()], np.bincount(truth) / 400)


def test_each_round_moves_a_centre_to_the_mean_of_its_patches():
    patches = unit(np.random.default_rng(1).normal(size=(60, 5)))
    centres = find_kinds(patches, 6, 3)
    again = find_kinds(patches, 6, 3)
    assert (centres == again).all()
    for kind, centre in enumerate(centres):  # it has come to rest
        mine = patches[nearest_of(patches, centres) == kind]
        np.testing.assert_allclose(centre, mine.sum(axis=0) / np.linalg.norm(mine.sum(axis=0)), atol=1e-5)


def test_fewer_patches_than_kinds_are_a_kind_each():
    patches = unit(np.eye(3))
    assert sorted(map(tuple, find_kinds(patches, 8, 0).tolist())) == sorted(map(tuple, patches.tolist()))
