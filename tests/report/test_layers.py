import io

import numpy as np
import pytest
from PIL import Image

from unimatch.report.layers import LEVELS, class_layer, confidence_layer, error_layer, level_colors

COLORS = [(0, 0, 0), (200, 10, 20), (30, 220, 40)]


def as_seen(layer: Image.Image) -> list[list[int]]:
    """The colours and opacities that a browser draws from the file."""
    file = io.BytesIO()
    layer.save(file, "PNG", transparency=layer.info["transparency"])
    return np.asarray(Image.open(file).convert("RGBA"))[0].tolist()


def test_classes_have_their_colours_the_background_is_clear_and_no_class_is_clearer():
    mask = np.array([[0, 1, 2, 255, 7]])
    clear = [0, 0, 0, 0]
    assert as_seen(class_layer(mask, COLORS)) == [[0, 0, 0, 1], [200, 10, 20, 255], [30, 220, 40, 255], clear, clear]
    assert as_seen(class_layer(mask, COLORS, background=True))[0] == [0, 0, 0, 255]


def test_errors_are_what_was_predicted_where_the_truth_is_known_and_another():
    truth, predicted = np.array([[1, 1, 2, 255, 0]], np.uint8), np.array([[1, 0, 1, 2, 0]])
    clear = [0, 0, 0, 0]
    assert as_seen(error_layer(truth, predicted, COLORS)) == [clear, [0, 0, 0, 255], [200, 10, 20, 255], clear, clear]


@pytest.mark.parametrize(
    ("confidence", "level"), [(0.0, 0), (0.5, LEVELS // 2), (0.999, LEVELS - 1), (1.0, LEVELS - 1)]
)
def test_confidence_has_the_colour_of_its_level(confidence, level):
    layer = confidence_layer(np.array([[confidence]], np.float32))
    assert as_seen(layer) == [[*level_colors()[level], 255]]
