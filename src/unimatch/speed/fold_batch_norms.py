"""Folds BatchNorms into the convolutions before them: the results are the same, with fewer passes over memory."""

import copy
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from unimatch.images.arrays import nearest_multiple

if TYPE_CHECKING:
    from unimatch.models.base import Model

SIDE = 64
"""Side in pixels of the image that shows which layer follows which."""

TOLERANCE = 1e-4
"""The largest difference from the original model's results, as a share of the largest result."""


@torch.no_grad()
def fold_batch_norms(model: "Model") -> "Model":
    """Returns a model with fewer layers that gives the same logits, but for rounding.

    A BatchNorm is folded only if its sole input is the output of one convolution. The folded model is compared with the
    original on noise. If they differ, because the network uses a convolution's output twice, the original is returned.

    Args:
        model: in eval mode. It is not changed.

    Returns:
        A copy that is for prediction only, because its weights have other names and values; the model itself if nothing
        is folded.
    """
    device = next(model.parameters()).device
    side = nearest_multiple(SIDE, model.size_multiple)
    shape = (1, *model.sample_shape, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    folded = copy.deepcopy(model)
    pairs = convolutions_before(folded, noise)
    if not pairs:
        return model
    for name, convolution in pairs.items():
        norm: Any = folded.get_submodule(name)
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight, bias
        parent, _, own = name.rpartition(".")
        setattr(folded.get_submodule(parent), own, norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity())
    before, after = model.coarse(noise), folded.coarse(noise)
    return folded if (before - after).abs().max() <= TOLERANCE * before.abs().max() else model


def convolutions_before(model: "Model", images: Tensor) -> dict[str, nn.Conv2d]:
    """Returns, by BatchNorm's name, the convolution before it, where its sole input on these images is its output."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []  # holding them keeps a later tensor from being mistaken for one
    sources: dict[str, list[nn.Conv2d | None]] = {}  # of each call of a BatchNorm; None if it is not a convolution
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs.append((output, module))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d) and not module.training:
            source = next((convolution for made, convolution in outputs if made is inputs[0]), None)
            sources.setdefault(names[module], []).append(source)

    with ExitStack() as hooks:
        for module in names:
            hooks.enter_context(module.register_forward_hook(note))
        model.coarse(images)
    calls = [convolution for _, convolution in outputs]
    return {
        name: convolutions[0]
        for name, convolutions in sources.items()
        if len(convolutions) == 1 and convolutions[0] is not None and calls.count(convolutions[0]) == 1
    }
