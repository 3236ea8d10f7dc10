import pytest

from helpers.class_data import names_of
from unimatch import ConfigError
from unimatch.data import digits_classification


def test_labeled_images_are_nested_and_drawn_by_the_seed():
    few, more, other = (
        set(names_of(digits_classification(labeled_per_class=count, split_seed=seed).labeled))
        for count, seed in ((2, 0), (5, 0), (2, 1))
    )
    assert few < more
    assert len(more) == 50
    assert few != other
    # What is held out for validation does not depend on it.
    held = {tuple(names_of(digits_classification(split_seed=seed).val)) for seed in (0, 1)}
    assert len(held) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labeled_per_class": 0}, r"labeled_per_class=0"),
        ({"labeled_per_class": 2, "split_seed": -1}, r"^split_seed=-1: must be at least 0"),
        ({"labeled_per_class": 4, "val_per_class": 200}, r"val_per_class=200: .* the class"),
        ({"val_per_class": -1}, r"val_per_class=-1"),
        ({"unlabeled": "all"}, r"unlabeled=all: must be one of train, rest"),
    ],
)
def test_choices_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        digits_classification(**options)
