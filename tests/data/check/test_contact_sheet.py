import dataclasses

import numpy as np
import pytest
from PIL import Image

from unimatch.data import folder
from unimatch.data.check.contact_sheet import draw_contact_sheet, draw_image, shrink


@pytest.fixture
def root(folder_root):
    """The folder layout of ``conftest``: 6 labelled, 4 unlabelled, 3 validation, 2 test images; ids 0, 1 and 2."""
    return folder_root


def test_the_contact_sheet_shows_images_under_their_masks(root, tmp_path):
    (root / "images" / "a0.png").write_bytes(b"")
    data = folder(root)
    draw_contact_sheet(data, tmp_path / "sheet.png", {"labelled": [0]})
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)
    assert red.any()  # the name of the faulty one
    picture, ids = draw_image(data.val, 0, data.info)
    assert ids == {0, 1, 2}
    assert max(picture.shape[:2]) == 320
    grey, none = draw_image(data.labeled, 0, data.info)
    assert np.unique(grey).tolist() == [128]
    assert none == set()


def test_classes_whose_colours_are_alike_are_told_apart(root):
    data = folder(root)
    info = dataclasses.replace(data.info, palette=((64, 0, 64), (70, 0, 70), (64, 0, 76)))
    picture, _ = draw_image(data.val, 0, info)
    added = picture - shrink(data.val.image(0)) / 2  # half of each pixel's colour
    shown = [np.array(color) // 2 for color in info.colors]
    nearest = np.min([np.abs(added - color).max(2) for color in shown], axis=0)
    assert nearest.max() <= 1
    assert all((np.abs(added - color).max(2) <= 1).any() for color in shown)
