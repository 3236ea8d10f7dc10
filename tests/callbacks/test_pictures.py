import pytest

from unimatch import Segmentation
from unimatch.callbacks.pictures import draw_curves


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_curves_of_any_length_are_drawn_and_none_of_nothing(tmp_path, rows):
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("step,train/loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(rows)))
    draw_curves(metrics, Segmentation(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file() is (rows > 0)
