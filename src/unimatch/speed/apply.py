"""Makes a model faster once its device is known: until then its layers are those of PyTorch and timm."""

import torch
from torch import nn

from unimatch.speed.onednn import use_onednn
from unimatch.speed.recompute_mlp import recompute_activations


def speed_up(model: nn.Module, device: torch.device) -> None:
    """Chooses the fastest form of each layer for a device, in place; weights and their names stay as they are.

    >>> model = nn.Sequential(nn.Linear(2, 2))
    >>> speed_up(model, torch.device("cpu"))
    >>> type(model[0]).__name__
    'OneDNNLinear'
    """
    recompute_activations(model)
    if device.type == "cpu":
        use_onednn(model)
