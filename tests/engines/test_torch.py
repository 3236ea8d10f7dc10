import numpy as np
import pytest
import torch

from helpers.support import PixelModel
from unimatch.engines.torch import TorchEngine
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD


def test_colours_are_normalised_as_in_training():
    model = PixelModel().eval()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 6, 8), dtype=np.uint8)
    mean, std = (np.array(value, np.float32).reshape(3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
    expected = model(torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std))
    torch.testing.assert_close(TorchEngine(model).logits(pixels), expected, atol=1e-5, rtol=1e-5)


def test_half_precision_gives_float32_that_is_close():
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, half = (TorchEngine(PixelModel().eval(), kind).logits(images) for kind in ("float32", "bfloat16"))
    assert half.dtype == torch.float32
    assert 0 < (half - plain).abs().max() < 0.1


@torch.no_grad()
def test_mirrored_images_give_logits_as_the_images_lie():
    model = PixelModel().eval()
    engine = TorchEngine(model)
    images = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(engine.logits(images, flipped=True), model(images.flip(-1)).flip(-1))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, 6, 8), dtype=np.uint8)
    assert torch.equal(engine.logits(pixels, flipped=True), engine.logits(pixels[..., ::-1]).flip(-1))


def test_an_unknown_precision_is_refused():
    with pytest.raises(AttributeError, match="float17"):
        TorchEngine(PixelModel().eval(), "float17")
