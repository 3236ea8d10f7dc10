"""The models: an encoder and what turns its features into logits. One class for each task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.bands import PHOTOS, Bands
from unimatch.errors import ConfigError
from unimatch.images import nearest_multiple
from unimatch.models.dpt import DPTDecoder, size_of
from unimatch.models.encoders import Encoder, Weights, build_encoder
from unimatch.models.lora import add_lora, merge_lora
from unimatch.models.pooled_encoders import build_pooled_encoder
from unimatch.models.presets import PRESETS, PositionRule, decoder_widths
from unimatch.options import NamedOptions
from unimatch.speed.upsampling import upsample


class ModelOptions(TypedDict, total=False):
    """What the models of all tasks take as keyword arguments; :class:`Model` explains them."""

    weights: Weights
    position_embedding: PositionRule | None
    options: Mapping[str, Any] | None
    freeze: bool
    gradient_checkpointing: bool
    lora: int | None
    bands: Bands | Mapping[str, Any] | None


class Model(nn.Module, NamedOptions, ABC):
    """An encoder and, in subclasses, a decoder: (B, ..., H, W) normalised floats -> (B, C, *S) logits.

    Methods call its two halves, :meth:`encode` and :meth:`decode`, because Complementary Dropout acts between them.
    Losses upsample the logits themselves (:mod:`unimatch.speed.cross_entropy_by_rows`).

    Args:
        encoder: a preset's name (:data:`unimatch.models.PRESETS`) or a timm model's.
        num_classes: number of classes C.
        weights: of the encoder: ``"pretrained"``, a file, or None for random ones; must be given for encoders that have
            published weights (:func:`unimatch.models.build_encoder`).
        position_embedding: how the encoder's position embedding is resized, ``"dinov2"`` or ``"timm"``; None for the
            preset's rule.
        options: further arguments of the timm model, such as ``{"drop_path_rate": 0.1}``.
        freeze: train the decoder alone; the encoder stays in eval mode. Source: UniMatch V2, table 7.
        gradient_checkpointing: recompute the encoder's activations in the backward pass: less memory, more time.
        lora: rank of trainable matrices beside the encoder's attention layers, which are frozen with the rest of the
            encoder; None to train the encoder itself.
        bands: what the images' bands mean, and so how many the encoder sees and how they are normalised; None for RGB
            of 8 bits.

    Raises the errors of :func:`unimatch.models.build_encoder`, and ConfigError for other settings that cannot work.
    """

    task: ClassVar[str]
    """The name of the model's task in :data:`unimatch.tasks.TASKS`."""
    dates: ClassVar[int] = 1
    """How many images make one sample; where there are several, batches are (B, dates, 3, H, W)."""
    build_encoder: ClassVar[Callable[..., Encoder]] = staticmethod(build_encoder)
    """Builds the encoder; takes the arguments of :func:`unimatch.models.build_encoder`."""
    encoder: Encoder
    features: int
    """How many channels go into the last layer, the classifier."""

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        *,
        weights: Weights = ...,
        position_embedding: PositionRule | None = None,
        options: Mapping[str, Any] | None = None,
        freeze: bool = False,
        gradient_checkpointing: bool = False,
        lora: int | None = None,
        bands: Bands | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigError(f"num_classes={num_classes}: at least two classes are needed")
        if freeze and (lora is not None or gradient_checkpointing):
            raise ConfigError("freeze=True: a frozen encoder has no use for lora or gradient_checkpointing")
        if lora is not None and lora < 1:
            raise ConfigError(f"lora={lora}: the rank must be at least 1; leave it out for none")
        self.name = encoder
        self.num_classes = num_classes
        self.options = dict(options or {})
        self.freeze, self.lora = freeze, lora
        self.bands = Bands.of(bands)
        self.encoder = self.build_encoder(
            encoder, weights, position_embedding=position_embedding, options=options, channels=self.bands.count
        )
        if gradient_checkpointing:
            self.encoder.checkpoint_gradients()
        if freeze:
            self.encoder.requires_grad_(False).eval()
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
        return (
            f"encoder {self.name}: {blocks}, widths {list(encoder.widths)}, strides {list(encoder.strides)}"
            + (f", position embedding resized by {rule}'s rule" if (rule := encoder.position_embedding) else "")
            + ("; the encoder is frozen" if self.freeze else f"; LoRA of rank {self.lora}" if self.lora else "")
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
        """What of a batch's shape lies between the number of samples and H, W: (3,), or (2, 3) for pairs."""
        return (*([self.dates] if self.dates > 1 else []), self.bands.count)

    @property
    def size_multiple(self) -> int:
        """What image sides must be multiples of."""
        return self.encoder.size_multiple

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze:  # it stays in eval mode
            self.encoder.eval()
        return self

    def merge_lora(self) -> Self:
        """Adds LoRA's matrices to the encoder's weights, in place: a plain model that gives the same results."""
        if self.lora is not None:
            merge_lora(self.encoder.body)
            self.lora = None
        return self

    def encode(self, images: Tensor) -> list[Tensor]:
        """Turns images (B, 3, H, W) into four feature levels (B, D_l, h_l, w_l); in classification, one (B, D, 1, 1).

        Raises:
            ValueError: H or W is not a multiple of :attr:`size_multiple`.
        """
        height, width = images.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"images of {height} x {width} pixels: both must be multiples of the patch size {self.size_multiple}"
            )
        return self.encoder(images.contiguous(memory_format=torch.channels_last))

    @abstractmethod
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        """Turns feature levels into coarse logits: (B, C, h, w) at the decoder's size, or (B, C).

        Args:
            levels: from :meth:`encode`, each (B, D_l, h_l, w_l).
            classifier_mask: (B, features, 1, 1) multiplies the input of the last layer, the classifier.
        """

    def coarse(self, images: Tensor) -> Tensor:
        """Turns (B, ..., H, W) into logits as :meth:`decode` gives them: maps are smaller than the images."""
        return self.decode(self.encode(images))

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Turns (B, ..., H, W) into (B, C, *S) logits; maps have the images' size."""
        logits = self.coarse(images)
        return upsample(logits, size_of(images)) if logits.dim() == 4 else logits


