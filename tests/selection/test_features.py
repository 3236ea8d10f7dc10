import numpy as np
import pytest
import torch

from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD
from unimatch.models import build_encoder
from unimatch.selection import ColorDescriber, EncoderDescriber
from unimatch.selection.features import PATCHES, resized

RNG = np.random.default_rng(0)


def lengths(values):
    return np.linalg.norm(values.astype(np.float32), axis=-1)


@pytest.mark.parametrize("size", [(100, 300), (700, 90), (13, 11)])
def test_photos_of_any_size_are_described_at_unit_length(size):
    photo = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    encoder = EncoderDescriber(build_encoder("tiny").eval(), "tiny")
    for describer, widths in ((ColorDescriber(), (16, 8)), (encoder, (48 + 96 + 128 + 128, 128))):
        found = describer(photo)
        assert found.image.shape == (widths[0],)
        assert found.patches.shape[1] == widths[1]
        assert len(found.patches) <= PATCHES
        assert lengths(found.image) == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(lengths(found.patches), 1, atol=2e-3)


def test_the_encoders_levels_are_averaged_and_its_last_one_is_cut_into_patches():
    torch.manual_seed(0)
    encoder = build_encoder("tiny").eval()
    photo = RNG.integers(0, 256, (252, 336, 3), dtype=np.uint8)  # at the size that it is described at
    found = EncoderDescriber(encoder, "tiny")(photo)
    with torch.no_grad():
        levels = encoder(torch.from_numpy((photo / 255 - IMAGENET_MEAN) / IMAGENET_STD).permute(2, 0, 1)[None].float())
    parts = [(m := level.mean(dim=(2, 3))[0].numpy()) / np.linalg.norm(m) for level in levels]
    np.testing.assert_allclose(found.image.astype(float), np.concatenate(parts) / 2, atol=1e-3)
    _, _, height, width = levels[-1].shape
    chosen = np.linspace(0, height * width - 1, PATCHES).round().astype(int)
    for place, patch in zip(chosen, found.patches, strict=True):
        expected = levels[-1][0, :, place // width, place % width].numpy()
        np.testing.assert_allclose(patch.astype(float), expected / np.linalg.norm(expected), atol=1e-3)


def test_descriptions_of_other_weights_have_another_identity():
    names = set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        names.add(EncoderDescriber(build_encoder("tiny"), "tiny").identity)
    assert len(names | {ColorDescriber().identity}) == 3


def test_colour_and_texture_tell_photos_apart():
    photos = [np.full((60, 80, 3), color, np.uint8) for color in ((200, 30, 30), (190, 35, 30), (30, 40, 200))]
    rough = photos[0].copy()
    rough[::2] //= 2
    red, alike, blue, rough = (ColorDescriber()(photo).image.astype(np.float32) for photo in (*photos, rough))
    assert red @ alike > 0.99
    assert red @ blue < red @ rough < red @ alike


def test_sides_are_multiples_and_long_photos_stay_bounded():
    assert resized(np.zeros((480, 640, 3), np.uint8), 14).shape == (252, 336, 3)
    assert resized(np.zeros((10, 5000, 3), np.uint8), 14).shape == (14, 756, 3)
