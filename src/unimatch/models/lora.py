"""LoRA: freezes an encoder's weights, and trains small matrices beside its attention layers instead.

Source: Hu et al., LoRA, arXiv 2106.09685; implemented by the library peft.
"""

from typing import Any

from torch import nn

from unimatch.errors import ConfigError

LAYERS = ("qkv", "q_proj", "k_proj", "v_proj", "q", "kv", "proj")
"""The linear layers of attention, by the names they have in timm and in segmentation-models-pytorch."""


def add_lora(body: nn.Module, rank: int) -> None:
    """Freezes a transformer and puts trainable matrices beside the linear layers of its attention, in place.

    The matrices' product starts at zero, so that at first the model predicts what it did before. The product is
    multiplied by 2 (``alpha`` is twice the rank).

    Raises:
        ConfigError: peft is missing, or the transformer has no such layers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ConfigError(f"lora={rank}: needs another library: pip install 'unimatch[lora]'") from error
    linear = [name for name, module in body.named_modules() if isinstance(module, nn.Linear)]
    names = [name for name in linear if ".attn." in name and name.rpartition(".")[2] in LAYERS]
    if not names:
        raise ConfigError(f"lora={rank}: {type(body).__name__} has no attention layers to adapt; leave it out")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), body)


def merge_lora(body: nn.Module) -> None:
    """Adds the products of the matrices to the weights beside them and removes the matrices, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(body.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            base = layer.get_base_layer()
            base.weight = nn.Parameter(base.weight.detach().clone())  # the teacher may share it
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(body.get_submodule(parent), child, base)
    body.requires_grad_(True)