class SegmentationModel(Model):
    """An encoder and a DPT decoder: (B, 3, H, W) normalised floats -> (B, C, H, W) logits.

    Args:
        encoder: see :class:`Model`.
        num_classes: number of classes C.
        features: width of the decoder's fusion blocks; None for what suits the encoder
            (:func:`unimatch.models.presets.decoder_widths`).
        out_channels: widths of the decoder's four levels; None as for ``features``.
        **options: see :class:`Model`.

    >>> import torch
    >>> SegmentationModel("tiny", num_classes=11)(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 11, 48, 48])
    """

    task = "segmentation"

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        *,
        features: int | None = None,
        out_channels: Sequence[int] | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(encoder, num_classes, **options)
        preset, fitting = PRESETS.get(encoder), decoder_widths(self.encoder.widths)
        self.features = features or (preset and preset.features) or fitting[0]
        self.out_channels = tuple(out_channels or (preset and preset.out_channels) or fitting[1])
        self.decoder = DPTDecoder(
            self.encoder.widths,
            self.encoder.strides,
            features=self.features,
            out_channels=self.out_channels,
            num_classes=num_classes,
        )
        # The layout that convolutions are fastest in, on CPUs and GPUs; values are the same.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @override
    def summary(self) -> str:
        return f"{super().summary()}; decoder of widths {list(self.out_channels)}, fusion blocks of {self.features}"

    @override
    def description(self) -> dict[str, object]:
        return {**super().description(), "features": self.features, "out_channels": list(self.out_channels)}

    @override
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        return self.decoder(levels, classifier_mask=classifier_mask)


class ChangeModel(SegmentationModel):
    """Finds what differs between two dates: (B, 2, 3, H, W) normalised floats -> (B, C, H, W) logits.

    Both dates go through one encoder; the decoder sees ``|F_A - F_B|`` at each of the four levels, where channel
    dropout acts too. Source: UniMatch V2's experiments on change detection (table 14).

    Takes the arguments of :class:`SegmentationModel`.

    >>> ChangeModel("tiny", num_classes=2)(torch.zeros(3, 2, 3, 48, 48)).shape
    torch.Size([3, 2, 48, 48])
    """

    task = "change"
    dates = 2

    @override
    def encode(self, images: Tensor) -> list[Tensor]:
        """Turns pairs (B, 2, 3, H, W) into four levels (B, D_l, h_l, w_l) of what differs between the dates."""
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
            takes. Of larger images it sees the middle.
        resize: length in pixels to which an image's short side is resized before; None to leave images as they are.
        **options: see :class:`unimatch.models.networks.Model`.

    >>> import torch
    >>> ClassificationModel("wrn_28_2", num_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    task = "classification"
    build_encoder = staticmethod(build_pooled_encoder)

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        *,
        image_size: int = 32,
        resize: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        if image_size < 1 or (resize is not None and resize < 1):
            raise ConfigError(f"image_size={image_size}, resize={resize}: must be at least 1")
        super().__init__(encoder, num_classes, **options)
        self.image_size, self.resize = nearest_multiple(image_size, self.encoder.size_multiple), resize
        self.features = self.encoder.widths[-1]
        self.classifier = nn.Linear(self.features, num_classes)
        nn.init.xavier_normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @override
    def description(self) -> dict[str, object]:
        return {**super().description(), "image_size": self.image_size, "resize": self.resize}

    @override
    def decode(self, levels: Sequence[Tensor], *, classifier_mask: Tensor | None = None) -> Tensor:
        """Turns the pooled feature (B, D, 1, 1) into (B, C) logits; ``classifier_mask`` (B, D, 1, 1) multiplies it."""
        feature = levels[0] if classifier_mask is None else levels[0] * classifier_mask
        return self.classifier(feature.flatten(1))


MODELS: dict[str, type[Model]] = {model.task: model for model in (SegmentationModel, ChangeModel, ClassificationModel)}
"""The model of each task, by the task's name: how a checkpoint's description becomes a model again."""


def describe_model(model: Model) -> dict[str, object]:
    """Returns what a checkpoint says of its model: its task, and the arguments that build it."""
    return {"task": model.task, **model.description()}


def build_described(description: Mapping[str, Any]) -> Model:
    """Builds a described model with random weights; a description that names no task is of segmentation."""
    arguments = {"weights": None, **description}
    return MODELS[arguments.pop("task", SegmentationModel.task)](**arguments)
