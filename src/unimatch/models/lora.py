"""LoRA on an encoder: its weights stay, small matrices beside its attention layers are trained.

Source: Hu et al., LoRA, arXiv 2106.09685; the layers are those of the library peft.
"""

from typing import Any

from torch import nn

from unimatch.errors import ConfigError

LAYERS = ("qkv", "q_proj", "k_proj", "v_proj", "q", "kv", "proj")
"""The linear layers of attention, by the names they have in timm and in segmentation-models-pytorch."""


def add_lora(body: nn.Module, rank: int) -> None:
    """Freeze a transformer and put trainable matrices of that rank beside the linear layers of its attention, in place.

    Their product starts at zero, so the model computes what it did. It is scaled by 2 (``alpha`` is twice the rank).

    Args:
        body: a transformer of timm.
        rank: of the matrices, such as 8.

    Raises:
        ConfigError: peft is not installed, or there is no attention to put them beside.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ConfigError(f"lora={rank}: needs another library: pip install 'unimatch[lora]'") from error
    names = [
        name
        for name, module in body.named_modules()
        if isinstance(module, nn.Linear) and ".attn." in name and name.rpartition(".")[2] in LAYERS
    ]
    if not names:
        raise ConfigError(f"lora={rank}: {type(body).__name__} has no attention layers to adapt; leave it out")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), body)


def merge_lora(body: nn.Module) -> None:
    """Add the products to the weights they stand beside and remove them, in place: a plain model again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(body.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(body.get_submodule(parent), child, layer.get_base_layer())
    body.requires_grad_(True)
