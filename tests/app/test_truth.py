import numpy as np
import pytest
from PIL import Image

from unimatch import DataError, Inference
from unimatch.app.truth import Truth, agreement
from unimatch.engines.model_facts import ModelFacts

PALETTE = ((0, 0, 0), (200, 10, 10), (10, 200, 10))
FACTS = ModelFacts(("background", "road", "car"), PALETTE, (0.5,) * 3, (0.5,) * 3, 1, Inference())
IDS = np.array([[0, 1, 2, 1]], np.uint8)


def saved(path, array, palette=None):
    image = Image.fromarray(np.asarray(array, np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("array", "palette", "dataset"),
    [
        (IDS, None, {}),
        (IDS, [channel for color in PALETTE for channel in color], {}),
        (np.array(PALETTE, np.uint8)[IDS], None, {}),
        (IDS + 1, None, {"reduce_zero_label": True}),
        (IDS * 100, None, {"ids": {0: 0, 100: 1, 200: 2}}),
        (IDS * 100, None, {"ids": {"0": 0, "100": 1, "200": 2}}),
        (IDS, None, {"ids": {"soon": []}}),
        (IDS, None, {"ignore_ids": [{}]}),
        (IDS, None, {"ids": {10**9: 0}}),
        (IDS, None, {"ids": {float("inf"): 0}}),
        (IDS, None, {"ignore_ids": [float("nan")]}),
        (IDS, None, {"ignore_ids": [float("inf")]}),
    ],
)
def test_masks_are_read_as_the_data_set_stores_them_or_in_colours(tmp_path, array, palette, dataset):
    path = saved(tmp_path / "mask.png", array, palette)
    assert np.array_equal(Truth(FACTS, dataset).read(path, (1, 4)), IDS)


def test_ignored_ids_of_the_data_set_are_no_class(tmp_path):
    path = saved(tmp_path / "mask.png", [[0, 11, 1, 255]])
    assert Truth(FACTS, {"ignore_ids": [11]}).read(path, (1, 4)).tolist() == [[0, 255, 1, 255]]


def test_a_mask_of_another_size_or_of_other_classes_is_refused(tmp_path):
    path = saved(tmp_path / "mask.png", IDS)
    with pytest.raises(DataError, match="has 4 x 1 pixels, and the image 4 x 2"):
        Truth(FACTS, {}).read(path, (2, 4))
    with pytest.raises(DataError, match="id 7"):
        Truth(FACTS, {}).read(saved(tmp_path / "other.png", [[7, 0, 0, 0]]), (1, 4))


def test_agreement_counts_as_a_slow_loop_does():
    generator = np.random.default_rng(0)
    seen, true = generator.integers(0, 4, (2, 9, 9), np.uint8)
    true[0] = 255
    for each in agreement(seen, true, 4):
        both = either = 0
        for s, t in zip(seen.ravel(), true.ravel(), strict=True):
            if t != 255:
                both += s == t == each["index"]
                either += each["index"] in (s, t)
        assert (each["both"], each["either"]) == (both, either)
