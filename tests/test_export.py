import re
import sys

import pytest

from helpers.support import at_night, save_run, write_pair
from unimatch import Predictor
from unimatch.export import main


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """The command in this process; its status and what it printed."""
    checkpoint = save_run(tmp_path / "best.ckpt", tmp_path)

    def call(*overrides):
        monkeypatch.setattr(sys, "argv", ["unimatch.export", f"checkpoint={checkpoint}", *overrides])
        try:
            main()
        except SystemExit as stopped:
            return int(stopped.code), capsys.readouterr().err
        return 0, capsys.readouterr().out

    return call


def test_the_command_exports_and_verifies(export, tmp_path):
    status, printed = export(f"output={tmp_path / 'new' / 'model.safetensors'}", "precision=float16", "verify=true")
    assert status == 0
    assert "safetensors, float16" in printed
    assert "3 images: largest difference of a logit" in printed
    assert Predictor(tmp_path / "new" / "model.safetensors").classes[0] == "sky"


@pytest.mark.parametrize("size", ["[64,32]", "[32,96]"])
def test_a_model_of_one_size_is_compared_on_noise_of_that_size(export, tmp_path, size):
    """Other noise would be resized for one of the two models, which would differ by much."""
    status, printed = export(f"output={tmp_path / 'model.onnx'}", f"size={size}", "verify=true")
    assert status == 0
    difference = float(re.search(r"largest difference of a logit ([\d.e+-]+)", printed)[1])
    assert difference < 1e-4


def test_images_that_cannot_be_read_are_counted_and_left_out(export, tmp_path):
    for name in ("a", "b", "c"):
        write_pair(tmp_path / "photos" / f"{name}.png", None)
    (tmp_path / "photos" / "b.png").write_bytes(b"no image")
    arguments = (f"output={tmp_path / 'model.safetensors'}", "verify=true", f"images={tmp_path / 'photos'}")
    status, printed = export(*arguments)
    assert status == 0
    assert "2 images: largest difference of a logit" in printed
    assert "1 of 3 images could not be read" in printed
    assert "b.png" in printed
    for name in ("a", "c"):
        (tmp_path / "photos" / f"{name}.png").write_bytes(b"")
    status, message = export(*arguments)
    assert status == 2
    assert "a.png" in message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["output=model.bin"], "unimatch: output=model.bin: choose format=onnx with a file *.onnx"),
        (["output=model.onnx", "format=torch"], "format=torch with a file *.pt2"),
        at_night(["output=model.onnx", "precision=int8"], "precision=int8"),
        at_night(["output=model.onnx", "verify=true", "images=nowhere"], "no images there"),
        (["output=model.pt2", "opset=18"], "opset, size, batch, normalize and labels are options of ONNX files only"),
        (["output=model.onnx", "labels=true", "verify=true"], "labels=true: verify compares logits"),
        at_night(["output=model.onnx", "size=[64]"], "must be a height and a width"),
    ],
)
def test_bad_settings_are_refused(export, overrides, expected):
    status, message = export(*overrides)
    assert status == 2
    assert expected in message
