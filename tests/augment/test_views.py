import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch import ConfigError
from unimatch.augment import PaddedCrop, RandAugment, ScaledCrop, StrongAugmentation, Views
from unimatch.images.tensors import to_tensor
from unimatch.types import IGNORE_INDEX, UNKNOWN_TRUTH

property_test = settings(max_examples=60, deadline=None, derandomize=True)

NO_CHANGE = StrongAugmentation(jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)
ONLY_BRIGHTNESS = StrongAugmentation(
    contrast=0.0, saturation=0.0, hue=0.0, jitter_probability=1.0, grayscale_probability=0.0, blur_probability=0.0
)


def unlabeled(crop, scale=(0.5, 2.0), flip=0.5, **options):
    return Views(crop, ScaledCrop(scale, flip), **options).unlabeled


def labeled(crop, scale=(0.5, 2.0), flip=0.5, *, strong=None, **options):
    options |= {} if strong is None else {"strong": strong, "labeled_strong": True}
    return Views(crop, ScaledCrop(scale, flip), **options).labeled


def coded_pair(seed, height, width):
    """A mask of random ids 0-9 and an image whose every pixel tells the mask's id: 20 (id + 1) in all channels."""
    mask = np.random.default_rng(seed).integers(0, 10, (height, width), dtype=np.uint8)
    return np.repeat((20 * (mask + 1))[..., None], 3, axis=2).astype(np.uint8), mask


def seeded(seed=0):
    return np.random.default_rng(seed)


def test_dates_and_label_share_one_geometry_and_each_date_has_colours_of_its_own():
    """Where every pixel of both dates tells the label, so it does in every view; strong views by their brightness."""
    first, label = coded_pair(0, 40, 30)
    pair = np.stack([first, 255 - first])
    sample = unlabeled(24, scale=(1.0, 1.0), strong=NO_CHANGE)(seeded(3), pair, label)
    inside = sample["truth"] != IGNORE_INDEX
    assert inside.any()
    for name in ("weak", "strong1", "strong2"):
        assert sample[name].shape == (2, 3, 24, 24)
        for channel in range(3):
            assert torch.equal(sample[name][0, channel][inside], 20 * (sample["truth"][inside] + 1))
            assert torch.equal(sample[name][1, channel][inside], 255 - 20 * (sample["truth"][inside] + 1))
    known = labeled(24, scale=(1.0, 1.0))(seeded(3), pair, label)
    inside = known["label"] != IGNORE_INDEX
    assert torch.equal(known["image"][1, 0][inside], 255 - 20 * (known["label"][inside] + 1))
    gray = np.full((2, 40, 30, 3), 100, np.uint8)
    brightness = unlabeled(24, scale=(1.0, 1.0), strong=ONLY_BRIGHTNESS)(seeded(3), gray, None)
    levels = {(name, date): brightness[name][date].unique() for name in ("strong1", "strong2") for date in (0, 1)}
    assert all(len(values) == 1 for values in levels.values())
    assert len({int(values) for values in levels.values()}) == 4


def test_tensor_is_channels_first():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    tensor = to_tensor(image)
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    for channel in range(3):
        for row in range(4):
            for column in range(5):
                assert tensor[channel, row, column] == image[row, column, channel]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.booleans(), st.integers(0, 2**32 - 1))
@property_test
def test_unlabeled_fields_have_the_types_of_a_batch(height, width, crop, has_mask, seed):
    image, mask = coded_pair(seed, height, width)
    sample = unlabeled(crop)(seeded(seed), image, mask if has_mask else None)
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == {
        "weak": ((3, crop, crop), torch.uint8),
        "strong1": ((3, crop, crop), torch.uint8),
        "strong2": ((3, crop, crop), torch.uint8),
        "valid": ((crop, crop), torch.bool),
        "box1": ((4,), torch.int64),
        "box2": ((4,), torch.int64),
        "truth": ((crop, crop), torch.uint8),
    }


