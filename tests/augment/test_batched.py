"""The batch's version of the strong changes against the one image by image, which is tested against closed forms."""

import numpy as np
import pytest
import torch

from unimatch import SemiSupervisedDataModule
from unimatch.augment import Views
from unimatch.augment.batched import augment, mirrored
from unimatch.augment.strong import CHANGES, Change, StrongAugmentation, gray_mean
from unimatch.data import digits
from unimatch.images.tensors import to_tensor

NOTHING = ((), (1.0, 1.0, 1.0, 0.0), False, 0.0)


def smooth_image(seed, height=40, width=36):
    """Colours that change from pixel to pixel, none of them nearly gray: eight-bit hues of gray are noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / 7
    phases = rng.uniform(0, 6, (3, 2))
    planes = [128 + 60 * np.sin(rows + a) + 60 * np.sin(columns + b) for a, b in phases]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def both(images, changes):
    batch = torch.stack([to_tensor(image) for image in images])
    packed = torch.tensor([change.packed() for change in changes], dtype=torch.float32)
    result = augment(batch, packed, 2.0).permute(0, 2, 3, 1).numpy()
    return result, [change.apply(image) for image, change in zip(images, changes, strict=True)]


def differences(images, changes):
    result, expected = both(images, changes)
    return [np.abs(one - other) for one, other in zip(result, expected, strict=True)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_blends_are_those_image_by_image(order):
    rng = np.random.default_rng(0)
    images = [smooth_image(seed) for seed in range(8)]
    changes = []
    for _ in images:
        # A place of the order without a hue: turned by nothing.
        changes.append(Change((*order, 3), (*rng.uniform(0.5, 1.5, 3), 0.0), False, 0.0))
    for difference in differences(images, changes):
        assert difference.max() <= 12  # the eight-bit hues of the other version, also where they do not turn
        assert difference.mean() <= 1.5


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_blend_is_the_same_to_rounding(which):
    images = [smooth_image(seed) for seed in range(6)]
    amounts = [tuple(factor if i == which else 1.0 for i in range(3)) for factor in (0.5, 0.7, 1.0, 1.2, 1.4, 1.5)]
    changes = [Change((0, 1, 2, 3), (*amount, 0.0), False, 0.0) for amount in amounts]
    batch = torch.stack([to_tensor(image) for image in images])
    packed = torch.tensor([change.packed() for change in changes], dtype=torch.float32)
    packed[:, 4:8] = torch.tensor([float(which), -1, -1, -1])
    result = augment(batch, packed, 2.0).permute(0, 2, 3, 1).numpy()
    for image, amount, found in zip(images, amounts, result, strict=True):
        mean = gray_mean(image, np.zeros((1, 1, 3), np.uint8), 0)
        assert np.abs(found - CHANGES[which](image, amount[which], mean)).max() <= 1.5


def test_hues_turn_as_image_by_image():
    images = [smooth_image(seed) for seed in range(8)]
    changes = [Change((3, 0, 1, 2), (1.0, 1.0, 1.0, turn), False, 0.0) for turn in np.linspace(-0.5, 0.5, 8)]
    for difference in differences(images, changes):
        assert difference.max() <= 15  # of eight-bit hues, as in test_strong.py
        assert difference.mean() <= 2.5


def test_grayscale_and_blur_are_those_image_by_image():
    images = [smooth_image(seed) for seed in range(6)]
    noise = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    images += [noise] * 4
    changes = [Change((), NOTHING[1], grayscale, sigma) for sigma in (0.1, 0.6, 2.0) for grayscale in (True, False)]
    changes += [Change((), NOTHING[1], False, sigma) for sigma in (0.3, 0.9, 1.4, 2.0)]
    for difference in differences(images, changes):
        assert difference.max() <= 2  # OpenCV weighs with eight bits


def test_nothing_drawn_changes_nothing():
    images = [smooth_image(0), np.random.default_rng(1).integers(0, 256, (40, 36, 3), dtype=np.uint8)]
    result, _ = both(images, [Change(*NOTHING)] * 2)
    assert np.array_equal(result, np.stack(images))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3), (5, 14)])
def test_images_smaller_than_the_filter_are_mirrored_as_often_as_needed(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert differences([image], [Change((), NOTHING[1], False, 2.0)])[0].max() <= 2


def test_mirrored_positions():
    assert mirrored(4, 3, torch.device("cpu")).tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]
    assert mirrored(1, 2, torch.device("cpu")).tolist() == [0] * 5


def batches(augment, workers=0, labeled_strong=False):
    data = digits(labeled=4, train=16, val=2, size=48)
    module = SemiSupervisedDataModule(
        data, crop=42, batch_size=4, workers=workers, augment=augment, labeled_strong=labeled_strong
    )
    module.setup("fit")
    sent = [batch for batch, _, _ in module.train_dataloader()]
    return sent, [module.on_after_batch_transfer(batch, 0) for batch in sent]


def test_the_device_makes_the_views_that_the_workers_would():
    sent, made = batches("device", labeled_strong=True)
    _, expected = batches("workers", labeled_strong=True)
    assert not {"strong1", "strong2"} & set(sent[0]["unlabeled"])
    level = 1 / (255 * 0.225)
    for one, other in zip(made, expected, strict=True):
        for part in ("labeled", "unlabeled"):
            assert one[part].keys() == other[part].keys()
            for name, value in other[part].items():
                if name.startswith("strong") or (name == "image" and part == "labeled"):
                    # Scenes are full of grays and of full colours, where eight bits of hue count most.
                    assert (one[part][name] - value).abs().mean() <= 2 * level, name
                else:
                    assert torch.equal(one[part][name], value), name


@pytest.mark.nightly
def test_the_devices_views_do_not_depend_on_the_workers():
    for one, other in zip(batches("device")[1], batches("device", workers=2)[1], strict=True):
        assert torch.equal(one["unlabeled"]["strong1"], other["unlabeled"]["strong1"])
        assert torch.equal(one["unlabeled"]["strong2"], other["unlabeled"]["strong2"])


def test_each_date_of_a_pair_has_its_own_draws():
    images = torch.stack([to_tensor(smooth_image(seed)) for seed in range(4)])
    rng = np.random.default_rng(0)
    packed = torch.tensor([StrongAugmentation().draw(rng).packed() for _ in range(4)])
    pairs = augment(images.view(2, 2, *images.shape[1:]), packed.view(2, 2, -1), 2.0)
    assert torch.equal(pairs.flatten(0, 1), augment(images, packed, 2.0))


def test_changes_are_drawn_for_each_date_and_each_strong_view():
    pair = np.stack([smooth_image(0), smooth_image(1)])
    always = StrongAugmentation(jitter_probability=1.0)
    sample = Views(24, strong=always, on_device=True).unlabeled(np.random.default_rng(0), pair, None)
    drawn = torch.cat([sample["change1"], sample["change2"]])
    assert sample["change1"].shape == (2, 10)
    assert len(drawn.unique(dim=0)) == 4
