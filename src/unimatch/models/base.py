"""What the models of all tasks have in common: an encoder, the bands that it sees, and when it is trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.errors import ConfigError
from unimatch.images.bands import PHOTOS, Bands
from unimatch.models.encoder_base import Encoder
from unimatch.models.encoders import Weights, build_encoder
from unimatch.models.lora import add_lora, merge_lora
from unimatch.models.own_encoder import as_encoder
from unimatch.models.presets import PositionRule
from unimatch.options import MOST, NamedOptions, is_between, is_whole
from unimatch.speed.upsampling import size_of, upsample


class ModelOptions(TypedDict, total=False):
    """The keyword arguments of the models of all tasks; :class:`Model` explains them."""

    weights: Weights
    position_embedding: PositionRule | None
    options: Mapping[str, Any] | None
    freeze: bool
    unlock_after: int
    gradient_checkpointing: bool
    lora: int | None
    bands: Bands | Mapping[str, Any] | None


class Model(nn.Module, NamedOptions, ABC):
    """An encoder and, in subclasses, a decoder: (B, ..., H, W) normalised floats -> (B, C, *S) logits.

    Methods call its two halves, :meth:`encode` and :meth:`decode`, because Complementary Dropout acts between them.
    Losses upsample the logits themselves (:mod:`unimatch.speed.cross_entropy_by_rows`).

    Args:
        encoder: a preset's name (:data:`unimatch.models.PRESETS`) or a timm model's; or a module of your own: an
            :class:`unimatch.models.Encoder`, or anything that :class:`unimatch.models.ModuleEncoder` takes.
        num_classes: number of classes C.
        weights: of the encoder: ``"pretrained"``, a file, or None for random weights; must be given for encoders that
            have published weights (:func:`unimatch.models.build_encoder`).
        position_embedding: how the encoder's position embedding is resized, ``"dinov2"`` or ``"timm"``; None for the
            preset's rule.
        options: further arguments of the timm model, such as ``{"drop_path_rate": 0.1}``.
        freeze: train only the decoder; the encoder stays in eval mode. Source: UniMatch V2, table 7.
        unlock_after: number of optimizer steps for which the encoder is frozen, in eval mode; after that it trains at
            the schedule's rate. With few labels, an encoder that changes while the decoder is still random can merge
            classes that look alike. 0 to train it from the first step.
        gradient_checkpointing: recompute the encoder's activations in the backward pass: less memory, more time.
        lora: rank of trainable matrices beside the encoder's attention layers, while the encoder itself is frozen;
            None to train the encoder itself.
        bands: what the images' bands mean, and so how many the encoder sees and how they are normalised; None for RGB
            of 8 bits.

    Raises the errors of :func:`unimatch.models.build_encoder`, and ConfigError for other settings that cannot work.
    """

    task: ClassVar[str]
    """The name of the model's task in :data:`unimatch.tasks.TASKS`."""
    dates: ClassVar[int] = 1
    """How many images make one sample; if there are several, batches are (B, dates, 3, H, W)."""
    build_encoder: ClassVar[Callable[..., Encoder]] = staticmethod(build_encoder)
    """Builds the encoder; takes the arguments of :func:`unimatch.models.build_encoder`."""
    adapt_encoder: ClassVar[Callable[..., Encoder]] = staticmethod(as_encoder)
    """Turns a module into an encoder."""
    encoder: Encoder
    classifier_name: ClassVar[str] = ""
    """The name of the last layer, whose outputs are the classes."""
    features: int
    """The number of input channels of the last layer; 0 if a decoder of your own does not state it."""
    made_by: dict[str, object] | None = None
    """Which registered function made the model, and with which arguments (:func:`unimatch.register_model`)."""

    def __init__(
        self,
        encoder: str | nn.Module,
        num_classes: int,
        *,
        weights: Weights = ...,
        position_embedding: PositionRule | None = None,
        options: Mapping[str, Any] | None = None,
        freeze: bool = False,
        unlock_after: int = 0,
        gradient_checkpointing: bool = False,
        lora: int | None = None,
        bands: Bands | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not is_between(num_classes, 2, MOST) or not is_whole(num_classes):
            raise ConfigError(f"num_classes={num_classes}: at least two classes are needed, a whole number")
        if freeze and (lora is not None or gradient_checkpointing):
            raise ConfigError("freeze=True: a frozen encoder has no use for lora or gradient_checkpointing")
        steps = is_between(unlock_after, 0, MOST) and is_whole(unlock_after)
        if not steps or (unlock_after and (freeze or lora is not None)):
            raise ConfigError(
                f"unlock_after={unlock_after}: must be 0 or more optimizer steps; 0 with freeze=True or lora, whose "
                "encoder is never trained"
            )
        if lora is not None and not (is_between(lora, 1, MOST) and is_whole(lora)):
            raise ConfigError(f"lora={lora}: the rank must be at least 1, a whole number; leave it out for none")
        self.num_classes = int(num_classes)  # checkpoints hold it, and no NumPy numbers
        self.options = dict(options or {})
        self.freeze, self.lora, self.unlock_after = freeze, lora, unlock_after
        self.gradient_checkpointing = gradient_checkpointing
        self.bands = Bands.of(bands)
        if isinstance(encoder, nn.Module):
            if weights not in (..., None) or position_embedding or options:
                raise ConfigError("encoder: a module brings its own weights and options; leave them out here")
            self.name, self.encoder = type(encoder).__name__, self.adapt_encoder(encoder, self.bands.count)
        else:
            self.name = encoder
            self.encoder = self.build_encoder(
                encoder, weights, position_embedding=position_embedding, options=options, channels=self.bands.count
            )
        if gradient_checkpointing:
            self.encoder.checkpoint_gradients()
        self.trainable = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        self.lock()
        if lora is not None:
            self.encoder.requires_grad_(False)
            add_lora(self.encoder.body, lora)

    def summary(self) -> str:
        """Describes in one line what was chosen for this encoder."""
        encoder = self.encoder
        levels = getattr(encoder, "levels", None)
        blocks = "four stages" if len(encoder.widths) > 1 else "pooled"
        if levels and len(set(encoder.strides)) == 1:
            blocks = f"blocks {', '.join(map(str, levels))}"
        side = self.size_multiple
        sizes = f"images of {side} x {side} only" if encoder.fixed_size else f"image sides in multiples of {side}"
        return (
            f"encoder {self.name}: {blocks}, widths {list(encoder.widths)}, strides {list(encoder.strides)}"
            + (f", {sizes}" if side > 1 else "")
            + (f", position embedding resized by {rule}'s rule" if (rule := encoder.position_embedding) else "")
            + ("; the encoder is frozen" if self.freeze else f"; LoRA of rank {self.lora}" if self.lora else "")
            + (f"; the encoder is frozen for {self.unlock_after} steps" if self.unlock_after else "")
        )

    def description(self) -> dict[str, object]:
        """Returns the arguments that build this model again, without its weights: plain values for a checkpoint."""
        return {
            "encoder": self.name,
            "num_classes": self.num_classes,
            "position_embedding": self.encoder.position_embedding,
            "options": self.options,
            "lora": self.lora,
            **({} if self.bands == PHOTOS else {"bands": self.bands.plain()}),
        }

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The part of a batch's shape between B and H, W: (3,), or (2, 3) for pairs."""
        return (self.dates, self.bands.count) if self.dates > 1 else (self.bands.count,)

    @property
    def size_multiple(self) -> int:
        """What image sides must be multiples of."""
        return self.encoder.size_multiple

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.locked:
            self.encoder.eval()
        return self

    def lock(self) -> Self:
        """Freezes the encoder from now on, if :attr:`freeze` or :attr:`unlock_after` asks for it."""
        self.locked = self.freeze or self.unlock_after > 0
        if self.locked:
            self.encoder.requires_grad_(False).eval()
        return self

    def unlock(self) -> Self:
        """Begins to train the encoder, after :attr:`unlock_after` steps."""
        for parameter in self.trainable:
            parameter.requires_grad_(True)
        self.locked = False
        self.encoder.train(self.training)
        return self

    def merge_lora(self) -> Self:
        """Adds LoRA's matrices to the encoder's weights, in place: a plain model remains, which predicts the same."""
        if self.lora is not None:
            merge_lora(self.encoder.body)
            self.lora = None
        return self

    def encode(self, images: Tensor) -> list[Tensor]:
        """Turns images (B, 3, H, W) into four feature levels (B, D_l, h_l, w_l); in classification, one (B, D, 1, 1).

        Raises the errors of :meth:`check_images`.
        """
        self.check_images(images)
        last = self.encoder.channels_last
        return self.encoder(images.contiguous(memory_format=torch.channels_last) if last else images.contiguous())

    def check_images(self, images: Tensor) -> None:
        """Refuses what is no batch of images (B, 3, H, W), or of a size that the encoder does not take.

        Raises:
            ConfigError: the batch has another shape; the encoder takes images of one size only, and these are of
                another; or a batch of one image, in training, is too small for batch normalisation.
            ValueError: H or W is not a multiple of :attr:`size_multiple`.
        """
        if images.ndim != 4 or images.shape[1] != self.bands.count:
            raise ConfigError(self.shape_fault(images))
        height, width = images.shape[-2:]
        if self.encoder.fixed_size and not height == width == self.size_multiple:
            side = self.size_multiple
            raise ConfigError(
                f"encoder={self.name}: only takes images of {side} x {side} pixels, and these are {height} x {width}: "
                f"datamodule.crop={side} inference.mode=sliding inference.window={side}, or another encoder"
            )
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"images of {height} x {width} pixels: both must be multiples of the patch size {self.size_multiple}"
            )
        one_pixel = images.shape[0] == 1 and max(height, width) <= self.encoder.strides[-1]
        if one_pixel and any(
            isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in self.encoder.modules()
        ):
            raise ConfigError(
                f"a batch of one image of {height} x {width} pixels: the encoder makes one pixel of it, and batch "
                "normalisation has nothing to average; choose a larger datamodule.crop"
            )

    def shape_fault(self, images: Tensor) -> str:
        """Says which shape a batch must have that has another one."""
        expected = ", ".join(map(str, (*self.sample_shape, "H", "W")))
        return (
            f"images of the shape {tuple(images.shape)}: the model takes batches (B, {expected}); image[None] makes a "
            "batch of one image, and images.movedim(-1, -3) puts channels first"
        )

    def use_channels_last(self) -> None:
        """Stores weights in the memory layout in which convolutions are fastest, on CPUs and GPUs."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not self.encoder.channels_last:
            self.encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    @abstractmethod
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        """Turns feature levels into coarse logits: (B, C, h, w) at the decoder's size, or (B, C).

        Args:
            levels: from :meth:`encode`, each (B, D_l, h_l, w_l).
            classifier_mask: (B, features, 1, 1), by which the input of the last layer, the classifier, is multiplied.
        """

    def coarse(self, images: Tensor) -> Tensor:
        """Turns images (B, ..., H, W) into the logits of :meth:`decode`, whose maps are smaller than the images."""
        return self.decode(self.encode(images))

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Turns images (B, ..., H, W) into logits (B, C, *S); maps have the images' size."""
        logits = self.coarse(images)
        return upsample(logits, size_of(images)) if logits.dim() == 4 else logits
