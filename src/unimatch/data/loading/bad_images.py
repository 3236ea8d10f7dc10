"""Counts unlabelled images that could not be read and were replaced (``dataset.on_bad_image=skip``)."""

import logging
from collections import Counter

import torch
from torch import Tensor

from unimatch.data.sources.base import Source
from unimatch.errors import DataError

log = logging.getLogger("unimatch")

NAMED = 10
"""How many images the log names, each when it is first met; further ones are counted."""


class BadImages:
    """Counts unreadable images in the training process, whose workers send their indices with the batches.

    Args:
        source: the unlabelled images.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.counts: Counter[int] = Counter()
        """How often each image, by its index, was met."""

    def add(self, indices: Tensor) -> None:
        """Counts the indices of a batch, on the CPU; negative ones stand for no image."""
        for index in indices[indices >= 0].tolist():
            self.counts[index] += 1
            if self.counts[index] == 1 and len(self.counts) <= NAMED:
                further = "; further ones are counted, not named" if len(self.counts) == NAMED else ""
                log.warning("%s. Another unlabelled image takes its place%s", self.reason(index), further)

    def reason(self, index: int) -> str:
        """Returns why an image cannot be read."""
        try:
            self.source.image(index)
        except DataError as error:
            return str(error)
        return f"{self.source.name(index)}: could not be read a moment ago, now it can"

    def names(self) -> list[str]:
        """Returns the names of images that any process has met, sorted. All processes must call this together."""
        met = set(self.counts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            of_all: list[set[int]] = [set()] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(of_all, met)
            met = set().union(*of_all)
        return sorted(self.source.name(index) for index in met)

    def report(self) -> str | None:
        """Returns one line for the end of the training, or None if there is nothing to say."""
        if not self.counts:
            return None
        share = 100 * len(self.counts) / len(self.source)
        return (
            f"{len(self.counts)} of {len(self.source)} unlabelled images ({share:.2g}%) could not be read; others took "
            f"their places {self.counts.total()} times"
        )
