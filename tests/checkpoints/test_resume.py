import logging

import pytest
import torch

from unimatch.checkpoints import resume
from unimatch.checkpoints.content import Place, Training, write
from unimatch.checkpoints.resume import (
    MAY_BE_SKIPPED,
    Change,
    best_before,
    changes,
    check_optimizer,
    check_unchanged,
    choose_checkpoint,
    requeued,
)
from unimatch.errors import ConfigError

OLD = {"seed": 0, "method": {"tau": 0.95, "scales": [1, 2]}, "trainer": {"accelerator": "gpu"}}


def test_every_setting_that_differs_is_named_in_full():
    new = {"seed": 1, "method": {"tau": 0.95, "scales": [1], "mu": 2}, "trainer": {}}
    found = [(change.key, change.old, change.new) for change in changes(OLD, new)]
    assert found == [
        ("seed", 0, 1),
        ("method.scales", [1, 2], [1]),
        ("method.mu", None, 2),
        ("trainer.accelerator", "gpu", None),
    ]
    assert not list(changes(OLD, OLD))


def test_settings_that_did_not_exist_are_as_what_was_done_then():
    new = {"dataset": {"exif": "turn", "unknown_values": "nearest", "mask_suffix": ""}}
    assert [change.key for change in changes({"dataset": {}}, new)] == ["dataset.unknown_values"]


@pytest.mark.parametrize("key", resume.DERIVED)
def test_settings_that_act_through_others_are_not_compared(key):
    first, second = ({key.rstrip("."): {"crop": side}} for side in (32, 64))
    assert not list(changes(first, second))


@pytest.mark.parametrize(
    ("key", "matters"), [("method.tau", True), ("processes", True), ("datamodule.workers", False), ("logger.x", False)]
)
def test_only_what_is_trained_matters(key, matters):
    change = Change(key, 1, 2)
    assert change.matters is matters
    assert ("changes nothing that is trained" in str(change)) is not matters
    assert f"{key}: 1 -> 2" in str(change)


def test_another_training_is_refused_unless_that_is_allowed(caplog):
    new = {**OLD, "seed": 1}
    check_unchanged(OLD, OLD, allowed=False)
    with pytest.raises(ConfigError, match=r"seed: 0 -> 1\n.*resume_changed=true"):
        check_unchanged(OLD, new, allowed=False)
    with caplog.at_level(logging.WARNING, "unimatch"):
        check_unchanged(OLD, new, allowed=True)
        check_unchanged(OLD, {**OLD, "trainer": {"accelerator": "cpu"}}, allowed=False)
    assert "seed: 0 -> 1" in caplog.text
    assert "trainer.accelerator: gpu -> cpu (changes nothing that is trained)" in caplog.text


def stepped(make, kept=(True, True)):
    """An optimiser of an encoder's locked weight and a decoder's, whose state is emptied where it is not kept."""
    encoder, decoder = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = make([encoder, decoder])
    for parameter in (encoder, decoder):
        parameter.grad = torch.ones(2)
    optimizer.step()
    for parameter, keep in zip((encoder, decoder), kept, strict=True):
        if not keep:
            optimizer.state[parameter] = {}
    encoder.requires_grad_(False)
    return optimizer


@pytest.mark.parametrize("make", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)])
def test_an_optimizer_that_would_begin_anew_is_refused(make):
    check_optimizer(stepped(make), 5, locked=False)
    check_optimizer(stepped(make, (False, True)), 5, locked=True)  # the encoder was not trained yet
    for kept, locked in (((False, True), False), ((True, False), True)):
        with pytest.raises(ValueError, match=r"keeps .*\[\]"):
            check_optimizer(stepped(make, kept), 5, locked=locked)
    nothing = stepped(make)
    nothing.state.clear()
    check_optimizer(nothing, MAY_BE_SKIPPED, locked=False)
    with pytest.raises(ValueError, match="has kept nothing of 101 steps"):
        check_optimizer(nothing, MAY_BE_SKIPPED + 1, locked=False)


def test_an_optimizer_of_your_own_may_keep_nothing():
    check_optimizer(stepped(lambda p: torch.optim.SGD(p, lr=0.1)), 1000, locked=False)
    check_optimizer(stepped(torch.optim.RAdam, (True, False)), 1000, locked=False)


def test_which_checkpoint_is_meant(tmp_path):
    assert choose_checkpoint(None, tmp_path) is None
    assert choose_checkpoint("auto", tmp_path) is None  # nothing there yet
    (tmp_path / "some.ckpt").write_bytes(b"")
    assert choose_checkpoint(str(tmp_path / "some.ckpt"), tmp_path) == tmp_path / "some.ckpt"
    with pytest.raises(ConfigError, match=r"resume=gone\.ckpt: no such file; resume=auto takes"):
        choose_checkpoint("gone.ckpt", tmp_path)


@pytest.mark.parametrize(("count", "expected"), [(None, False), ("", False), ("0", False), ("2", True)])
def test_slurm_counts_how_often_a_job_was_started(count, expected, monkeypatch):
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    assert requeued() is expected


def checkpoint_with(path, scores):
    """A file that holds what a training of so many evaluations records of them."""
    evaluations = [{"step": step, "teacher": score} for step, score in enumerate(scores)]
    place = Place(epoch=0, batch=len(scores), evaluated=True, accumulating=False)
    content = {"state_dict": {}, "unimatch_model": {"encoder": "tiny"}}
    write(content, Training(place, len(scores), evaluations, None))
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("best", "last", "found"),
    [
        ([0.5], [0.5, 0.4], True),
        ([0.5], [0.5], True),
        ([0.5, 0.6], [0.5], False),  # it was reached later
        ([0.5], [0.4, 0.3], False),  # of another training
        ([], [0.5], False),
        (None, [0.5], False),
    ],
)
def test_the_best_checkpoint_before_another_is_of_the_same_training_and_no_later(best, last, found, tmp_path):
    place = tmp_path / "best.ckpt"
    if best is not None:
        checkpoint_with(place, best)
    last = checkpoint_with(tmp_path / "last.ckpt", last)
    assert best_before(last) == (place if found else None)


def test_a_damaged_best_checkpoint_is_no_reason_not_to_continue(tmp_path, caplog):
    last = checkpoint_with(tmp_path / "last.ckpt", [0.5])
    (tmp_path / "best.ckpt").write_bytes(b"damaged")
    assert best_before(last) is None
    assert "best.ckpt is not brought along: " in caplog.text
