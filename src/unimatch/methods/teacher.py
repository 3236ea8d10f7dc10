"""The teacher: an exponential moving average of the student, never trained.

Source: UniMatch V2, section 3.1; the ramp ``1 - 1 / (it + 1)`` is the published code's.
"""

import copy
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.methods.sharding import local

M = TypeVar("M", bound=nn.Module)


PUBLISHED_DECAY = 0.996
"""The paper's decay, for tens of thousands of steps."""


def fitting_decay(steps: int) -> float:
    """Returns a decay whose average spans at most a 25th of a training's steps, and at most the published one.

    >>> [fitting_decay(steps) for steps in (4, 500, 2500, 6250, 40_000)]
    [0.0, 0.95, 0.99, 0.996, 0.996]
    """
    return max(0.0, min(PUBLISHED_DECAY, 1 - 25 / steps))


class Teacher(nn.Module, Generic[M]):
    """Holds a copy of the student that follows it: ``g <- a g + (1 - a) f`` after every optimizer step.

    ``a = min(1 - 1 / (it + 1), decay)`` with ``it`` = 0 for the first step, which therefore copies the student.
    Floating-point buffers (BatchNorm's statistics) are averaged like parameters; integer and boolean buffers
    (BatchNorm's counters, BEiT's position indices) are copied, because an average of indices has no meaning.

    It is always in eval mode and never requires gradients, whatever is done to the module around it.

    It shares the parameters that the student does not train, such as a frozen encoder's: averaging would not change
    them. :meth:`keep_apart` gives the teacher its own copies once the student trains them.

    Args:
        student: the model to copy; only parameters that the student does not train share storage with the copy.
        decay: the largest ``a``.
    """

    def __init__(self, student: M, decay: float = PUBLISHED_DECAY) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay={decay}: must be between 0 and 1")
        self.decay = decay
        frozen = {id(parameter): parameter for parameter in student.parameters() if not parameter.requires_grad}
        self.model: M = copy.deepcopy(student, frozen).requires_grad_(False)
        self.shared = {name for name, parameter in self.model.named_parameters() if id(parameter) in frozen}
        self.eval()

    @override
    def train(self, mode: bool = True) -> "Teacher[M]":
        return super().train(False)

    def keep_apart(self) -> None:
        """Copies, before an optimizer step, the shared parameters that the student has begun to train."""
        if not self.shared:
            return
        # Of the teacher's parameters, only one that is the student's too can require a gradient.
        for name in [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]:
            self.unshare(name)

    def unshare(self, name: str) -> None:
        """Replaces a parameter that the teacher shares with the student by a copy."""
        parent, _, child = name.rpartition(".")
        value = self.model.get_parameter(name).detach().clone()
        setattr(self.model.get_submodule(parent), child, nn.Parameter(value, requires_grad=False))
        self.shared.discard(name)

    @override
    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # The student's weights are loaded first: where the checkpoint's teacher differs from them, it had a copy.
        for name in sorted(self.shared):
            loaded, ours = state_dict.get(f"{prefix}model.{name}"), self.model.get_parameter(name)
            if loaded is not None and not torch.equal(loaded.to(ours), ours):
                self.unshare(name)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

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
        """Moves the average towards the student, after optimizer step ``iteration`` (0 for the first)."""
        decay = min(1 - 1 / (iteration + 1), self.decay)
        if self.model not in PLACES:
            self.lay_out_as(student)
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for average, value in zip(tensors(self.model), tensors(student), strict=True):
            if average is value:
                continue
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        # g + (1 - a) (f - g), all tensors in one call; exactly f where a is 0.
        torch._foreach_lerp_(averages, values, 1 - decay)

    def lay_out_as(self, student: nn.Module) -> None:
        """Gives each tensor the strides of the student's: one differing pair makes a GPU average all one by one."""
        for average, value in zip(tensors(self.model), tensors(student), strict=True):
            if average.stride() != value.stride():
                average.data = torch.empty_like(value).copy_(average)


Place = tuple[dict[str, Tensor | None], str]
"""Where a module keeps a tensor: the module's dictionary of parameters or buffers, and the key in it."""

PLACES: "WeakKeyDictionary[nn.Module, list[Place]]" = WeakKeyDictionary()
"""A cache for :func:`tensors`, by model: walking all modules at every step would take the host milliseconds."""


def tensors(model: nn.Module) -> list[Tensor]:
    """Returns a model's parameters, then its buffers; of a tensor divided by FSDP2, this process's part.

    The modules are only walked the first time, and after :func:`forget_places`. A tensor that has been replaced since
    is returned; one of a module that has been replaced is not.
    """
    if model not in PLACES:
        PLACES[model] = places(model)
    return [local(tensor) for values, name in PLACES[model] if (tensor := values[name]) is not None]


def forget_places(*models: nn.Module) -> None:
    """Makes :func:`tensors` walk the models' modules again."""
    for model in models:
        PLACES.pop(model, None)


def places(model: nn.Module) -> list[Place]:
    """Returns where a model keeps its parameters, then its buffers; a tensor that is in two places occurs once."""
    found: dict[int, Place] = {}
    kept: list[dict[str, Any]] = [module._parameters for module in model.modules()]
    kept += [module._buffers for module in model.modules()]
    for values in kept:
        for name, tensor in values.items():
            if tensor is not None:
                found.setdefault(id(tensor), (values, name))
    return list(found.values())
