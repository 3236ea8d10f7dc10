import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.support import PixelModel
from unimatch import ConfigError, Inference
from unimatch.engines.sliding_window import sliding_blocks, window_starts
from unimatch.engines.torch import TorchEngine
from unimatch.engines.whole_image import whole_image_logits


def make_model(**options):
    return PixelModel(**options).eval()


MODEL = make_model()


def slow(model, image, window, stride):
    """SPEC section 4: softmax summed over windows, the last of a row or column moved back to end with the image."""
    height, width = image.shape[-2:]
    total = torch.zeros(1, model.num_classes, height, width)
    top = 0
    while True:
        left = 0
        while True:
            crop = image[:, :, top : top + window, left : left + window]
            probability = whole_image_logits(model, crop).softmax(1)
            total[:, :, top : top + window, left : left + window] += probability
            if left + window >= width:
                break
            left = min(left + stride, width - window)
        if top + window >= height:
            break
        top = min(top + stride, height - window)
    return total


def image_of(height, width, batch=1):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 30), st.data())
def test_any_size_window_and_stride_equal_the_plain_loop(height, width, window, data):
    stride = data.draw(st.integers(max(1, window // 3), window))
    image = image_of(height, width)
    scores = Inference("sliding", window=window, stride=stride).scores(TorchEngine(MODEL), image)
    expected = slow(MODEL, image, window, stride)
    torch.testing.assert_close(scores, expected / expected.sum(1, keepdim=True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(50, 70), (20, 70), (50, 20), (17, 23), (28, 28), (29, 28)])
@pytest.mark.parametrize("classes", [2, 19, 150])
def test_patches_and_any_class_count(size, classes):
    model = make_model(num_classes=classes, size_multiple=14)
    image = image_of(*size)
    scores = Inference("sliding", window=28).scores(TorchEngine(model), image)
    expected = slow(model, image, 28, 18)  # floor(28 * 2 / 3)
    assert torch.equal(scores.argmax(1), expected.argmax(1))
    torch.testing.assert_close(scores.sum(1), torch.ones(1, *size))


def test_cityscapes_windows_lie_as_published():
    """2048 x 1024, window 798, stride 532: three columns and two rows, the last ones moved back to the border."""
    model = make_model(num_classes=2, size_multiple=14)
    asked = []
    engine = TorchEngine(model)
    image = torch.zeros(1, 3, 1024, 2048)
    image[0, 0] = torch.arange(1024)[:, None]
    image[0, 1] = torch.arange(2048)

    def predict(window):
        asked.append((int(window[0, 0, 0, 0]), int(window[0, 1, 0, 0]), *window.shape[-2:]))
        return torch.zeros(1, 2, *window.shape[-2:])

    list(sliding_blocks(engine, image, predict, window=798, stride=532))
    assert asked == [(top, left, 798, 798) for top in (0, 226) for left in (0, 532, 1064, 1250)]


def test_one_window_over_the_image_is_the_whole_image():
    model, image = make_model(size_multiple=14), image_of(30, 45)
    whole = whole_image_logits(model, image)
    for window in (45, 46, 500):
        scores = Inference("sliding", window=window).scores(TorchEngine(model), image)
        torch.testing.assert_close(scores, whole.softmax(1))
        assert torch.equal(scores.argmax(1), whole.argmax(1))


def test_whole_gives_the_logits_themselves():
    model, image = make_model(), image_of(20, 30)
    assert torch.equal(Inference().scores(TorchEngine(model), image), whole_image_logits(model, image))


def test_a_batch_equals_its_images():
    engine, images = TorchEngine(make_model()), image_of(40, 50, batch=3)
    rule = Inference("sliding", window=24, flip=True, scales=(0.5, 1.0))
    one_by_one = torch.cat([rule.scores(engine, image[None]) for image in images])
    torch.testing.assert_close(rule.scores(engine, images), one_by_one)


class CountingEngine(TorchEngine):
    """Notes how many numbers each array it makes has."""

    def __init__(self, model):
        super().__init__(model)
        self.made = []

    def zeros(self, *shape):
        self.made.append(int(np.prod(shape)))
        return super().zeros(*shape)


@pytest.mark.parametrize(("stride", "shared"), [(None, 12), (5, 23)])  # rows of the last windows, which are moved back
def test_blocks_cover_the_image_once_and_memory_is_that_of_overlapping_rows(stride, shared):
    engine, image = CountingEngine(make_model()), image_of(100, 70)
    rule = Inference("sliding", window=24, stride=stride)
    scores, covered = rule.scores(engine, image), np.zeros((100, 70), int)
    engine.made.clear()
    for top, left, block in rule.blocks(engine, image):
        rows, columns = slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1])
        assert max(block.shape[-2:]) <= 24
        assert torch.equal(block, scores[..., rows, columns])
        covered[rows, columns] += 1
    assert (covered == 1).all()
    assert engine.made == [4 * shared * 70]


@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_scales_and_flips_are_averaged_as_probabilities(mode):
    model, image = make_model(size_multiple=7), image_of(21, 35)
    rule = Inference(mode, window=35, scales=(0.5, 1.0, 1.4), flip=True)
    expected = torch.zeros(1, 4, 21, 35)
    for size in ((14, 21), (21, 35), (28, 49)):  # 10.5 and 17.5, 21 and 35, 29.4 and 49, to the nearest seven
        resized = torch.nn.functional.interpolate(image, size, mode="bilinear", align_corners=True)
        for flipped in (False, True):
            seen = torch.from_numpy(resized.numpy()[..., ::-1].copy()) if flipped else resized
            logits = model(seen).detach()
            logits = torch.from_numpy(logits.numpy()[..., ::-1].copy()) if flipped else logits
            logits = torch.nn.functional.interpolate(logits, (21, 35), mode="bilinear", align_corners=True)
            expected += logits.softmax(1) / 6
    torch.testing.assert_close(rule.scores(TorchEngine(model), image), expected, atol=1e-5, rtol=1e-5)


def test_one_scale_other_than_1_is_used_alone():
    model = make_model(size_multiple=7)
    Inference(scales=(2.0,)).scores(TorchEngine(model), image_of(21, 35))
    assert model.seen == [(42, 70)]


def test_large_images_are_seen_in_windows():
    model = make_model()
    rule = Inference(window=30, large=1000)
    rule.scores(TorchEngine(model), image_of(20, 50))
    assert model.seen == [(20, 50)]
    model.seen.clear()
    rule.scores(TorchEngine(model), image_of(21, 50))
    assert model.seen == [(21, 30), (21, 30)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "slide"}, "^mode=slide"),
        ({"window": 0}, "^window=0"),
        ({"window": 8, "stride": 9}, "^stride=9"),
        ({"stride": 0}, "^stride=0"),
        ({"scales": ()}, "^scales"),
        ({"scales": [1.0, -1.0]}, "^scales"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Inference(**settings)


@given(st.integers(1, 500), st.integers(1, 100), st.data())
def test_windows_cover_every_pixel_and_stay_inside(side, window, data):
    stride = data.draw(st.integers(1, window))
    starts = window_starts(side, window, stride)
    covered = np.zeros(side, bool)
    for start in starts:
        assert start >= 0
        assert start + window <= max(side, window)
        covered[start : start + window] = True
    assert covered.all()
    assert starts == sorted(set(starts))
