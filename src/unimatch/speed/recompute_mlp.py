"""Recomputes the activations inside a transformer's MLP in the backward pass, so that they need not be kept.

They are the largest tensors that a block would keep (four times its tokens), and cheap to compute: one pass over the
first layer's output, which is kept anyway. :mod:`torch.utils.checkpoint` stops as soon as it has what the backward pass
needs, so the second layer's matrix product is not computed again.
"""

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override


class RecomputingMlp(Mlp):
    """timm's MLP with the same parameters, values and gradients, and less memory between forward and backward pass."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        # torch.compile decides for itself what to recompute.
        if not hidden.requires_grad or torch.compiler.is_compiling():
            return self.project(hidden)
        is_random = self.training and self.drop1.p > 0
        return checkpoint(self.project, hidden, use_reentrant=False, preserve_rng_state=is_random)

    def project(self, hidden: Tensor) -> Tensor:
        """Computes all that comes after the first layer."""
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(hidden)))))


def recompute_activations(body: nn.Module) -> None:
    """Turns each MLP of a timm model into a :class:`RecomputingMlp`, in place.

    >>> import timm
    >>> body = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    >>> recompute_activations(body)
    >>> type(body.blocks[0].mlp).__name__
    'RecomputingMlp'
    """
    for module in body.modules():
        if type(module) is Mlp:
            module.__class__ = RecomputingMlp
