import numpy as np
import pytest

from helpers.exports import HEIGHT, WIDTH, area, masks, photo, png
from unimatch.labelling import predicted_labels


@pytest.mark.parametrize(("classes", "background"), [(("background", "leaf"), "background"), (("sky", "leaf"), None)])
def test_masks_become_labels_whose_background_people_leave_unlabelled(classes, background, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[area(1, 1, 6, 5)], mask[area(8, 0, 12, 2)] = 1, 255
    photo(tmp_path / "photos" / "a.png")
    (tmp_path / "a.png").write_bytes(png(mask))
    labels = predicted_labels([("drive/a.png", tmp_path / "photos" / "a.png", tmp_path / "a.png")], classes)
    assert (labels.classes, labels.background) == (classes, background)
    assert np.array_equal(masks(labels)["train/drive/a.png"], mask)
