"""FSDP2: parameters, gradients and the optimiser's moments divided among the processes (``trainer=fsdp``)."""

from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor


def shard(model: nn.Module, mesh: Any) -> None:
    """Divides a model's parameters among processes; each transformer block of the encoder is gathered when it is used.

    Gathered parameters are freed after each pass, also after the last block's: the teacher has no backward pass, and
    the optimizer steps on the parts. ``mesh`` has one dimension, the processes.
    """
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return  # it is done: Lightning calls configure_model before every stage
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 takes no other layout
    blocks = getattr(getattr(model.encoder, "body", None), "blocks", ())
    for module in (*blocks, *model.children()):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def gather(model: nn.Module) -> None:
    """Gathers all parameters of a divided model until :func:`free`, so that its passes wait for no other process.

    An evaluation needs this, because processes predict different numbers of images and windows.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()


def free(model: nn.Module) -> None:
    """Frees what :func:`gather` has gathered, except this process's part."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_reshard_after_forward(True, recurse=False)
            module.reshard()


def local(tensor: Tensor) -> Tensor:
    """Returns this process's part of a divided tensor; any other tensor unchanged."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Returns a divided tensor gathered; any other tensor unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
