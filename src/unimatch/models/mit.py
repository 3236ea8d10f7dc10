"""MiT-B5, SegFormer's encoder: the one preset that is not timm's."""

from contextlib import nullcontext

import torch
from torch import Tensor
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.models.encoder_base import Encoder
from unimatch.models.hub import download_error, offline_if_unreachable


class MiTEncoder(Encoder):
    """MiT-B5 of SegFormer, from segmentation-models-pytorch: stages of strides 4, 8, 16 and 32."""

    widths = (64, 128, 320, 512)
    strides = (4, 8, 16, 32)
    size_multiple = 1

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        try:
            from segmentation_models_pytorch.encoders import get_encoder
        except ModuleNotFoundError as error:
            raise ConfigError("encoder=mitb5: needs another library: pip install 'unimatch[mit]'") from error
        try:
            # On the CPU in any case: the constructor reads values from tensors, which the meta device does not hold.
            with offline_if_unreachable() if pretrained else nullcontext(), torch.device("cpu"):
                self.body = get_encoder("mit_b5", weights="imagenet" if pretrained else None)
        except Exception as error:
            if not pretrained:
                raise
            raise download_error("mit_b5", "smp-hub/mit_b5.imagenet", error) from error

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        return self.body(images)[-4:]

    @override
    def layer_numbers(self) -> dict[str, int]:
        # The stage, whose number is the first digit: patch embedding, blocks and norm of stage 1 have depth 0.
        names = [name for name, _ in self.named_parameters()]
        return {name: next(int(c) - 1 for c in name.partition(".")[2] if c.isdigit()) for name in names}
