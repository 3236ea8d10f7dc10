"""Counts unlabelled images that could not be read and were replaced (``dataset.on_bad_image=skip``)."""

import logging
from collections import Counter

import torch
from torch import Tensor

from unimatch.data.sources.base import Source
from unimatch.errors import DataError

log = logging.getLogger("unimatch")

NAMED = 10
"""How many images the log names when they are first met; further ones are only counted."""


class BadImages:
    """Counts unreadable images in the training process; workers send their indices with the batches.

    Args:
        source: the unlabelled images.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.counts: Counter[int] = Counter()
        """How often each image was met, by its index."""

    def add(self, indices: Tensor) -> None:
        """Counts the images of a batch by their indices, a tensor on the CPU; negative ones stand for no image."""
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
        """Returns the names of the images that any process has met, sorted; all processes must call this together."""
        met = set(self.counts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[set[int]] = [set()] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, met)
            met = set().union(*gathered)
        return sorted(self.source.name(index) for index in met)

    def report(self) -> str | None:
        """Returns a summary line for the end of the training; None if no image was replaced."""
        if not self.counts:
            return None
        share = 100 * len(self.counts) / len(self.source)
        return (
            f"{len(self.counts)} of {len(self.source)} unlabelled images ({share:.2g}%) could not be read; others took "
            f"their places {self.counts.total()} times"
        )
