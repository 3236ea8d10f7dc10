"""The teacher: an exponential moving average of the student, never trained.

Source: UniMatch V2, section 3.1; the ramp ``1 - 1 / (it + 1)`` is the published code's.
"""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.methods.sharding import local

M = TypeVar("M", bound=nn.Module)


class Teacher(nn.Module, Generic[M]):
    """Holds a copy of the student that follows it: ``g <- a g + (1 - a) f`` after every optimizer step.

    ``a = min(1 - 1 / (it + 1), decay)`` with ``it`` = 0 for the first step, which therefore copies the student.
    Floating-point buffers (BatchNorm's statistics) are averaged like parameters; integer and boolean buffers
    (BatchNorm's counters, BEiT's position indices) are copied, because an average of indices has no meaning.

    It is always in eval mode and never requires gradients, whatever is done to the module around it.

    Args:
        student: the model to copy; the copy shares no storage with it.
        decay: the largest ``a``.
    """

    def __init__(self, student: M, decay: float = 0.996) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay={decay}: must be between 0 and 1")
        self.decay = decay
        self.model: M = copy.deepcopy(student).requires_grad_(False)
        self.eval()

    @override
    def train(self, mode: bool = True) -> "Teacher[M]":
        return super().train(False)

    @override
    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.checked()(images)

    @torch.no_grad()
    def coarse(self, images: Tensor) -> Tensor:
        """Returns the logits at the decoder's size (:meth:`unimatch.SegmentationModel.coarse`), without gradient."""
        return self.checked().coarse(images)  # type: ignore[operator]

    def checked(self) -> M:
        """Returns the averaged model, after a check that it is in eval mode."""
        if any(module.training for module in self.modules()):
            raise RuntimeError("the teacher must stay in eval mode")
        return self.model

    @torch.no_grad()
    def update(self, student: nn.Module, iteration: int) -> None:
        """Follows the student after optimizer step ``iteration`` (0 for the first)."""
        decay = min(1 - 1 / (iteration + 1), self.decay)
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for average, value in zip(tensors(self.model), tensors(student), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        # g + (1 - a) (f - g), all tensors in one call; f itself, exactly, where a is 0.
        torch._foreach_lerp_(averages, values, 1 - decay)


def tensors(model: nn.Module) -> list[Tensor]:
    """Returns a model's parameters, then its buffers; of a divided tensor this process's part."""
    return [local(tensor) for tensor in (*model.parameters(), *model.buffers())]
