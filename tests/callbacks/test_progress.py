import logging
import signal
from types import SimpleNamespace

import pytest
import torch

from helpers.fits import fit, make_method
from unimatch.callbacks import CheckpointFiles, Checkpoints, Guard
from unimatch.callbacks.progress import Progress, count_images
from unimatch.errors import ConfigError


def test_images_of_both_loaders_count():
    labeled, unlabeled = {"index": torch.arange(3)}, {"index": torch.arange(4)}
    assert count_images({"labeled": labeled}) == 3
    assert count_images({"labeled": labeled, "unlabeled": unlabeled}) == 7


def test_a_long_evaluation_is_told_on_the_way():
    said = []
    progress = Progress(line_seconds=3600)
    progress.bar = SimpleNamespace(set_postfix_str=said.append)
    trainer = SimpleNamespace(num_val_batches=[7], sanity_checking=False)
    progress.on_validation_start(trainer, None)
    progress.on_validation_batch_end(trainer, None, None, None, 0)
    assert said == []
    progress.shown_at -= 3600
    progress.on_validation_batch_end(trainer, None, None, None, 3)
    progress.on_validation_batch_end(trainer, None, None, None, 4)
    assert said == ["evaluating 4/7"]


def test_a_negative_time_between_lines_is_refused():
    with pytest.raises(ConfigError, match=r"^line_seconds=-1: must be a number, at least 0"):
        Progress(line_seconds=-1)


def test_the_trial_evaluation_says_of_how_many_images_it_is(caplog):
    with caplog.at_level(logging.INFO, logger="unimatch"):
        fit(make_method(), max_steps=1, val_check_interval=1, num_sanity_val_steps=2, callbacks=[Progress()])
    assert [text for text in caplog.messages if "trial" in text] == ["a trial evaluation of 2 images"]


def test_our_callbacks_may_be_given_to_a_second_fit(tmp_path):
    progress, guard, checkpoints = Progress(), Guard(tmp_path), Checkpoints(tmp_path)
    for _ in range(2):
        trainer = fit(
            make_method(),
            max_steps=1,
            val_check_interval=1,
            num_sanity_val_steps=1,
            enable_checkpointing=True,
            callbacks=[progress, guard, checkpoints],
            plugins=[CheckpointFiles()],
        )
        assert trainer.global_step == 1
        checkpoints.signals.received = signal.SIGTERM  # as if that had ended it
        guard.batches = [(0, 0, None)]
