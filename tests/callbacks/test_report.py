import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unimatch import SegmentationModel, UniMatchV2
from unimatch.callbacks import Report
from unimatch.callbacks.report import mean_iou


def test_a_report_that_fails_is_a_warning(tmp_path, caplog):
    trainer = SimpleNamespace(is_global_zero=True)
    method = UniMatchV2(SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8)))
    method.evaluations = [None]
    with caplog.at_level(logging.WARNING, "unimatch"):
        Report(tmp_path, None).on_fit_end(trainer, method)
    assert "report.html: not written (DataError" in caplog.text


def test_an_images_miou_is_the_mean_over_its_classes():
    rng = np.random.default_rng(0)
    truth, guess = rng.choice([0, 1, 3], 50), rng.choice([0, 1, 3, 4], 50)
    confusion = np.zeros((6, 6), int)
    np.add.at(confusion, (truth, guess), 1)
    found = [c for c in range(6) if (truth == c).any() or (guess == c).any()]
    ious = [np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c)) for c in found]
    assert float(mean_iou(torch.tensor(confusion))) == pytest.approx(100 * np.mean(ious))
    assert float(mean_iou(torch.zeros(2, 2, dtype=torch.int64))) == 0
