import numpy as np
import pytest
from PIL import Image

from unimatch.data import digits, folder
from unimatch.data.check.before_training import verify
from unimatch.data.sets.digits import DigitScenes
from unimatch.data.sources.files import FilePair, FilePairs
from unimatch.errors import DataError


def message_of(data, needs_unlabeled=True):
    with pytest.raises(DataError) as caught:
        verify(data, needs_unlabeled=needs_unlabeled)
    return str(caught.value)


def test_faultless_data_passes(folder_root):
    verify(folder(folder_root, labeled=3), needs_unlabeled=True)
    verify(folder(folder_root), needs_unlabeled=False)


def test_ignored_pixels_and_every_class_pass(folder_root, write_pair):
    write_pair(folder_root / "images" / "a0.png", folder_root / "masks" / "a0.png", ids=(0, 1, 2, 255))
    verify(folder(folder_root), needs_unlabeled=True)


def test_data_made_in_memory_passes_without_being_made(monkeypatch):
    monkeypatch.setattr(DigitScenes, "image", lambda *arguments: pytest.fail("a scene was made"))
    verify(digits(train=10, labeled=3, val=2, size=32), needs_unlabeled=True)


def test_empty_pool_is_refused_with_three_remedies(folder_root):
    (folder_root / "unlabeled").rename(folder_root / "elsewhere")
    data = folder(folder_root)
    message = message_of(data)
    assert "unlabelled pool is empty" in message
    assert "dataset.labeled=N" in message
    assert "unlabeled/" in message
    assert "dataset.unlabeled=train" in message
    verify(data, needs_unlabeled=False)


@pytest.mark.parametrize(("part", "name"), [("labeled", "labelled"), ("val", "validation")])
def test_part_without_images_is_refused(folder_root, part, name):
    data = folder(folder_root)
    getattr(data, part).pairs = FilePairs()
    assert message_of(data) == f"there are no {name} images"


@pytest.mark.parametrize("where", ["", "val"])
def test_mask_of_another_size_is_named_with_both_sizes(folder_root, write_pair, where):
    folder_of_part, stem = folder_root / where, "v1" if where else "a1"
    image, mask = folder_of_part / "images" / f"{stem}.png", folder_of_part / "masks" / f"{stem}.png"
    write_pair(image, mask, size=(16, 20), mask_size=(8, 10))
    message = message_of(folder(folder_root))
    assert f"{mask}: the mask is 10 x 8 pixels and its image 20 x 16; they must be equal" in message
    assert ("validation" if where else "labelled") in message


def test_class_id_out_of_range_is_named_with_its_pixel_count_and_remedy(folder_root):
    ids = np.zeros((16, 20), np.uint8)
    ids[0, :7] = 3
    ids[5:7, 2:4] = 200
    ids[9] = 255
    mask = folder_root / "masks" / "a0.png"
    Image.fromarray(ids).save(mask)
    message = message_of(folder(folder_root))
    assert f"{mask}: id 3 (7 pixels), id 200 (4 pixels) outside the 3 classes 0-2" in message
    assert "id 255" not in message
    assert "correct the mask, name more classes, or mark such pixels 255" in message


def test_labeled_image_without_mask_is_named(folder_root):
    data = folder(folder_root)
    pairs = list(data.labeled.pairs)
    data.labeled.pairs = FilePairs.of([FilePair(pairs[0].image), *pairs[1:]])
    assert f"{pairs[0].image}: has no mask" in message_of(data)


@pytest.mark.parametrize("path", ["images/a3.png", "masks/a3.png", "val/images/v0.png", "val/masks/v0.png"])
def test_truncated_file_is_named_with_the_remedy(folder_root, path):
    file = folder_root / path
    file.write_bytes(file.read_bytes()[:60])
    message = message_of(folder(folder_root))
    assert f"{file}: cannot be read" in message
    assert "repair or remove it" in message


def test_mask_of_colors_is_named(folder_root, write_pair):
    mask = folder_root / "masks" / "a2.png"
    write_pair(mask, None)
    message = message_of(folder(folder_root))
    assert f"{mask}: a mask must be an index image" in message
    assert "RGB" in message


def test_truncated_unlabeled_image_is_found_where_it_is_used(folder_root):
    file = folder_root / "unlabeled" / "u2.png"
    file.write_bytes(file.read_bytes()[:60])
    data = folder(folder_root)
    message = message_of(data)
    assert "1 fault in the unlabelled images" in message
    assert str(file) in message
    verify(data, needs_unlabeled=False)


def test_five_faults_are_listed_and_the_others_counted(folder_root):
    for i in range(6):
        (folder_root / "images" / f"a{i}.png").write_bytes(b"")
    message = message_of(folder(folder_root))
    assert message.startswith("6 faults in the labelled images:\n")
    assert message.count("cannot be read") == 5
    assert message.endswith("(and 1 more like these; python -m unimatch.check names all)")


def test_image_that_is_labeled_and_validation_image_is_refused(folder_root):
    (folder_root / "val.txt").write_text("images/a2.png masks/a2.png\nimages/a3.png masks/a3.png\n")
    (folder_root / "labeled.txt").write_text("images/a1.png masks/a1.png\nimages/a2.png masks/a2.png\n")
    data = folder(folder_root, labeled_list=folder_root / "labeled.txt", val_list=folder_root / "val.txt")
    assert message_of(data).startswith("1 image in the labelled and in the validation list, such as ")
    assert "python -m unimatch.split writes lists that go together" in message_of(data)
    assert "a2.png" in message_of(data)


def test_image_that_is_labeled_and_test_image_is_refused(folder_root):
    data = folder(folder_root)
    data.test.pairs = data.labeled.pairs.select([1])
    assert message_of(data).startswith("1 image in the labelled and in the test list, such as ")
    assert data.labeled.pairs.image(1) in message_of(data)


def test_unlabeled_validation_images_are_said(folder_root, caplog):
    (folder_root / "unlabeled.txt").write_text("val/images/v0.png\nimages/a0.png\n")
    verify(folder(folder_root, unlabeled_list=folder_root / "unlabeled.txt"), needs_unlabeled=True)
    assert "1 validation images are also unlabelled training images" in caplog.text


def test_bad_unlabeled_images_that_are_skipped_are_said(folder_root, caplog):
    (folder_root / "unlabeled" / "u1.png").write_bytes(b"")
    verify(folder(folder_root, on_bad_image="skip"), needs_unlabeled=True)
    assert "1 of 4 unlabelled images looked at cannot be read: such are skipped" in caplog.text
    for path in (folder_root / "unlabeled").iterdir():
        path.write_bytes(b"")
    assert message_of(folder(folder_root, on_bad_image="skip")).startswith("4 faults in the unlabelled images")
