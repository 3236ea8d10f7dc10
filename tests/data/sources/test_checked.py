"""A source of one's own is checked as files are."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from unimatch import DataError, SegmentationData, SemiSupervisedDataModule
from unimatch.data import DatasetInfo
from unimatch.data.check.before_training import verify
from unimatch.data.check.full import full_check
from unimatch.data.loading.datasets import EvaluationDataset, LabeledDataset

INFO = DatasetInfo("own", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 10, 3), np.uint8)
MASK = RNG.integers(0, 3, (12, 10), np.uint8)
MASK[0] = 255


class Own:
    """The same sample again and again."""

    extra = "something of its own"

    def __init__(self, image=IMAGE, mask=MASK, count=3):
        self.one, self.label, self.count = image, mask, count

    def __len__(self):
        return self.count

    def name(self, index):
        return f"photo {index}"

    def image(self, index):
        return self.one

    def mask(self, index):
        return self.label


def data_of(source, **options):
    good = Own(mask=options.pop("good_mask", MASK))
    return SegmentationData(INFO, labeled=source, unlabeled=good, val=good, **options)


IMAGES = {
    "floats of 0-1": (IMAGE / np.float32(255), r"is of float32, .* divided by 255 later: .* \(255 \* image\)"),
    "float64": (IMAGE.astype(float), "is of float64"),
    "16 bits": (IMAGE.astype(np.uint16) * 257, "is of uint16, and must be uint8"),
    "int64": (IMAGE.astype(np.int64), "is of int64"),
    "bool": (IMAGE > 9, "is of bool"),
    "channels first": (IMAGE.transpose(2, 0, 1), r"has the shape \(3, 12, 10\).*transpose\(1, 2, 0\)"),
    "grey": (IMAGE[..., 0], r"has the shape \(12, 10\).*np\.repeat"),
    "four bands": (np.concatenate([IMAGE, IMAGE[..., :1]], 2), r"has the shape \(12, 10, 4\)"),
    "three dates": (np.stack([IMAGE] * 3), r"has the shape \(3, 12, 10, 3\)"),
    "empty": (IMAGE[:0], r"has the shape \(0, 10, 3\)"),
    "tensor": (torch.from_numpy(IMAGE), r"is no NumPy array but torch\.Tensor; SegmentationData\.from_datasets"),
    "none": (None, r"is no NumPy array but builtins\.NoneType"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_are_none_are_refused(kind):
    image, message = IMAGES[kind]
    source = data_of(Own(image)).labeled
    with pytest.raises(DataError, match=f"photo 1: the image {message}"):
        source.image(1)


MASKS = {
    "ids between": (MASK * np.uint8(7), r"holds id 7 \(\d+ pixels\), id 14 .* the classes are 0-2"),
    "one too many": (MASK % 4 + np.uint8(1), r"holds id 3 .*, id 4 "),
    "negative": (MASK.astype(np.int64) - 1, r"holds id -1 .*, id 254 "),
    "wraps around": (MASK.astype(np.int64) + 256, "holds id 256"),
    "floats": (MASK.astype(np.float32), "is of float32, and must hold integers"),
    "one hot": (np.eye(3)[MASK % 3].astype(np.uint8), r"has the shape \(12, 10, 3\)"),
    "class": (np.array(1), r"has the shape \(\), and must have \(H, W\)"),
    "tensor": (torch.from_numpy(MASK), r"is no NumPy array but torch\.Tensor"),
    "list": (MASK.tolist(), r"is no NumPy array but builtins\.list"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_that_are_none_are_refused(kind):
    mask, message = MASKS[kind]
    source = data_of(Own(mask=mask)).labeled
    with pytest.raises(DataError, match=f"photo 2: the mask {message}"):
        source.mask(2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint32])
def test_ids_of_any_integers_are_read_as_they_are(dtype):
    source = data_of(Own(mask=MASK.astype(dtype))).labeled
    assert source.mask(0).dtype == np.uint8
    assert np.array_equal(source.mask(0), MASK)
    assert source.image(0) is IMAGE
    assert np.array_equal(data_of(Own(mask=MASK == 1)).labeled.mask(0), MASK == 1)
    assert data_of(Own(mask=None)).labeled.mask(0) is None


def test_classes_of_images_are_checked_too():
    for good, expected in ((np.array(2), 2), (np.int32(1), 1), (0, 0), (-1, None), (None, None)):
        found = data_of(Own(mask=good), one_class=True, good_mask=0).labeled.mask(0)
        assert found == expected
        assert found is None or (found.dtype, found.shape) == (np.int64, ())
    for bad, message in ((3, "is 3, and the classes are 0-2"), (-2, "is -2"), (MASK, r"has the shape \(12, 10\)")):
        with pytest.raises(DataError, match=f"photo 0: the class {message}"):
            data_of(Own(mask=bad), one_class=True, good_mask=0).labeled.mask(0)


def test_faults_end_the_run_before_training():
    for source in (Own(IMAGE / np.float32(255)), Own(mask=MASK * np.uint8(7)), Own(mask=None), Own(mask=MASK[:6])):
        for part in ("labeled", "val"):
            data = dataclasses.replace(data_of(Own()), **{part: source})
            with pytest.raises(DataError, match=r"3 faults in the \w+ images:\nphoto 0: "):
                verify(data, needs_unlabeled=True)
            kinds = full_check(data, workers=0, progress=False).findings
            assert any(finding.part in ("labelled", "validation") for finding in kinds)
    data = dataclasses.replace(data_of(Own()), unlabeled=Own(IMAGE[..., 0]))
    with pytest.raises(DataError, match="3 faults in the unlabelled images"):
        verify(data, needs_unlabeled=True)
    verify(data, needs_unlabeled=False)


def test_a_mask_of_another_size_is_never_stretched():
    """Also where it was not among those that were looked at before training."""
    data = data_of(Own(mask=MASK[:6]))
    views = SemiSupervisedDataModule(data_of(Own()), crop=8).views
    for read in (
        lambda: LabeledDataset(data.labeled, views.labeled, seed=0)[(0, 1)],
        lambda: EvaluationDataset(data.labeled)[1],
    ):
        with pytest.raises(DataError, match="photo 1: the mask is 10 x 6 pixels and its image 10 x 12"):
            read()


def test_the_source_stays_what_it_is():
    source = Own()
    data = SegmentationData(INFO, source, source, source, source)
    assert data.labeled is data.val is data.test
    assert data.labeled.extra == source.extra
    again = pickle.loads(pickle.dumps(data.labeled))
    assert len(again) == 3
    assert np.array_equal(again.mask(0), MASK)
    assert dataclasses.replace(data).labeled is data.labeled
    with pytest.raises(AttributeError, match="nothing"):
        _ = data.labeled.nothing


def test_black_and_white_masks_are_no_ids(caplog):
    """Else the white class would count as ignored, in silence."""
    white = np.where(MASK == 1, np.uint8(255), np.uint8(0))
    with pytest.raises(DataError, match=r"photo 0 and others hold 0 and 255 alone.* return its id, 1"):
        verify(data_of(Own(mask=white)), needs_unlabeled=True)
    verify(data_of(Own(mask=white, count=9)), needs_unlabeled=True)
    assert "hold 0 and 255 alone" in caplog.text
    assert "(8 of 9 looked at)" in caplog.text
    caplog.clear()
    verify(data_of(Own(mask=MASK)), needs_unlabeled=True)
    assert "0 and 255" not in caplog.text
    for mask in (np.zeros_like(MASK), np.full_like(MASK, 255)):
        with pytest.raises(DataError, match=r"nothing can be learned|not one pixel"):
            verify(data_of(Own(mask=mask)), needs_unlabeled=True)
