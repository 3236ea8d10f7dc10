import numpy as np
import pytest
import torch

from helpers.support import PixelModel
from unimatch.engines.test_time import Inference
from unimatch.engines.torch import TorchEngine
from unimatch.errors import ConfigError


@pytest.fixture
def engine():
    return TorchEngine(PixelModel().eval())


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_one_whole_look_gives_logits(engine, images):
    assert torch.equal(Inference().scores(engine, images), engine.logits(images))


@torch.no_grad()
def test_scales_and_flips_are_averaged_as_probabilities(engine, images):
    found = Inference(scales=(1.0, 0.5), flip=True).scores(engine, images)
    looks = [engine.logits(images, scale, flipped=flipped) for scale in (1.0, 0.5) for flipped in (False, True)]
    torch.testing.assert_close(found, torch.stack([look.softmax(1) for look in looks]).mean(0))


@pytest.mark.parametrize("rule", [{}, {"mode": "sliding", "window": 5, "stride": 3}, {"large": 20, "window": 5}])
@torch.no_grad()
def test_blocks_cover_the_image_once_with_the_scores(rule, engine, images):
    inference = Inference(**rule)
    covered, total = np.zeros((8, 12), int), torch.zeros(2, 4, 8, 12)
    for top, left, block in inference.blocks(engine, images):
        place = (slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1]))
        covered[place] += 1
        total[(..., *place)] = block
    assert (covered == 1).all()
    torch.testing.assert_close(total.sum(1), torch.ones(2, 8, 12))
    expected = inference.scores(engine, images)
    torch.testing.assert_close(total, expected if rule else expected.softmax(1))


@torch.no_grad()
def test_two_thirds_of_a_window_is_the_step(engine, images):
    found = Inference("sliding", window=5).scores(engine, images)
    assert torch.equal(found, Inference("sliding", window=5, stride=3).scores(engine, images))


def test_images_of_more_pixels_than_the_limit_are_seen_in_windows():
    assert [Inference(large=96).slides(*size) for size in ((8, 12), (8, 13))] == [False, True]
    assert Inference("sliding").slides(1, 1)
    assert not Inference().slides(10**5, 10**5)


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "both"},
        {"window": 0},
        {"stride": 0},
        {"window": 5, "stride": 6},
        {"scales": ()},
        {"scales": (1, 0)},
        {"scales": (float("nan"),)},
        {"scales": (float("inf"),)},
        {"large": -1},
    ],
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ConfigError, match=f"^{list(bad)[-1]}="):
        Inference(**bad)
