"""Copies that were saved again are found, and different images are not taken for copies."""

import io

import numpy as np
import pytest
from PIL import Image

from helpers.support import make_folder
from unimatch.data import folder
from unimatch.data.catalog import DIGITS
from unimatch.data.check import full_check
from unimatch.data.check.near_copies import ALIKE, ROWS, are_alike, look_alike, thumbnail
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair


def scene(seed, size=(90, 120)):
    """A picture of blobs: random colours of a few pixels, enlarged smoothly."""
    colours = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(colours).resize(size[::-1], Image.Resampling.BICUBIC))


def saved_again(image, **how):
    memory, size = io.BytesIO(), how.pop("size", None)
    picture = Image.fromarray(image)
    (picture.resize(size) if size else picture).save(memory, **how)
    return np.asarray(Image.open(memory).convert("RGB"))


COPIES = {
    "JPEG": {"format": "JPEG", "quality": 60},
    "WebP": {"format": "WEBP", "quality": 50},
    "half the size": {"format": "PNG", "size": (60, 45)},
    "a third, as JPEG": {"format": "JPEG", "quality": 75, "size": (40, 30)},
    "twice the size": {"format": "PNG", "size": (240, 180)},
    "another shape": {"format": "PNG", "size": (100, 100)},
}


@pytest.mark.parametrize("how", COPIES.values(), ids=COPIES)
def test_a_copy_saved_again_looks_alike(how):
    for seed in range(5):
        assert are_alike(scene(seed), saved_again(scene(seed), **dict(how)))


def test_different_scenes_and_equal_images_do_not():
    scenes = [scene(seed) for seed in range(8)]
    for i, one in enumerate(scenes):
        assert not any(are_alike(one, other) for other in scenes[i:])


def test_images_that_are_only_similar_do_not():
    """Scenes of one place, and scenes that are the same but for what small objects there are."""
    first, second = scene(0).astype(np.float32), scene(1).astype(np.float32)
    place = (0.8 * first + 0.2 * second).astype(np.uint8)
    coarse = float(thumbnail(scene(0)).astype(np.float32) @ thumbnail(place))
    assert 0.9 < coarse < ALIKE
    assert not are_alike(scene(0), place)
    dots = np.random.default_rng(0).choice([-90, 90], (90, 120, 1))
    crowd = np.clip(scene(0) + dots, 0, 255).astype(np.uint8)
    assert float(thumbnail(scene(0)).astype(np.float32) @ thumbnail(crowd)) > 0.9
    assert not are_alike(scene(0), crowd)


def test_a_thumbnail_is_the_mean_of_squares_without_brightness_and_contrast():
    image = scene(1, (64, 64)).astype(np.float32)
    slow = np.array([[image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean() for x in range(16)] for y in range(16)])
    slow = (slow - slow.mean()).ravel()
    for other in (image, 3 * image + 10, np.repeat(image.mean(-1, keepdims=True), 7, -1)):
        assert np.allclose(thumbnail(other), slow / np.linalg.norm(slow), atol=1e-3)
    assert np.allclose(thumbnail(image.astype(np.uint8)), slow / np.linalg.norm(slow), atol=2e-3)


@pytest.mark.parametrize("value", [0, 7, np.nan, np.inf])
def test_blank_images_are_not_compared(value):
    assert thumbnail(np.full((20, 30, 3), value, np.float32)) is None


def test_missing_numbers_do_not_hide_a_copy():
    image = scene(2).astype(np.float32)
    image[0, 0] = np.nan
    assert np.isfinite(thumbnail(image)).all()
    assert are_alike(image, np.nan_to_num(image) + 0.5)


def test_both_dates_of_a_pair_count():
    pair = np.stack([scene(1), scene(2)])
    copy = np.stack([saved_again(scene(1), format="JPEG"), saved_again(scene(2), format="JPEG")])
    assert are_alike(pair, copy)
    assert not are_alike(pair, np.stack([scene(1), scene(3)]))


def source_of(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return FileSource([FilePair(folder / f"{i}.png") for i in range(len(images))], DIGITS)


def test_a_copy_is_found_in_every_block_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr("unimatch.data.check.near_copies.ROWS", 2)
    assert ROWS > 2
    blank = np.zeros((90, 120, 3), np.uint8)
    train = source_of(tmp_path / "train", [scene(0), blank, scene(1), scene(2), scene(3), blank, scene(4)])
    held = source_of(tmp_path / "val", [blank, saved_again(scene(4), format="JPEG"), scene(9), scene(1), scene(0) // 2])
    small, held_small = ([thumbnail(source.image(i)) for i in range(len(source))] for source in (train, held))
    found = [text for _, text in look_alike(train, held, small, held_small, "test")]
    assert found == [
        f"{train.name(6)}: looks like the test image {held.name(1)}",
        f"{train.name(0)}: looks like the test image {held.name(4)}",  # darker; that of scene 1 is the same
    ]
    assert not list(look_alike(train, held, [], held_small, "test"))
    assert not list(look_alike(train, held, [None] * 7, held_small, "test"))
    assert not list(look_alike(train, held, small, [None] * 5, "test"))


def test_the_check_names_near_copies(tmp_path):
    root = make_folder(tmp_path, labeled=3, unlabeled=2, val=2, size=(90, 120))
    for i, place in enumerate(
        ("images/a0.png", "images/a1.png", "images/a2.png", "unlabeled/u0.png", "val/images/v1.png")
    ):
        Image.fromarray(scene(i)).save(root / place)
    Image.fromarray(saved_again(scene(3), format="JPEG")).save(root / "val/images/v0.png")
    findings = full_check(folder(root), workers=0, progress=False).findings
    [near] = [finding for finding in findings if finding.kind == "near copy"]
    assert (near.part, near.wrong) == ("unlabelled", False)
    assert near.texts == (f"{root / 'unlabeled/u0.png'}: looks like the validation image {root / 'val/images/v0.png'}",)
