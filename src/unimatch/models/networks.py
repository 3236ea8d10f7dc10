"""Encoder and decoder as one model."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from unimatch.errors import ConfigError
from unimatch.models.dpt import DPTDecoder, size_of
from unimatch.models.encoders import Encoder, build_encoder, find_preset


class SegmentationModel(nn.Module):
    """(B, 3, H, W) normalised floats -> (B, C, H, W) logits: an encoder and a DPT decoder.

    Methods use its two halves, :meth:`encode` and :meth:`decode`, because Complementary Dropout acts between them.

    Args:
        encoder: a preset's name (``vits``, ``vitb``, ``vitl``, ``vitg``, ``efficientnet_lite0``, ``tiny``).
        num_classes: number of classes C.
        weights: of the encoder: None for random ones, ``"pretrained"``, or a file
            (:func:`unimatch.models.build_encoder`).
        features: width of the decoder's fusion blocks; None for the preset's.
        out_channels: widths of the decoder's four levels; None for the preset's.

    >>> import torch
    >>> SegmentationModel("tiny", num_classes=11)(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 11, 48, 48])
    """

    encoder: Encoder

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        *,
        weights: str | Path | None = None,
        features: int | None = None,
        out_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigError(f"model.num_classes={num_classes}: at least two classes are needed")
        preset = find_preset(encoder)
        self.name = encoder
        self.num_classes = num_classes
        self.features = features or preset.features
        self.out_channels = tuple(out_channels or preset.out_channels)
        self.encoder = build_encoder(encoder, weights)
        self.decoder = DPTDecoder(
            self.encoder.widths,
            self.encoder.strides,
            features=self.features,
            out_channels=self.out_channels,
            num_classes=num_classes,
        )

    def description(self) -> dict[str, object]:
        """The arguments that build this model again, without its weights; plain values for a checkpoint."""
        return {
            "encoder": self.name,
            "num_classes": self.num_classes,
            "features": self.features,
            "out_channels": list(self.out_channels),
        }

    @property
    def size_multiple(self) -> int:
        """Image sides must be multiples of this."""
        return self.encoder.size_multiple

    def encode(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four feature levels (B, D_l, h_l, w_l).

        Raises:
            ValueError: H or W is no multiple of :attr:`size_multiple`.
        """
        height, width = images.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"images of {height} x {width} pixels: both must be multiples of the patch size {self.size_multiple}"
            )
        return self.encoder(images)

    def decode(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Feature levels -> (B, C, *size) logits."""
        return self.decoder(levels, size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H, W) logits."""
        return self.decode(self.encode(images), size_of(images))
