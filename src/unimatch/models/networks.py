"""The models, one class for each task: an encoder, and a decoder or classifier that turns its features into logits."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.images.arrays import nearest_multiple
from unimatch.models.base import Model, ModelOptions
from unimatch.models.dpt import DPTDecoder
from unimatch.models.pooled_encoders import as_pooled_encoder, build_pooled_encoder
from unimatch.models.presets import PRESETS, decoder_widths
from unimatch.options import at_least_one


class SegmentationModel(Model):
    """An encoder and a DPT decoder: (B, 3, H, W) normalised floats -> (B, C, H, W) logits.

    Args:
        encoder: see :class:`unimatch.models.base.Model`.
        num_classes: number of classes C.
        features: channels of the decoder's fusion blocks; None to choose them by the encoder
            (:func:`unimatch.models.presets.decoder_widths`).
        out_channels: channels of the decoder's four levels; None as for ``features``.
        decoder: a module of your own that replaces the DPT decoder: it turns the list of the encoder's four levels,
            each (B, D_l, h_l, w_l), into logits (B, C, h, w) of any size. For ``dropout_at=classifier`` it needs an
            attribute ``features`` and an argument ``classifier_mask`` as :class:`unimatch.models.DPTDecoder` has.
        **options: see :class:`unimatch.models.base.Model`.

    >>> import torch
    >>> SegmentationModel("tiny", num_classes=11)(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 11, 48, 48])
    """

    task = "segmentation"
    classifier_name = "decoder.classify.2"

    def __init__(
        self,
        encoder: str | nn.Module,
        num_classes: int,
        *,
        features: int | None = None,
        out_channels: Sequence[int] | None = None,
        decoder: nn.Module | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        if decoder is not None and not isinstance(decoder, nn.Module):
            raise ConfigError(f"decoder={decoder}: must be a module, which turns the four levels into logits")
        super().__init__(encoder, num_classes, **options)
        self.decoder: nn.Module
        self.out_channels: tuple[int, ...] = ()
        if decoder is not None:
            if features is not None or out_channels is not None:
                raise ConfigError("decoder: a module has its own widths; leave out features and out_channels")
            self.decoder, self.features = decoder, int(getattr(decoder, "features", 0))
        else:
            if out_channels is not None and not (len(out_channels) == 4 and min(out_channels) > 0):
                raise ConfigError(
                    f"out_channels={list(out_channels)}: must be four numbers above 0, one for each level"
                )
            at_least_one(features=features)
            preset, fitting = PRESETS.get(self.name), decoder_widths(self.encoder.widths)
            self.features = features or (preset and preset.features) or fitting[0]
            self.out_channels = tuple(out_channels or (preset and preset.out_channels) or fitting[1])
            self.decoder = DPTDecoder(
                self.encoder.widths,
                self.encoder.strides,
                features=self.features,
                out_channels=self.out_channels,
                num_classes=num_classes,
            )
        self.use_channels_last()

    @override
    def summary(self) -> str:
        if not isinstance(self.decoder, DPTDecoder):
            return f"{super().summary()}; decoder {type(self.decoder).__name__}"
        return f"{super().summary()}; decoder of widths {list(self.out_channels)}, fusion blocks of {self.features}"

    @override
    def description(self) -> dict[str, object]:
        return {**super().description(), "features": self.features, "out_channels": list(self.out_channels)}

    @override
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        return self.decoder(levels, **({} if classifier_mask is None else {"classifier_mask": classifier_mask}))


class ChangeModel(SegmentationModel):
    """Finds what differs between two dates: (B, 2, 3, H, W) normalised floats -> (B, C, H, W) logits.

    Both dates go through one encoder; the decoder sees ``|F_A - F_B|`` at each of the four levels, where channel
    dropout acts too. Source: UniMatch V2's experiments on change detection (table 14).

    Takes the arguments of :class:`SegmentationModel`.

    >>> import torch
    >>> ChangeModel("tiny", num_classes=2)(torch.zeros(3, 2, 3, 48, 48)).shape
    torch.Size([3, 2, 48, 48])
    """

    task = "change"
    dates = 2

    @override
    def encode(self, images: Tensor) -> list[Tensor]:
        """Turns pairs (B, 2, 3, H, W) into four levels (B, D_l, h_l, w_l) of what differs between the dates."""
        if images.ndim != 5 or tuple(images.shape[1:3]) != self.sample_shape:
            raise ConfigError(self.shape_fault(images))
        levels = super().encode(images.flatten(0, 1))  # of (2B, D_l, h_l, w_l)
        pairs = [level.reshape(*images.shape[:2], *level.shape[1:]) for level in levels]  # of (B, 2, D_l, h_l, w_l)
        return [(pair[:, 0] - pair[:, 1]).abs() for pair in pairs]


class ClassificationModel(Model):
    """An encoder, pooling and a linear classifier: (B, 3, H, W) normalised floats -> (B, C) logits.

    Complementary Dropout acts on the pooled feature.

    Args:
        encoder: ``wrn_28_2``, ``wrn_37_2`` (STL-10's), a preset's name or any timm model's
            (:func:`unimatch.models.pooled_encoders.build_pooled_encoder`).
        num_classes: number of classes C.
        image_size: side in pixels of the images that the model sees, rounded to the nearest multiple that the encoder
            takes. Larger images are cropped to their centre.
        resize: length in pixels to which an image's short side is resized before; None not to resize images.
        **options: see :class:`unimatch.models.base.Model`.

    >>> import torch
    >>> ClassificationModel("wrn_28_2", num_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    task = "classification"
    classifier_name = "classifier"
    build_encoder = staticmethod(build_pooled_encoder)
    adapt_encoder = staticmethod(as_pooled_encoder)

    def __init__(
        self,
        encoder: str | nn.Module,
        num_classes: int,
        *,
        image_size: int = 32,
        resize: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        at_least_one(image_size=image_size, resize=resize)
        super().__init__(encoder, num_classes, **options)
        self.image_size, self.resize = nearest_multiple(image_size, self.encoder.size_multiple), resize
        self.features = self.encoder.widths[-1]
        self.classifier = nn.Linear(self.features, num_classes)
        nn.init.xavier_normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.use_channels_last()

    @override
    def description(self) -> dict[str, object]:
        return {**super().description(), "image_size": self.image_size, "resize": self.resize}

    @override
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        """Turns the pooled feature (B, D, 1, 1) into (B, C) logits; ``classifier_mask`` (B, D, 1, 1) multiplies it."""
        feature = levels[0] if classifier_mask is None else levels[0] * classifier_mask
        return self.classifier(feature.flatten(1))
