import numpy as np
from PIL import Image

from helpers.exports import area, masks, photo, save
from unimatch.labelling import read


def test_voc_colours_void_and_lists(tmp_path):
    mask = Image.fromarray(np.where(area(1, 1, 5, 5), 15, 0).astype(np.uint8))
    mask.putpalette([channel for color in ((0, 0, 0), *[(1, 1, 1)] * 14, (192, 128, 128)) for channel in color])
    for name in "ab":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(tmp_path / "SegmentationClass" / f"{name}.png")
    save(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "b\n")
    labels = read(tmp_path)
    assert labels.classes[15] == "person"
    assert {name: np.unique(mask).tolist() for name, mask in masks(labels).items()} == {
        "train/a.jpg": [0, 15],
        "val/b.jpg": [0, 15],
    }
