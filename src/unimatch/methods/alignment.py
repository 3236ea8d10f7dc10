"""Distribution alignment: shifts the pseudo labels' probabilities towards a known distribution of the classes.

Source: ReMixMatch, arXiv 1911.09785, section 3.1, with an exponential moving average in place of its average over 128
batches, as FixMatch's and FlexMatch's published classification runs have it.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override


class DistributionAlignment(nn.Module):
    """Aligns probabilities: ``p <- normalize(p * target / average)``, with ``average`` the running mean of ``p``.

    Only :meth:`observe` changes the state. The state is the same in all processes, and checkpoints hold it.

    Args:
        num_classes: ``C``.
        labeled: whether the target is the distribution of the labelled images' classes; else it is uniform.
        decay: how much of the running mean each step keeps, 0-1.
    """

    average: Tensor
    batches: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, *, labeled: bool = False, decay: float = 0.999) -> None:
        super().__init__()
        self.labeled, self.decay = labeled, decay
        self.register_buffer("average", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        # One of each class to begin with, so that a class without a label so far is not ruled out.
        self.register_buffer("counts", torch.ones(num_classes))

    @torch.no_grad()
    def observe(self, target: Tensor, probability: Tensor) -> None:
        """Updates the distributions with the batch of one training step.

        Args:
            target: (B, *) int64 labels of the labelled images; ids that are not a class do not count.
            probability: (B, C, *) predictions for the unlabelled images, which enter the running mean.
        """
        if self.labeled:
            classes = torch.arange(len(self.counts), device=target.device)
            self.counts += sum_over_processes((target.flatten()[:, None] == classes).sum(0).to(self.counts))
        mean = sum_over_processes(probability.transpose(0, 1).flatten(1).mean(1))  # (C,)
        mean = mean / mean.sum()  # from the sum over processes to their mean
        decay = torch.where(self.batches == 0, 0.0, self.decay)  # the first batch replaces the initial average
        self.average.copy_(decay * self.average + (1 - decay) * mean)
        self.batches += 1

    @override
    @torch.no_grad()
    def forward(self, probability: Tensor) -> Tensor:
        """Returns probabilities (B, C, *) aligned by the steps observed so far."""
        ratio = self.counts / self.counts.sum() / self.average.clamp(min=1e-6)  # (C,)
        aligned = probability * ratio.view(-1, *(1,) * (probability.dim() - 2))
        return aligned / aligned.sum(dim=1, keepdim=True)


def sum_over_processes(values: Tensor) -> Tensor:
    """Sums values over all processes in place, and returns them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values
