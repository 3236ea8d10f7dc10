import pytest
import torch

from helpers.support import save_run
from unimatch import WeightsError
from unimatch.app.opened import open_model


def test_model_run_and_data_set_are_named(tmp_path):
    path = save_run(tmp_path / "runs" / "street" / "checkpoints" / "best.ckpt", tmp_path / "streets")
    opened = open_model(str(path), "student", "cpu")
    assert opened.about == {
        "Model": "a model, student, encoder tiny",
        "Run": "street, best.ckpt",
        "Data set": "camvid, streets",
    }
    content = torch.load(path)
    content["unimatch_run"]["config"] |= {"method": {"_target_": "unimatch.UniMatchV2"}, "dataset": ["damaged\n"]}
    torch.save(content, tmp_path / "other.ckpt")
    opened = open_model(str(tmp_path / "other.ckpt"), "teacher", "cpu")
    assert opened.about == {"Model": "UniMatchV2, teacher, encoder tiny", "Run": "other.ckpt"}
    assert opened.dataset == {}


def test_a_file_that_is_none_is_one_message(tmp_path):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(WeightsError):
        open_model(str(tmp_path / "text.ckpt"))
