"""Keeps apart the parts of a step (:class:`unimatch.Trainer`) that a process computes in one batch.

Student and teacher treat each image independently, so all parts can go through them together. What involves several
images is done for each part separately, as if it were a batch: choosing CutMix partners, drawing dropout masks and
averaging losses.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class DrawMasks(Protocol):
    """Draws the channel masks of a number of images."""

    def __call__(self, images: int, /, *, generator: torch.Generator) -> Sequence[Tensor]:
        """Returns the masks of each feature level."""
        ...


class StepGenerator(torch.Generator):
    """The random generators of a batch: itself for the batch's first part, and in ``parts`` one for each part."""

    parts: Sequence[torch.Generator]

    @classmethod
    def seeded(cls, seeds: Sequence[int], device: torch.device) -> "StepGenerator":
        """Returns a generator with a part for each of these seeds."""
        first = cls(device)
        first.manual_seed(seeds[0])
        first.parts = [first, *(torch.Generator(device).manual_seed(seed) for seed in seeds[1:])]
        return first


def generators_of(generator: torch.Generator) -> Sequence[torch.Generator]:
    """Returns the generator of each part of a batch; a plain generator is that of the only part."""
    return generator.parts if isinstance(generator, StepGenerator) else (generator,)


def mean_over_parts(loss: Callable[..., Tensor], *values: Any, parts: int) -> Tensor:
    """Returns the mean of each part's loss.

    Args:
        loss: a function of the values of one part.
        *values: tensors (P B, ...), which hold the parts one after the other; other values are the same for all parts.
        parts: ``P``.

    >>> largest = lambda values, factor: values.max() * factor
    >>> float(mean_over_parts(largest, torch.tensor([1.0, 2.0, 5.0, 3.0]), 2.0, parts=2))
    7.0
    """
    if parts == 1:
        return loss(*values)
    chunks = [value.chunk(parts) if isinstance(value, Tensor) else [value] * parts for value in values]
    return torch.stack([loss(*part) for part in zip(*chunks, strict=True)]).mean()


def masks_of_parts(draw: DrawMasks, images: int, generator: torch.Generator, *, views: int = 1) -> list[Tensor]:
    """Returns the channel masks of a batch, each part's drawn from its own generator.

    Args:
        draw: draws the masks of one part from its number of images ``B`` and its generator: per level (views B, D, 1,
            1), those of the first views before those of the second views.
        images: number of images in all parts, ``P B``.
        generator: of the batch.
        views: number of views of each image.

    Returns:
        Per level (views P B, D, 1, 1): the first views of all parts before the second views of all parts.
    """
    generators = generators_of(generator)
    of_parts = [draw(images // len(generators), generator=part) for part in generators]
    joined = []
    for level in zip(*of_parts, strict=True):  # a mask (views B, D, 1, 1) of each part
        by_view = [mask.unflatten(0, (views, -1)) for mask in level]  # of (views, B, D, 1, 1)
        joined.append(torch.cat(by_view, dim=1).flatten(0, 1))
    return joined
