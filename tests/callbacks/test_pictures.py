import pytest

from unimatch import Segmentation
from unimatch.callbacks.pictures import draw_curves, read_curve


def test_read_curve_skips_rows_without_a_value():
    rows = [{"step": "0", "a": "1.5"}, {"step": "1", "a": ""}, {"step": "2", "a": "2.5"}]
    steps, values = read_curve(rows, "a")
    assert steps.tolist() == [0, 2]
    assert values.tolist() == [1.5, 2.5]
    assert len(read_curve(rows, "b")[0]) == 0


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_curves_of_any_length_are_drawn_and_none_of_nothing(tmp_path, rows):
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("step,train/loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(rows)))
    draw_curves(metrics, Segmentation(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file() is (rows > 0)
