"""The DPT decoder: it turns four feature maps into coarse class logits.

Source: Ranftl, Bochkovskiy, Koltun: Vision Transformers for Dense Prediction, ICCV 2021, section 3, in the
form UniMatch V2 uses (no BatchNorm). The reference's coarsest fusion block holds a residual unit that nothing
passes through; it is left out here.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import override

from unimatch.speed.upsampling import size_of, upsample


class DPTDecoder(nn.Module):
    """Projects and resizes four feature levels, fuses them from coarse to fine, and classifies every cell.

    Args:
        widths: channels of the four feature levels.
        strides: pixels per cell of the four feature levels.
        features: channels of the fusion blocks.
        out_channels: channels of the four levels after their projection.
        num_classes: channels of the result.
    """

    def __init__(
        self,
        widths: Sequence[int],
        strides: Sequence[int],
        *,
        features: int,
        out_channels: Sequence[int],
        num_classes: int,
    ) -> None:
        super().__init__()
        # A transformer's levels have one stride. They are resized to 4, 2, 1 and 1/2 times as many cells a side, which
        # makes a pyramid of them. The levels of other encoders are a pyramid already.
        isotropic = len(set(strides)) == 1
        self.project = nn.ModuleList(nn.Conv2d(w, c, 1) for w, c in zip(widths, out_channels, strict=True))
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(out_channels[0], out_channels[0], 4, stride=4),
                nn.ConvTranspose2d(out_channels[1], out_channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(out_channels[3], out_channels[3], 3, stride=2, padding=1),
            ]
            if isotropic
            else [nn.Identity() for _ in out_channels]
        )
        self.reduce = nn.ModuleList(nn.Conv2d(c, features, 3, padding=1, bias=False) for c in out_channels)
        self.fuse = nn.ModuleList(FusionBlock(features, skip=level < 3) for level in range(4))
        self.classify = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, num_classes, 1)
        )

    @override
    def forward(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        """Turns four (B, widths[l], h_l, w_l), fine to coarse, into (B, num_classes, 2 h_0, 2 w_0) logits.

        ``classifier_mask`` (B, features, 1, 1) multiplies the input of the last convolution, the classifier.
        """
        maps = [
            reduce(resize(project(level)))  # (B, features, h_l, w_l)
            for level, project, resize, reduce in zip(levels, self.project, self.resize, self.reduce, strict=True)
        ]
        path = self.fuse[3](maps[3], None, size_of(maps[2]))
        path = self.fuse[2](path, maps[2], size_of(maps[1]))
        path = self.fuse[1](path, maps[1], size_of(maps[0]))
        height, width = size_of(maps[0])
        path = self.fuse[0](path, maps[0], (2 * height, 2 * width))
        path = self.classify[:-1](path)  # (B, features, 2 h_0, 2 w_0)
        if classifier_mask is not None:
            path = path * classifier_mask.to(path.dtype)
        return self.classify[-1](path)


class FusionBlock(nn.Module):
    """Adds a finer level (``skip``) to the path from the coarser ones, refines, and upsamples to the next size."""

    def __init__(self, features: int, *, skip: bool) -> None:
        super().__init__()
        self.refine_skip = ResidualUnit(features) if skip else None
        self.refine = ResidualUnit(features)
        self.project = nn.Conv2d(features, features, 1)

    @override
    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Fuses two (B, features, h, w) into one (B, features, *size)."""
        if self.refine_skip is not None and skip is not None:
            path = path + self.refine_skip(skip)
        # The published code projects after the upsampling, at four times the cost. The result is the same, because the
        # weights of an interpolation add up to one.
        return upsample(self.project(self.refine(path)), size)


class ResidualUnit(nn.Module):
    """Two convolutions, each after a ReLU, added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
