import numpy as np
import torch

from unimatch.engines.onnx import resize


def test_resizing_in_numpy_is_pytorchs():
    array = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(np.float32)
    for size in ((14, 28), (7, 5), (3, 9), (1, 1), (7, 9)):
        expected = torch.nn.functional.interpolate(torch.from_numpy(array), size, mode="bilinear", align_corners=True)
        np.testing.assert_allclose(resize(array, size), expected.numpy(), atol=1e-5)