@pytest.mark.parametrize("strong", [None, StrongAugmentation()])
def test_labeled_fields_have_the_types_of_a_batch(strong):
    image, mask = coded_pair(0, 20, 30)
    sample = labeled(16, strong=strong)(seeded(), image, mask)
    expected = {"image": ((3, 16, 16), torch.uint8), "label": ((16, 16), torch.uint8)}
    if strong is not None:
        expected["box"] = ((4,), torch.int64)
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == expected


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_without_strong_changes_the_three_views_are_equal(height, width, crop, seed):
    image, mask = coded_pair(seed, height, width)
    sample = unlabeled(crop, strong=NO_CHANGE)(seeded(seed), image, mask)
    assert torch.equal(sample["strong1"], sample["weak"])
    assert torch.equal(sample["strong2"], sample["weak"])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_strong_views_have_the_geometry_of_the_weak_view(height, width, crop, seed):
    image, mask = coded_pair(seed, height, width)
    sample = unlabeled(crop, strong=ONLY_BRIGHTNESS)(seeded(seed), image, mask)
    weak = sample["weak"].double()
    for name in ("strong1", "strong2"):
        strong = sample[name].double()
        # A factor from 0.5 to 1.5 keeps black pixels and makes no other pixel black.
        assert torch.equal(strong == 0, weak == 0)
        free = (strong < 255) & (weak > 0)
        if free.any():
            factor = (strong[free] * weak[free]).sum() / (weak[free] ** 2).sum()
            assert (strong - (weak * factor).clamp(max=255)).abs().max() <= 1.5


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_truth_and_valid_are_aligned_with_the_weak_view(height, width, crop, seed):
    image, mask = coded_pair(seed, height, width)
    sample = unlabeled(crop, scale=(1.0, 1.0))(seeded(seed), image, mask)
    weak, truth, valid = sample["weak"], sample["truth"], sample["valid"]
    for channel in range(3):
        assert torch.equal(weak[channel][valid], 20 * (truth[valid] + 1))
    assert torch.equal(weak[0] > 0, valid)
    assert torch.equal(truth == IGNORE_INDEX, ~valid)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_labeled_mask_is_aligned_with_its_image(height, width, crop, seed):
    image, mask = coded_pair(seed, height, width)
    sample = labeled(crop, scale=(1.0, 1.0))(seeded(seed), image, mask)
    inside = sample["label"] != IGNORE_INDEX
    assert torch.equal(sample["image"][0] > 0, inside)
    for channel in range(3):
        assert torch.equal(sample["image"][channel][inside], 20 * (sample["label"][inside] + 1))


def test_truth_is_unknown_where_there_is_no_mask():
    image, mask = coded_pair(0, 30, 30)
    views = unlabeled(16)
    without, with_mask = views(seeded(), image, None), views(seeded(), image, mask)
    assert (without["truth"] == UNKNOWN_TRUTH).all()
    assert not (with_mask["truth"] == UNKNOWN_TRUTH).all()
    # A mask changes nothing but the truth.
    assert all(torch.equal(without[name], with_mask[name]) for name in without if name != "truth")


def test_geometry_obeys_scale_and_flip():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10], image[:, 10:] = 50, 200
    for seed in range(20):
        doubled = unlabeled(40, scale=(2.0, 2.0), flip=0.0)(seeded(seed), image, None)
        assert doubled["valid"].sum() == 20 * 40
        assert doubled["weak"][0, 0, 0] == 50
        assert doubled["weak"][0, 0, 39] == 200
        flipped = unlabeled(40, scale=(0.5, 0.5), flip=1.0)(seeded(seed), image, None)
        assert flipped["valid"].sum() == 5 * 10
        assert flipped["weak"][0, 0, 39] == 50
        assert flipped["weak"][0, 0, 30] == 200


def test_strong_views_are_drawn_independently():
    image = np.full((8, 8, 3), 100, np.uint8)
    views = unlabeled(8, scale=(1.0, 1.0), strong=ONLY_BRIGHTNESS)
    factors = []
    for seed in range(1500):
        sample = views(seeded(seed), image, None)
        factors.append((sample["strong1"][0, 0, 0].item(), sample["strong2"][0, 0, 0].item()))
    first, second = np.array(factors).T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert abs(first.mean() - 100) < 4
    assert abs(second.mean() - 100) < 4


@pytest.mark.parametrize(("probability", "lowest", "highest"), [(0.0, 0, 0), (0.5, 0.44, 0.56), (1.0, 1, 1)])
def test_each_strong_view_has_its_own_box(probability, lowest, highest):
    image, _ = coded_pair(0, 16, 16)
    views = unlabeled(16, cutmix=probability, strong=NO_CHANGE)
    samples = [views(seeded(seed), image, None) for seed in range(1500)]
    first = np.array([sample["box1"].numpy() for sample in samples])
    second = np.array([sample["box2"].numpy() for sample in samples])
    assert lowest <= first.any(axis=1).mean() <= highest
    assert lowest <= second.any(axis=1).mean() <= highest
    both = (first.any(axis=1) & second.any(axis=1)).mean()
    assert abs(both - probability**2) < 0.05
    boxes = np.concatenate([first, second])
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 16
    if probability:
        assert not np.array_equal(first, second)


