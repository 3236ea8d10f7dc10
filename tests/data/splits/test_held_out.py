import pytest

import unimatch.data
from unimatch import ConfigError, SemiSupervisedDataModule
from unimatch.data.splits.held_out import automatic_count, hold_out_labels


def data(labeled):
    return unimatch.data.digits(labeled=labeled, train=labeled + 4, val=2, size=32)


def names(source):
    return [source.name(index) for index in range(len(source))]


def test_auto_is_eight_or_a_twentieth_and_at_most_a_quarter():
    for labeled in range(4, 2000, 7):
        count = automatic_count(labeled)
        assert count == min(int(labeled / 4), max(8, round(labeled / 20)))
        assert 1 <= count <= labeled / 4


@pytest.mark.parametrize(("held_out", "count"), [("auto", 5), (1, 1), (19, 19)])
def test_held_out_images_are_some_of_the_labelled_ones_and_no_longer_trained_on(held_out, count):
    whole = data(20)
    found = SemiSupervisedDataModule(whole, crop=16, held_out=held_out, split_seed=3).data
    kept, out = names(found.labeled), names(found.held_out)
    assert (len(kept), len(out)) == (20 - count, count)
    assert sorted(kept + out) == sorted(names(whole.labeled))
    assert not set(out) & set(names(found.unlabeled))
    assert names(hold_out_labels(whole, held_out, 3).held_out) == out
    if held_out == "auto":
        assert names(hold_out_labels(whole, held_out, 4).held_out) != out


def test_none_are_held_out_unless_asked_for():
    whole = data(6)
    module = SemiSupervisedDataModule(whole, crop=16)
    assert module.data is whole
    assert whole.held_out is None
    assert module.held_out_dataloader() is None


@pytest.mark.parametrize(
    ("labeled", "held_out", "message"),
    [
        (3, "auto", "held_out=auto: at most a quarter of the labelled images is held out, and there are 3; label at"),
        (6, 6, "held_out=6: of 6 labelled images at least one must be held out and one be left"),
        (6, 0, "held_out=0: of 6 labelled images at least one must be held out"),
        (6, 0.5, "held_out=0.5: must be a number of labelled images, auto, or null"),
        (6, True, "held_out=True: must be a number"),
    ],
)
def test_too_few_labelled_images_are_refused(labeled, held_out, message):
    with pytest.raises(ConfigError, match=message):
        hold_out_labels(data(labeled), held_out, 0)
