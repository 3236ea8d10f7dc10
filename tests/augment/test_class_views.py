from collections import Counter

import numpy as np
import torch

from unimatch.augment.class_views import ClassLabeledView, ClassUnlabeledViews, ClassWeakView, with_short_side


def rng(seed=0):
    return np.random.default_rng(seed)


def numbered(height, width):
    """An image that says of each pixel where it was: row in red, column in green."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1)


def test_a_weak_view_is_a_crop_of_the_mirrored_border_and_a_flip():
    image = numbered(12, 12)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    crops = {
        (top, left, flip): padded[top : top + 12, left : left + 12][:, :: -1 if flip else 1].tobytes()
        for top in range(9)
        for left in range(9)
        for flip in (False, True)
    }
    by_bytes = {value: key for key, value in crops.items()}
    seen = Counter(by_bytes[ClassWeakView(12).weak(rng(seed), image).tobytes()] for seed in range(1500))
    assert len(seen) > 155  # of 162
    assert 650 < sum(count for (_, _, flip), count in seen.items() if flip) < 850


def test_without_padding_and_flip_an_image_of_the_crops_size_stays():
    image = numbered(8, 8)
    assert np.array_equal(ClassWeakView(8, padding=0, flip=0.0).weak(rng(), image), image)


def test_images_of_any_size_are_resized_by_their_short_side():
    view = ClassWeakView(16, resize=20, padding=0)
    for shape in ((40, 60), (60, 40), (7, 9), (20, 500), (20, 20)):
        assert view.weak(rng(), numbered(shape[0] % 256, shape[1] % 256)).shape == (16, 16, 3)
    assert with_short_side(numbered(10, 30), 20).shape == (20, 60, 3)
    assert ClassWeakView(16, padding=0).weak(rng(), numbered(5, 8)).shape == (16, 16, 3)  # smaller than the crop


def test_a_labeled_image_has_one_view_and_its_class():
    sample = ClassLabeledView(8, padding=2)(rng(), numbered(8, 8), np.asarray(3))
    assert {name: (tuple(value.shape), value.dtype) for name, value in sample.items()} == {
        "image": ((3, 8, 8), torch.uint8),
        "label": ((), torch.int64),
    }
    assert sample["label"] == 3
    strong = ClassLabeledView(8, padding=2, strong=lambda rng, image: image * 0)(rng(), numbered(8, 8), np.asarray(3))
    assert not strong["image"].any()


def test_an_unlabeled_image_has_views_without_boxes():
    views = ClassUnlabeledViews(8, padding=2)
    sample = views(rng(), numbered(8, 8), np.asarray(260))  # more classes than a byte holds
    assert sorted(sample) == ["strong1", "strong2", "truth", "valid", "weak"]
    assert sample["truth"] == 260
    assert sample["valid"].dtype == torch.bool
    assert sample["valid"].shape == ()
    assert views(rng(), numbered(8, 8), None)["truth"] == -1


def test_the_first_strong_view_is_the_same_whatever_their_number():
    two = ClassUnlabeledViews(8)(rng(), numbered(8, 8), None)
    one = ClassUnlabeledViews(8, strong_views=1)(rng(), numbered(8, 8), None)
    assert "strong2" not in one
    for name, value in one.items():
        assert torch.equal(two[name], value)
    assert not torch.equal(two["strong1"], two["strong2"])


def test_shrinking_averages():
    image = np.zeros((8, 8, 3), np.uint8)
    image[::2, ::2] = 200  # one pixel of four
    assert np.abs(with_short_side(image, 4).astype(int) - 50).max() <= 1