def test_strong_labeled_view_changes_the_image_and_not_the_mask():
    image, mask = coded_pair(0, 20, 20)
    weak = labeled(16, scale=(1.0, 1.0))
    strong = labeled(16, scale=(1.0, 1.0), strong=ONLY_BRIGHTNESS)
    changed = boxes = 0
    for seed in range(100):
        plain, augmented = weak(seeded(seed), image, mask), strong(seeded(seed), image, mask)
        assert torch.equal(plain["label"], augmented["label"])
        changed += not torch.equal(plain["image"], augmented["image"])
        boxes += bool(augmented["box"].any())
    assert changed > 90
    assert 30 < boxes < 70


@pytest.mark.parametrize("views", [unlabeled(16), labeled(16, strong=StrongAugmentation())])
def test_views_are_a_function_of_the_generator_and_leave_the_input(views):
    image, mask = coded_pair(0, 30, 20)
    image_before, mask_before = image.copy(), mask.copy()
    first, second, other = (views(seeded(seed), image, mask) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert np.array_equal(image, image_before)
    assert np.array_equal(mask, mask_before)


def test_the_labelled_views_box_has_its_probability():
    image, mask = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)
    for probability, boxes in ((0.0, 0), (1.0, 20)):
        view = labeled(16, strong=StrongAugmentation(), cutmix=probability)
        drawn = [view(np.random.default_rng(i), image, mask)["box"] for i in range(20)]
        assert sum(bool(box.any()) for box in drawn) == boxes


def test_one_strong_view_is_the_first_of_two():
    image, mask = coded_pair(0, 30, 40)
    one = unlabeled(24, strong_views=1)(seeded(5), image, mask)
    two = unlabeled(24)(seeded(5), image, mask)
    assert set(two) - set(one) == {"strong2", "box2"}
    assert all(torch.equal(one[name], two[name]) for name in one)


def of_one_class(crop, *, padding=2, **options):
    return Views(
        crop, PaddedCrop(padding=padding), options.pop("strong", RandAugment()), cutmix=0.0, one_class=True, **options
    )


def test_an_image_with_one_class_has_views_without_boxes():
    image = np.zeros((8, 8, 3), np.uint8)
    views = of_one_class(8)
    sample = views.unlabeled(seeded(), image, np.asarray(260))  # more classes than a byte holds
    assert sorted(sample) == ["strong1", "strong2", "truth", "valid", "weak"]
    assert sample["truth"] == 260
    assert (sample["valid"].dtype, sample["valid"].shape) == (torch.bool, ())
    assert views.unlabeled(seeded(), image, None)["truth"] == -1
    sample = of_one_class(8, labeled_strong=True).labeled(seeded(), image, np.asarray(3))
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == {
        "image": ((3, 8, 8), torch.uint8),
        "label": ((), torch.int64),
    }
    assert sample["label"] == 3


def test_strong_views_of_an_image_with_one_class_have_crops_of_their_own():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    sample = of_one_class(8, strong=NO_CHANGE).unlabeled(seeded(1), image, None)
    assert len({sample[name].numpy().tobytes() for name in ("weak", "strong1", "strong2")}) == 3
    one = of_one_class(8, strong=NO_CHANGE, strong_views=1).unlabeled(seeded(1), image, None)
    assert all(torch.equal(sample[name], value) for name, value in one.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strong": RandAugment()}, "strong=RandAugment: rotate, shear_x, .* their labels would stay behind"),
        ({"strong": RandAugment(changes=["color"]), "on_device": True}, "augment=device: only StrongAugmentation"),
        ({"one_class": True}, "cutmix=0.5: pastes pixels, but an image has one class here"),
        ({"one_class": True, "cutmix": 0.0, "on_device": True}, "augment=device: the device has the weak view alone"),
    ],
)
def test_views_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Views(8, **options)


def test_randaugment_without_changes_that_move_pixels_is_a_view_of_segmentation():
    image, mask = coded_pair(0, 20, 20)
    sample = Views(16, strong=RandAugment(changes=["posterize", "color"], cutout=0)).unlabeled(seeded(), image, mask)
    assert sample["strong1"].shape == (3, 16, 16)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
@property_test
def test_a_padded_crop_mirrors_image_and_mask_alike(height, width, crop, seed):
    image, mask = coded_pair(seed, max(height, crop, 5), max(width, crop, 5))
    cut = PaddedCrop().cut(seeded(seed), np.stack([image, 255 - image]), mask, crop)
    assert cut.valid.all()
    assert np.array_equal(cut.image[0, ..., 1], 20 * (cut.label + 1))
    assert np.array_equal(cut.image[1, ..., 1], 255 - 20 * (cut.label + 1))
