import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.slow_methods import make_batch, make_semi_supervised
from helpers.support import at_night
from unimatch import ConfigError, FixMatch, UniMatchV1, UniMatchV2
from unimatch.methods.alignment import DistributionAlignment

DECAY = 0.9


def probabilities(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).softmax(1)


def observed(p):
    """``p``, aligned by what ``p`` itself shows."""
    alignment = DistributionAlignment(p.shape[1])
    alignment.observe(torch.tensor([]), p)
    return alignment(p)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 5)])
@pytest.mark.parametrize("labels", [None, [0, 0, 0, 1, 3, 3]])
def test_probabilities_follow_the_published_rule(shape, labels):
    alignment = DistributionAlignment(4, labeled=labels is not None, decay=DECAY)
    average, seen = None, np.ones(4)
    for step in range(3):
        p = probabilities(step, *shape)
        alignment.observe(torch.tensor(labels or []), p)
        if labels is not None:
            np.add.at(seen, labels, 1)
        aligned = alignment(p).numpy()
        # The same by loops over samples and classes.
        flat = p.numpy().reshape(shape[0], 4, -1).astype(np.float64)
        mean = flat.mean(axis=(0, 2))
        average = mean if average is None else DECAY * average + (1 - DECAY) * mean
        target = seen / seen.sum() if labels is not None else np.full(4, 0.25)
        for i in range(shape[0]):
            for j in range(flat.shape[2]):
                moved = flat[i, :, j] * target / average
                expected = moved / moved.sum()
                np.testing.assert_allclose(aligned.reshape(shape[0], 4, -1)[i, :, j], expected, rtol=2e-5)


def test_predictions_that_are_uniform_on_average_stay():
    p = torch.eye(3) * 0.7 + 0.1
    torch.testing.assert_close(observed(p), p)


def test_a_class_that_is_predicted_too_often_loses_to_the_second():
    p = torch.tensor([[0.51, 0.49], [0.95, 0.05], [0.95, 0.05]])
    assert observed(p).argmax(1).tolist() == [1, 0, 0]


def test_a_class_that_is_never_predicted_gives_no_nan():
    aligned = observed(torch.tensor([[1.0, 0.0, 0.0]]))
    assert torch.isfinite(aligned).all()
    assert aligned.sum() == pytest.approx(1)


def test_ignored_labels_do_not_count():
    alignment = DistributionAlignment(3, labeled=True)
    alignment.observe(torch.tensor([[2, 255], [-1, 2]]), probabilities(0, 2, 3))
    assert alignment.counts.tolist() == [1, 1, 3]


@pytest.mark.parametrize("kind", [FixMatch, UniMatchV1, UniMatchV2])
@pytest.mark.parametrize("labels_from", ["teacher", at_night("student")])
def test_pseudo_labels_of_every_method_are_aligned(kind, labels_from):
    options = {"pseudo_labels_from": labels_from, "cutmix_partner": "reversed", "tau": 0.0}
    results = {}
    for target in ("none", "uniform"):
        method = make_semi_supervised(kind, distribution_alignment=target, **options)
        before = {name: value.clone() for name, value in method.state_dict().items()}
        pseudo = method.losses(make_batch(3), torch.Generator().manual_seed(0)).pseudo
        results[target] = pseudo.confidence
        moved = [name for name, value in method.state_dict().items() if "alignment" in name]
        assert bool(moved) == (target == "uniform")
        if target == "uniform":
            assert not torch.equal(method.state_dict()["alignment.average"], before["alignment.average"])
            assert method.alignment.batches == 1
    assert not torch.equal(results["none"], results["uniform"])


@pytest.mark.parametrize("kind", [FixMatch, UniMatchV1, UniMatchV2])
@pytest.mark.parametrize("partner", ["reversed", at_night("second_batch")])
def test_only_losses_move_the_state_once_a_step(kind, partner):
    """A picture of the pseudo labels, drawn between two steps, must not change the training."""
    method = make_semi_supervised(kind, distribution_alignment="labeled", cutmix_partner=partner, tau=0.0)
    batch = make_batch(3, partner=True)
    losses = [method.losses(batch, torch.Generator().manual_seed(0)).total for _ in range(2)]
    assert method.alignment.batches == 2
    assert method.alignment.counts.sum() == 4 + 2 * (batch["labeled"]["label"] < 4).sum()
    state = {name: value.clone() for name, value in method.alignment.state_dict().items()}
    label, _ = method.pseudo_labels(batch["unlabeled"]["weak"])
    method.partner_labels(batch)
    assert all(torch.equal(value, state[name]) for name, value in method.alignment.state_dict().items())
    assert label.shape == batch["unlabeled"]["valid"].shape
    assert torch.isfinite(torch.stack(losses)).all()


def test_an_unknown_target_is_refused():
    with pytest.raises(ConfigError, match=r"^distribution_alignment=on: must be one of none, uniform, labeled"):
        make_semi_supervised(UniMatchV2, distribution_alignment="on")


PROCESSES = """
import sys, torch
from unimatch.methods.alignment import DistributionAlignment

rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", f"file://{sys.argv[2]}/store", rank=rank, world_size=2)
alignment = DistributionAlignment(4, labeled=True)
for step in range(3):
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(4, (6,), generator=generator)
    p = torch.rand(6, 4, generator=generator).softmax(1)
    alignment.observe(labels[rank::2], p[rank::2])
    aligned = alignment(p[rank::2])
torch.save({"aligned": aligned, **alignment.state_dict()}, f"{sys.argv[2]}/{rank}.pt")
"""


@pytest.mark.nightly
def test_two_processes_align_as_one_does(tmp_path):
    command = [sys.executable, "-c", PROCESSES]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    single = DistributionAlignment(4, labeled=True)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(4, (6,), generator=generator)
        p = torch.rand(6, 4, generator=generator).softmax(1)
        single.observe(labels, p)
        aligned = single(p)
    for name, value in single.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value)
    torch.testing.assert_close(torch.stack([first["aligned"], second["aligned"]], 1).flatten(0, 1), aligned)
