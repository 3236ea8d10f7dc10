import logging

import lightning
import pytest
import torch

from unimatch.engines.torch import TorchEngine
from unimatch.models import SegmentationModel
from unimatch.speed import half_precision
from unimatch.speed.half_precision import seconds_of, warn_of_slow_half
from unimatch.tasks import Segmentation
from unimatch.tasks.evaluator import Evaluator

CPU = torch.device("cpu")


@pytest.fixture
def avx2(monkeypatch):
    """A processor without instructions for bfloat16: 38 s for 1.9 s, as measured."""
    monkeypatch.setattr(half_precision, "seconds_of", {torch.float32: 1.9, torch.bfloat16: 38.0, torch.float16: 2}.get)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "bfloat16"])
def test_a_slow_half_precision_is_named_with_its_figure(avx2, caplog, precision):
    warn_of_slow_half(CPU, precision)
    assert f"precision={precision}: this processor has no instructions for bfloat16 and takes 20 times" in caplog.text


@pytest.mark.parametrize("precision", ["32-true", "float32", 32, "64-true", "16-mixed", "float16"])
def test_what_is_not_slower_is_no_news(avx2, caplog, precision):
    warn_of_slow_half(CPU, precision)
    assert caplog.text == ""


def test_a_gpu_is_not_measured_on_the_cpu(avx2, caplog):
    warn_of_slow_half(torch.device("cuda"), "bf16-mixed")
    assert caplog.text == ""


def test_predicting_and_evaluating_say_it_too(avx2, caplog):
    caplog.set_level(logging.WARNING)
    model = SegmentationModel("tiny", 2, features=4, out_channels=(4, 4, 4, 4)).eval()
    TorchEngine(model, "bfloat16")
    evaluator = Evaluator({"teacher": model}, Segmentation())
    evaluator.trainer = lightning.Trainer(accelerator="cpu", precision="bf16-mixed", logger=False)
    evaluator.setup("validate")
    assert caplog.text.count("20 times") == 2


def test_times_are_measured():
    assert 0 < seconds_of(torch.float32) < 1
