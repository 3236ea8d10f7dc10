"""The parts of a step that a process computes in one batch (:class:`unimatch.Trainer`): what stays apart in it.

Each image goes through student and teacher by itself, so that all parts can go together. What concerns several images
does not: a part's CutMix partners, its dropout masks and the mean of its losses are those of a batch of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class DrawMasks(Protocol):
    """Draws the channel masks of so many images."""

    def __call__(self, images: int, /, *, generator: torch.Generator) -> Sequence[Tensor]:
        """Returns them per level."""
        ...


class StepGenerator(torch.Generator):
    """Draws what a batch needs: it is the generator of the batch's first part, and has that of each in ``parts``."""

    parts: Sequence[torch.Generator]

    @classmethod
    def seeded(cls, seeds: Sequence[int], device: torch.device) -> "StepGenerator":
        """Returns the generator of parts with these seeds."""
        first = cls(device)
        first.manual_seed(seeds[0])
        first.parts = [first, *(torch.Generator(device).manual_seed(seed) for seed in seeds[1:])]
        return first


def generators_of(generator: torch.Generator) -> Sequence[torch.Generator]:
    """Returns the generator of each part of a batch; any other generator is that of its only part."""
    return generator.parts if isinstance(generator, StepGenerator) else (generator,)


def mean_over_parts(loss: Callable[..., Tensor], *values: Any, parts: int) -> Tensor:
    """Returns the mean of each part's loss.

    Args:
        loss: of the values of one part.
        *values: tensors (P B, ...), which hold the parts one after the other; what is no tensor is the same for all.
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
        draw: draws those of a part, of its number of images ``B`` and its generator: per level (views B, D, 1, 1), the
            first views' before the second views'.
        images: of all parts, ``P B``.
        generator: of the batch.
        views: of each image.

    Returns:
        Per level (views P B, D, 1, 1): all parts' first views before all parts' second views.
    """
    generators = generators_of(generator)
    masks = [draw(images // len(generators), generator=part) for part in generators]
    return [torch.cat([mask.unflatten(0, (views, -1)) for mask in level], dim=1).flatten(0, 1)
            for level in zip(*masks, strict=True)]  # fmt: skip
