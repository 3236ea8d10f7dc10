import numpy as np
import torch

from unimatch.images.bands import Bands
from unimatch.images.tensors import normalize, to_pixels, to_tensor


def test_tensor_is_channels_first():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    tensor = to_tensor(image)
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    for channel in range(3):
        for row in range(4):
            for column in range(5):
                assert tensor[channel, row, column] == image[row, column, channel]


def test_every_level_of_a_pair_comes_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pair = np.stack([np.stack([levels, levels.T, 255 - levels], -1), np.stack([levels] * 3, -1)])
    assert np.array_equal(to_pixels(normalize(to_tensor(pair))), pair)


def test_each_band_has_its_own_mean_and_deviation():
    bands = Bands((4, 2), mean=(0.5, 0.25), std=(0.1, 0.5))
    image = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 2), dtype=np.uint8)
    normal = normalize(to_tensor(image), bands)
    assert normal.shape == (2, 2, 5, 6)
    for band in range(2):
        expected = (image[..., band] / 255 - bands.mean[band]) / bands.std[band]
        assert np.allclose(normal[:, band].numpy(), expected, atol=1e-5)
    assert np.array_equal(to_pixels(normal, bands), image)
