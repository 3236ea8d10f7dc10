"""The pseudo labels' quality: how many pass the threshold, and how many of those are right."""

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from unimatch.tasks.scores import ratios


class PseudoLabelQuality(Metric):
    """Counts by true class how many pseudo labels pass the threshold, and how many of those are right.

    It needs the truth of unlabelled images, which is never trained on; where the truth is unknown, nothing is counted.
    """

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Rows: true classes. Columns: pseudo labels, and a last one for pixels without a confident pseudo label.
        zeros = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    @override
    def update(self, label: Tensor, confident: Tensor, valid: Tensor, truth: Tensor) -> None:
        """Counts one batch; all four are (B, *S). Nothing leaves the device, so that a GPU need not be waited for."""
        columns = self.num_classes + 1
        known = valid & (truth >= 0) & (truth < self.num_classes)  # an unknown truth is not the id of a class
        cell = truth * columns + torch.where(confident, label, self.num_classes)
        cell = torch.where(known, cell, self.num_classes * columns)  # one more cell, for pixels that do not count
        flat = torch.zeros(self.num_classes * columns + 1, dtype=torch.int64, device=label.device)
        flat.scatter_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
        self.counts += flat[:-1].view(self.num_classes, columns)

    def restore(self, counts: Tensor) -> None:
        """Continues from this process's share of a checkpoint's counts."""
        self.counts = counts.to(self.counts.device)
        self._update_count = 1  # makes update_called true

    @override
    def compute(self) -> dict[str, list[float | None] | float | None]:
        """Returns shares and accuracies in percent, None where nothing was counted.

        ``share`` and ``accuracy`` are over all pixels, ``share_mean`` and ``accuracy_mean`` the means over the true
        classes, ``class_share`` and ``class_accuracy`` per class.
        """
        counts = self.counts.double().cpu()
        confident, total, right = counts[:, :-1].sum(1), counts.sum(1), counts[:, :-1].diag()
        class_share, class_accuracy = ratios(confident, total), ratios(right, confident)
        return {
            "share": ratios(confident.sum()[None], total.sum()[None])[0],
            "accuracy": ratios(right.sum()[None], confident.sum()[None])[0],
            "share_mean": mean_of(class_share),
            "accuracy_mean": mean_of(class_accuracy),
            "class_share": class_share,
            "class_accuracy": class_accuracy,
        }


def mean_of(values: list[float | None]) -> float | None:
    """Returns the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
