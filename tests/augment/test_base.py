import numpy as np
import pytest

import unimatch
from unimatch import ConfigError, DataError, SemiSupervisedDataModule
from unimatch.augment.base import WHOLE, CalledView, Cut, StrongView, WeakView, each_date


def test_an_image_is_changed_once_and_a_pair_date_by_date():
    seen = []

    def mirror(image):
        seen.append(image.shape)
        return image[:, ::-1]

    pair = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(each_date(mirror, pair[0]), pair[0, :, ::-1])
    assert np.array_equal(each_date(mirror, pair), pair[:, :, ::-1])
    assert seen == [(4, 5, 3)] * 3


def test_a_cut_shows_the_whole_view_unless_it_says_otherwise():
    pixels = np.arange(12).reshape(3, 4)
    cut = Cut(np.zeros((3, 4, 3), np.uint8), None, np.ones((3, 4), bool))
    assert cut.shown == WHOLE
    assert np.array_equal(pixels[cut.shown], pixels)


def test_a_strong_view_moves_nothing_unless_it_says_so():
    class Same(StrongView):
        def __call__(self, rng, image, shown=WHOLE):
            return image

    assert Same().moves == ""


@pytest.mark.parametrize("kind", [WeakView, StrongView])
def test_a_view_without_its_method_is_refused(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()


def test_a_function_is_a_strong_view():
    data = unimatch.data.digits(labeled=2, train=4, val=1, size=48)
    module = SemiSupervisedDataModule(data, crop=32, strong=lambda rng, image: 255 - image, workers=0)
    sample = module.views.unlabeled(np.random.default_rng(0), data.unlabeled.image(0), None)
    assert sample["weak"].any()
    assert np.array_equal(sample["strong1"], 255 - sample["weak"])
    draws = [
        CalledView(lambda rng, image: image // np.uint8(rng.integers(2, 9)))(np.random.default_rng(3), IMAGE)
        for _ in "ab"
    ]
    assert np.array_equal(*draws)


IMAGE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def test_a_function_changes_a_copy_and_returns_what_it_was_given():
    def darken(rng, image):
        image[:] = 0
        return image

    before = IMAGE.copy()
    assert not CalledView(darken)(np.random.default_rng(0), IMAGE).any()
    assert np.array_equal(IMAGE, before)
    for wrong in (lambda rng, image: image / 255, lambda rng, image: image[:-1], lambda rng, image: None):
        with pytest.raises(DataError, match=r"strong: must return uint8 \(6, 5, 3\), this view returns"):
            CalledView(wrong)(np.random.default_rng(0), IMAGE)


def test_what_is_no_function_of_an_image_is_refused():
    import albumentations
    from torchvision.transforms import v2

    for transform, wrapper in ((albumentations.Blur(), "Albumentations"), (v2.GaussianBlur(3), "TorchvisionV2")):
        with pytest.raises(ConfigError, match=rf"wrap it, unimatch\.augment\.{wrapper}\(transform\)"):
            CalledView(transform)
    with pytest.raises(ConfigError, match="strong=blur: must be a strong view, or a function"):
        CalledView("blur")
