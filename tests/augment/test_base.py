import numpy as np
import pytest

from unimatch.augment.base import WHOLE, Cut, StrongView, WeakView, each_date


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
