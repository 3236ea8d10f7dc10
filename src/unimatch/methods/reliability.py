"""How far pseudo labels can be trusted: measured on labelled images that are held out, class by class.

``pi_k = P(label right | label k, confidence >= tau)`` is the reliability of class ``k``. Where it is below ``tau``, the
labels are confident and wrong, and a threshold of the class's own (:func:`class_thresholds`) can mend it.

``C`` classes, ``*S`` the shape of a label; ``n`` bins of confidences.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.tasks.plain_batches import samples_of
from unimatch.tasks.scores import ratios

if TYPE_CHECKING:
    from unimatch.methods.semi_supervised import SemiSupervised

BINS = 256
"""Candidates for the threshold of a class."""
FINEST = 1e-7
"""How near to 1 the last of them is: float32 tells no more apart."""
NEVER = float("inf")
"""The threshold of a class that gives no pseudo labels."""
NAMED = 5
"""How many classes a warning names."""


def candidate_thresholds(tau: float) -> Tensor:
    """Returns (n,) float32 thresholds from ``tau`` up: ``1 - t`` shrinks by the same factor each time.

    Confidences crowd below 1, where they are the densest.

    >>> candidate_thresholds(0.95)[[0, 64, 128, 255]]
    tensor([0.9500, 0.9991, 1.0000, 1.0000])
    """
    shrunk = torch.logspace(0, math.log10(FINEST), BINS, dtype=torch.float64)
    found = 1 - (1 - tau) * shrunk
    found[0] = tau
    return found.float()


def class_thresholds(right: Tensor, wrong: Tensor, tau: float) -> Tensor:
    """Returns each class's threshold (C,) float32: the smallest candidate with which at least ``tau`` are right.

    It is ``tau`` itself where that is so already, or where no label is confident, since nothing speaks against it.
    It is :data:`NEVER` where no candidate will do.

    Args:
        right: (C, n) int64, the right labels of each class whose confidence lies between a candidate and the next one.
        wrong: (C, n) int64, the same of the wrong ones.
        tau: the lowest threshold, and the share that has to be right.

    >>> right, wrong = torch.zeros(2, 3, BINS, dtype=torch.int64)
    >>> right[0, 7], wrong[0, 2], wrong[1, 7] = 99, 99, 1
    >>> class_thresholds(right, wrong, 0.95) == torch.tensor([candidate_thresholds(0.95)[3], NEVER, 0.95])
    tensor([True, True, True])
    """
    above = right.flip(1).cumsum(1).flip(1).double()  # (C, n): right with at least that confidence
    everything = above + wrong.flip(1).cumsum(1).flip(1)
    will_do = above / everything >= tau  # False for 0 / 0
    candidates = candidate_thresholds(tau).to(right.device)
    found = torch.where(will_do.any(1), candidates[will_do.int().argmax(1)], NEVER)
    return torch.where(everything[:, 0] > 0, found, candidates[0])


class Reliability(Metric):
    """Counts confident labels by class and confidence, right and wrong ones, over all processes.

    Args:
        num_classes: ``C``.
        tau: the threshold.
    """

    histogram: Tensor
    """(2, C, n) int64: right and wrong labels of each class by confidence, from ``tau`` up."""
    pixels: Tensor
    """(2, C) int64: pixels of each true class with a confident label, and all."""

    def __init__(self, num_classes: int, tau: float) -> None:
        super().__init__()
        self.num_classes, self.tau = num_classes, tau
        self.add_state("histogram", torch.zeros(2, num_classes, BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros(2, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, label: Tensor, confidence: Tensor, truth: Tensor, *, counts: bool = True) -> None:
        """Counts the labels of some images.

        Args:
            label: (B, *S) int64.
            confidence: (B, *S) float32 in 0-1.
            truth: (B, *S) int64; what is no class does not count.
            counts: False for images that another process counts.
        """
        known = (truth >= 0) & (truth < self.num_classes) & counts
        label, confidence, truth = label[known], confidence[known], truth[known]
        confident = confidence >= self.tau
        self.pixels += torch.stack([count(truth[confident], self.num_classes), count(truth, self.num_classes)])
        label, confidence, wrong = label[confident], confidence[confident], label[confident] != truth[confident]
        candidates = candidate_thresholds(self.tau).to(confidence.device)
        place = torch.bucketize(confidence, candidates, right=True) - 1  # of the last candidate that it reaches
        cell = (wrong.long() * self.num_classes + label) * BINS + place
        self.histogram += count(cell, self.histogram.numel()).view_as(self.histogram)

    @override
    def compute(self) -> dict[str, Any]:
        """Returns percentages, None where nothing was counted.

        ``reliability`` is the share of the confident labels that is right, ``class_reliability`` the same of the labels
        of each class; ``coverage`` is the share of the pixels whose label is confident, ``class_coverage`` the same of
        the pixels of each true class. ``class_threshold`` has :func:`class_thresholds` in 0-1, None for no labels.
        """
        by_confidence = self.histogram.cpu()
        thresholds = class_thresholds(by_confidence[0], by_confidence[1], self.tau).tolist()
        (right, wrong), (confident, pixels) = by_confidence.sum(2).double(), self.pixels.double().cpu()
        return {
            "reliability": ratios(right.sum()[None], (right + wrong).sum()[None])[0],
            "coverage": ratios(confident.sum()[None], pixels.sum()[None])[0],
            "class_reliability": ratios(right, right + wrong),
            "class_coverage": ratios(confident, pixels),
            "class_threshold": [
                None if t == NEVER else float(f"{t:.9g}") for t in thresholds
            ],  # all that float32 tells
        }


def count(ids: Tensor, length: int) -> Tensor:
    """Returns how often each id of 0 to ``length`` - 1 occurs, (length,) int64; the same on every device."""
    return torch.zeros(length, dtype=torch.int64, device=ids.device).scatter_add_(0, ids, torch.ones_like(ids))


@torch.no_grad()
def measure(method: "SemiSupervised", datamodule: SemiSupervisedDataModule, metric: Reliability) -> None:
    """Counts the held-out images in a metric: labelled by the model that labels in training, as evaluation predicts."""
    metric.reset()
    trainer, model = method.trainer, method.evaluated_models[method.pseudo_labels_from]
    loader, held_out = datamodule.held_out_dataloader(), datamodule.data.held_out
    assert loader is not None
    assert held_out is not None
    position = trainer.global_rank
    for batch in loader:
        for sample in samples_of(trainer.strategy.batch_to_device(batch)):
            with trainer.precision_plugin.val_step_context():
                probability = method.task.probabilities(model, sample["image"][None])
            if method.alignment is not None:
                probability = method.alignment(probability)
            confidence, label = probability.max(1)
            metric.update(label, confidence, sample["label"][None], counts=position < len(held_out))
            position += trainer.world_size


def faults(found: Mapping[str, Any], tau: float) -> tuple[list[int], list[int]]:
    """Returns the classes whose reliability is below ``tau``, the worst first, and those without a confident label.

    Args:
        found: what :meth:`Reliability.compute` returns, or nothing.
        tau: the threshold.
    """
    reliability = found.get("class_reliability", ())
    low = [k for k, value in enumerate(reliability) if value is not None and value < 100 * tau - 1e-9]
    silent = [
        k
        for k, (value, coverage) in enumerate(zip(reliability, found.get("class_coverage", ()), strict=True))
        if value is None and coverage is not None
    ]
    return sorted(low, key=lambda k: float(reliability[k])), silent


def warning_of(found: Mapping[str, Any], tau: float, classes: Sequence[str], images: int) -> str | None:
    """Says in a sentence which classes' pseudo labels cannot be trusted; None if there are none.

    >>> found = {"class_reliability": [99.0, 71.5, None], "class_coverage": [90.0, 40.0, 0.0]}
    >>> print(warning_of(found, 0.95, ["road", "car", "pole"], 8))
    pseudo labels on 8 held-out images: with a confidence of at least 0.95, only 71.5% of car are right; pole has none
    """
    low, silent = faults(found, tau)
    parts = []
    if low:
        shares = [f"{found['class_reliability'][k]:.1f}% of {classes[k]}" for k in low]
        parts.append(f"only {listed(shares)} are right")
    if silent:
        parts.append(f"{listed([classes[k] for k in silent])} {'has' if len(silent) == 1 else 'have'} none")
    if not parts:
        return None
    return f"pseudo labels on {images} held-out images: with a confidence of at least {tau}, {'; '.join(parts)}"


def listed(words: Sequence[str]) -> str:
    """Joins words as people do, the first :data:`NAMED` of them.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefgh"))
    ('a', 'a, b and c', 'a, b, c, d, e and 3 more')
    """
    *shown, last = words if len(words) <= NAMED + 1 else [*words[:NAMED], f"{len(words) - NAMED} more"]
    return f"{', '.join(shown)} and {last}" if shown else last
