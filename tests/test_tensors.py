import numpy as np
import torch

from unimatch.tensors import normalize, to_pixels, to_tensor


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
