from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from unimatch.data import digits, digits_classification, folder
from unimatch.data.check.duplicates import fingerprint
from unimatch.data.check.one_image import kind_of_image_error, read, read_label
from unimatch.data.sources.masks import IndexMasks


def test_an_image_and_its_mask_are_counted(folder_root):
    source = folder(folder_root).labeled
    reading = read((source, IndexMasks(source.info)), 2)
    image, mask = source.image(2), source.mask(2)
    assert reading.image_faults == reading.label.faults == ()
    assert reading.shape == image.shape[:2]
    assert reading.fingerprint == fingerprint(image)
    assert reading.label.stored == Counter(mask.ravel().tolist())


def test_an_image_in_memory_has_no_files(tmp_path):
    source = digits(train=4, labeled=2, val=1, size=32).labeled
    reading = read((source, None), 1)
    assert reading.label.stored == Counter(source.mask(1).ravel().tolist())
    assert kind_of_image_error(source, 1) == "unreadable"


def test_a_class_counts_once():
    source = digits_classification().labeled
    assert read((source, None), 0).label.stored == {int(source.mask(0)): 1}


def test_what_cannot_be_read_is_a_fault_and_the_rest_is_counted(folder_root):
    source = folder(folder_root).labeled
    ids = IndexMasks(source.info)
    Path(source.name(0)).write_bytes(b"no image")
    reading = read((source, ids), 0)
    assert [kind for kind, _ in reading.image_faults] == ["unreadable"]
    assert (reading.shape, reading.fingerprint) == (None, None)
    assert sum(reading.label.stored.values()) == source.mask(0).size
    Path(source.name(1)).unlink()
    (folder_root / "masks" / "a1.png").unlink()
    reading = read((source, ids), 1)
    assert [kind for kind, _ in (*reading.image_faults, *reading.label.faults)] == ["missing", "no mask"]
    assert reading.label.faults[0][1] == f"{source.name(1)}: no mask {folder_root}/masks/a1.png"
    assert reading.label.stored is None


def test_a_label_is_what_the_file_stores(folder_root):
    data = folder(folder_root, reduce_zero_label=True)
    source, ids = data.labeled, IndexMasks(data.info)
    label, classes = read_label((source, ids), 0), source.mask(0)
    assert label.classes == Counter(classes.ravel().tolist())
    assert label.stored == Counter(np.where(classes == 255, 0, classes + 1).ravel().tolist())


def test_transparent_pixels_count_as_no_class(folder_root):
    source = folder(folder_root).labeled
    ids = source.mask(0)
    clear = np.full_like(ids, 255)
    clear[:2] = 0
    Image.fromarray(np.dstack([ids, clear])).save(folder_root / "masks" / "a0.png")
    label = read_label((source, IndexMasks(source.info)), 0)
    assert label.classes == Counter(np.where(clear > 0, ids, 255).ravel().tolist())
    assert label.stored == Counter(ids[2:].ravel().tolist())
    assert [kind for kind, _ in label.faults] == ["transparent"]


def test_a_mask_of_too_many_ids_is_a_fault_and_its_ids_are_not_kept(folder_root):
    Image.fromarray(np.arange(30 * 400, dtype=np.int32).reshape(30, 400)).save(folder_root / "masks" / "a0.tif")
    (folder_root / "masks" / "a0.png").unlink()
    data = folder(folder_root)
    label = read_label((data.labeled, IndexMasks(data.info)), 0)
    assert [kind for kind, _ in label.faults] == ["ids out of range"]
    assert "more than 4,096 different ids" in label.faults[0][1]
    assert not label.stored
