from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from unimatch import Segmentation
from unimatch.callbacks.pictures import Pictures, draw_curves
from unimatch.callbacks.tracking import Tracking
from unimatch.errors import ConfigError
from unimatch.methods.base import Method


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_curves_of_any_length_are_drawn_and_none_of_nothing(tmp_path, rows):
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("step,train/loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(rows)))
    draw_curves(metrics, Segmentation(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file() is (rows > 0)


def test_pictures_that_fail_end_no_run(tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise ValueError("$: not a formula")

    for name in ("draw_predictions", "draw_curves"):
        monkeypatch.setattr(f"unimatch.callbacks.pictures.{name}", fail)
    data = SimpleNamespace(val=range(3), info=None)
    method = MagicMock()
    method.__class__ = Method
    Pictures(tmp_path, data).on_fit_end(SimpleNamespace(is_global_zero=True, loggers=[]), method)
    for name in ("validation.png", "curves.png"):
        assert f"{name} was not drawn: $: not a formula" in caplog.text


def test_no_or_a_negative_number_of_images_is_refused(tmp_path):
    data = SimpleNamespace(val=range(3), info=None)
    for count in (0, -1):
        with pytest.raises(ConfigError, match=rf"^count={count}: must be at least 1"):
            Pictures(tmp_path, data, count=count)
        with pytest.raises(ConfigError, match=rf"^count={count}: must be at least 1"):
            Tracking(data, count=count)
