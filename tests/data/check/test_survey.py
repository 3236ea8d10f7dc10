"""What is said of masks before a training, and of how many of them."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.cases import make, masks, save
from unimatch import DataError, SegmentationData
from unimatch.data import digits, folder
from unimatch.data.catalog import CAMVID
from unimatch.data.check import survey as module
from unimatch.data.check.before_training import look, verify
from unimatch.data.check.findings import Finding
from unimatch.data.check.survey import NAMED, SAMPLE_LEAST, SAMPLE_LIMIT, SAMPLE_OWN, line, some_of, spread, survey
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePairs


@given(st.integers(1, 5000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_large_parts_are_sampled_evenly(count):
    source = FileSource(FilePairs([("image", None)] * count), CAMVID)
    chosen = spread(source)
    assert len(chosen) == min(count, SAMPLE_LIMIT)
    assert chosen[0] == 0
    gaps = np.diff([*chosen, count])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_looking_ends_when_the_time_is_up(folder_root, monkeypatch, caplog):
    caplog.set_level("INFO", "unimatch")
    monkeypatch.setattr(module, "SAMPLE_SECONDS", 0.0)
    source = folder(folder_root).labeled
    source.pairs = source.pairs.select([0] * 500)
    found, looked_at = look("labelled", source)
    assert (found, looked_at) == ([], SAMPLE_LEAST)
    assert "checked 100 of 500 labelled images" in caplog.text


def test_results_are_in_the_images_order(folder_root):
    source = folder(folder_root).labeled
    source.pairs = source.pairs.select([0] * 45)
    assert some_of(source, lambda index: index) == [*range(45)]


def own(*classes, size=3):
    """Images of one class each, as of a data set of PyTorch's."""
    samples = [(np.full((4, 4, 3), i % 256, np.uint8), label) for i, label in enumerate(classes)]
    return SegmentationData.from_datasets(samples, [], samples, classes=[f"c{i}" for i in range(size)])


def test_few_are_read_of_a_source_of_ones_own_and_none_of_what_is_made_in_memory():
    assert spread(own(*range(3)).labeled) == [0, 1, 2]
    assert len(spread(own(*[0] * 50).labeled)) == SAMPLE_OWN
    assert spread(digits(train=10, labeled=3, val=2, size=32).labeled) == []


def test_a_source_of_ones_own_is_read_by_one_thread(folder_root):
    threads = set(some_of(own(0, 1, 2).labeled, lambda index: threading.get_ident()))
    assert threads == {threading.get_ident()}
    assert threading.get_ident() not in some_of(folder(folder_root).labeled, lambda index: threading.get_ident())


def test_classes_that_are_not_there_are_named_where_every_image_was_looked_at():
    assert survey(own(0, 1, 1)) == [
        "labelled: class never labelled (no labelled image shows a class, so it cannot be learned): c2",
        "validation: class not validated (no validation image shows a class, so its score is not measured): c2",
    ]
    assert survey(own(*range(50), size=50)) == []  # 8 of 50 show 8 classes at most
    with pytest.raises(DataError, match=r"one class .*c1 alone, in 3 of them"):
        survey(own(1, 1, 1))


def test_a_sample_of_masks_is_no_proof(tmp_path, monkeypatch):
    root = make(tmp_path / "data")
    masks(save(np.zeros_like), only=slice(4))(root)
    data = folder(root, val_share=0.2)
    monkeypatch.setattr(module, "MASK_LIMIT", 2)
    data.labeled.pairs = data.labeled.pairs.select([0, 1, 2, 3] * 3)
    assert any(line.startswith("labelled (2 of 12 masks looked at): ") for line in verify(data, needs_unlabeled=True))


def test_a_line_names_the_first_files_and_counts_the_others():
    finding = Finding("lossy mask", "labelled", tuple(f"{i}.jpg" for i in range(NAMED + 2)))
    text = line(finding, " (5 of 9 masks looked at)")
    assert text.startswith("labelled (5 of 9 masks looked at): lossy mask (a mask is a JPEG")
    assert text.endswith("): 0.jpg; 1.jpg; 2.jpg and 2 more")


def test_masks_of_the_validation_images_alone_end_no_run(folder_root):
    for path in (folder_root / "val" / "masks").iterdir():
        Image.new("L", Image.open(path).size, 255).save(path)
    assert any(line.startswith("validation: all ignored") for line in survey(folder(folder_root)))
