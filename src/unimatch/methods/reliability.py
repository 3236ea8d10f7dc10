"""How far pseudo labels can be trusted, class by class: measured on labelled images that are held out.

``pi_k = P(label right | label k, confidence >= tau)`` is the reliability of class ``k``. If it is below ``tau``, the
class's pseudo labels are overconfident, and a higher threshold for this class (:func:`class_thresholds`) may help.

``C`` classes, ``*S`` the shape of a label, ``n`` candidate thresholds.
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

CANDIDATES = 256
"""Number of candidates ``n`` for the threshold of a class."""
FINEST = 1e-7
"""How close to 1 the last candidate is: float32 does not resolve smaller differences."""
NEVER = float("inf")
"""The threshold of a class that gives no pseudo labels."""
MOST_NAMED = 5
"""How many classes a warning names."""


def candidate_thresholds(tau: float) -> Tensor:
    """Returns (n,) float32 thresholds ``t`` from ``tau`` up: ``1 - t`` shrinks by the same factor each time.

    So they are densest just below 1, where most confidences are.

    >>> candidate_thresholds(0.95)[[0, 64, 128, 255]]
    tensor([0.9500, 0.9991, 1.0000, 1.0000])
    """
    shrinking = torch.logspace(0, math.log10(FINEST), CANDIDATES, dtype=torch.float64)
    thresholds = 1 - (1 - tau) * shrinking
    thresholds[0] = tau  # without rounding
    return thresholds.float()


def class_thresholds(right: Tensor, wrong: Tensor, tau: float) -> Tensor:
    """Returns each class's threshold (C,) float32: the lowest candidate with which a share of ``tau`` is right.

    That is ``tau`` itself if it suffices, and also if the class has no confident label, and :data:`NEVER` if no
    candidate suffices.

    Args:
        right: (C, n) int64, how many right labels of each class have a confidence between a candidate and the next one.
        wrong: (C, n) int64, the same for wrong labels.
        tau: the lowest threshold, and the share of labels that must be right, 0-1.

    >>> right, wrong = torch.zeros(2, 3, CANDIDATES, dtype=torch.int64)
    >>> right[0, 7], wrong[0, 2], wrong[1, 7] = 99, 99, 1
    >>> class_thresholds(right, wrong, 0.95) == torch.tensor([candidate_thresholds(0.95)[3], NEVER, 0.95])
    tensor([True, True, True])
    """
    right_above = right.flip(1).cumsum(1).flip(1).double()  # (C, n): right, with at least a candidate's confidence
    all_above = right_above + wrong.flip(1).cumsum(1).flip(1)
    suffices = right_above / all_above >= tau  # False for 0 / 0
    candidates = candidate_thresholds(tau).to(right.device)
    lowest = torch.where(suffices.any(1), candidates[suffices.int().argmax(1)], NEVER)
    return torch.where(all_above[:, 0] > 0, lowest, candidates[0])


class Reliability(Metric):
    """Counts right and wrong confident labels by class and confidence, over all processes.

    Args:
        num_classes: ``C``.
        tau: the threshold.
    """

    histogram: Tensor
    """(2, C, n) int64: right labels, then wrong labels, of each class by confidence, from ``tau`` up."""
    pixels: Tensor
    """(2, C) int64: pixels of each true class, first those with a confident label, then all."""

    def __init__(self, num_classes: int, tau: float) -> None:
        super().__init__()
        self.num_classes, self.tau = num_classes, tau
        self.add_state("histogram", torch.zeros(2, num_classes, CANDIDATES, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros(2, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, label: Tensor, confidence: Tensor, truth: Tensor, *, counts: bool = True) -> None:
        """Counts the labels of some images.

        Args:
            label: (B, *S) int64.
            confidence: (B, *S) float32 in 0-1.
            truth: (B, *S) int64; ids that are not a class do not count.
            counts: False for images that another process counts.
        """
        known = (truth >= 0) & (truth < self.num_classes) & counts
        label, confidence, truth = label[known], confidence[known], truth[known]
        confident = confidence >= self.tau
        self.pixels += torch.stack([count(truth[confident], self.num_classes), count(truth, self.num_classes)])
        label, confidence, truth = label[confident], confidence[confident], truth[confident]
        candidates = candidate_thresholds(self.tau).to(confidence.device)
        reached = torch.bucketize(confidence, candidates, right=True) - 1  # index of the highest candidate reached
        cell = ((label != truth).long() * self.num_classes + label) * CANDIDATES + reached
        self.histogram += count(cell, self.histogram.numel()).view_as(self.histogram)

    @override
    def compute(self) -> dict[str, Any]:
        """Returns percentages, None where nothing was counted, and the thresholds.

        ``reliability`` is the share of the confident labels that is right, ``class_reliability`` the same for the
        labels of each class; ``coverage`` is the share of the pixels whose label is confident, ``class_coverage`` the
        same for the pixels of each true class. ``class_threshold`` holds :func:`class_thresholds` in 0-1, None in place
        of :data:`NEVER`.
        """
        by_confidence = self.histogram.cpu()
        thresholds = class_thresholds(by_confidence[0], by_confidence[1], self.tau).tolist()
        (right, wrong), (confident, pixels) = by_confidence.sum(2).double(), self.pixels.double().cpu()
        # Nine digits distinguish all float32 numbers.
        return {
            "reliability": ratios(right.sum()[None], (right + wrong).sum()[None])[0],
            "coverage": ratios(confident.sum()[None], pixels.sum()[None])[0],
            "class_reliability": ratios(right, right + wrong),
            "class_coverage": ratios(confident, pixels),
            "class_threshold": [None if t == NEVER else float(f"{t:.9g}") for t in thresholds],
        }


def count(ids: Tensor, length: int) -> Tensor:
    """Returns how often each id of 0 to ``length`` - 1 occurs, (length,) int64; deterministic on every device."""
    return torch.zeros(length, dtype=torch.int64, device=ids.device).scatter_add_(0, ids, torch.ones_like(ids))


@torch.no_grad()
def measure(method: "SemiSupervised", datamodule: SemiSupervisedDataModule, metric: Reliability) -> None:
    """Fills a metric with the held-out images, predicted as in evaluation by the model that gives the pseudo labels."""
    metric.reset()
    trainer, model = method.trainer, method.evaluated_models[method.pseudo_labels_from]
    loader, held_out = datamodule.held_out_dataloader(), datamodule.data.held_out
    assert loader is not None
    assert held_out is not None
    position = trainer.global_rank
    for batch in loader:
        for sample in samples_of(trainer.strategy.batch_to_device(batch), model.bands):
            with trainer.precision_plugin.val_step_context():
                probability = method.task.probabilities(model, sample["image"][None])
            if method.alignment is not None:
                probability = method.alignment(probability)
            confidence, label = probability.max(1)
            metric.update(label, confidence, sample["label"][None], counts=position < len(held_out))
            position += trainer.world_size


def poor_classes(found: Mapping[str, Any], tau: float) -> tuple[list[int], list[int]]:
    """Returns the classes whose reliability is below ``tau``, the worst first, and those without a confident label.

    Args:
        found: what :meth:`Reliability.compute` returns; empty if nothing has been measured.
        tau: the threshold.
    """
    reliability, coverage = found.get("class_reliability", ()), found.get("class_coverage", ())
    low, silent = [], []
    for k, (percent_right, percent_confident) in enumerate(zip(reliability, coverage, strict=True)):
        if percent_right is not None and percent_right < 100 * tau - 1e-9:
            low.append(k)
        elif percent_right is None and percent_confident is not None:
            silent.append(k)
    return sorted(low, key=lambda k: float(reliability[k])), silent


def warning_of(found: Mapping[str, Any], tau: float, classes: Sequence[str], images: int) -> str | None:
    """Returns a warning about the classes whose pseudo labels cannot be trusted; None if there are none.

    >>> found = {"class_reliability": [99.0, 71.5, None], "class_coverage": [90.0, 40.0, 0.0]}
    >>> print(warning_of(found, 0.95, ["road", "car", "pole"], 8))
    pseudo labels on 8 held-out images: with a confidence of at least 0.95, only 71.5% of car are right; pole has none
    """
    low, silent = poor_classes(found, tau)
    parts = []
    if low:
        shares = [f"{found['class_reliability'][k]:.1f}% of {classes[k]}" for k in low]
        parts.append(f"only {enumeration(shares)} are right")
    if silent:
        parts.append(f"{enumeration([classes[k] for k in silent])} {'has' if len(silent) == 1 else 'have'} none")
    if not parts:
        return None
    return f"pseudo labels on {images} held-out images: with a confidence of at least {tau}, {'; '.join(parts)}"


def enumeration(words: Sequence[str]) -> str:
    """Joins words by commas and "and"; of more than one too many, only :data:`MOST_NAMED` are named.

    >>> enumeration(["a"]), enumeration(["a", "b", "c"]), enumeration(list("abcdefgh"))
    ('a', 'a, b and c', 'a, b, c, d, e and 3 more')
    """
    if len(words) > MOST_NAMED + 1:
        words = [*words[:MOST_NAMED], f"{len(words) - MOST_NAMED} more"]
    *shown, last = words
    return f"{', '.join(shown)} and {last}" if shown else last
