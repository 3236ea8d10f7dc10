"""The models: an encoder and what turns its features into logits. One class for each task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn
from typing_extensions import override

from unimatch.bands import PHOTOS, Bands
from unimatch.errors import ConfigError, first_line
from unimatch.images import nearest_multiple
from unimatch.models.dpt import DPTDecoder, size_of
from unimatch.models.encoders import Encoder, Weights, build_encoder
from unimatch.models.lora import add_lora, merge_lora
from unimatch.models.own import build_own, layers, maker, own_name
from unimatch.models.own_encoder import as_encoder
from unimatch.models.pooled_encoders import as_pooled_encoder, build_pooled_encoder
from unimatch.models.presets import PRESETS, PositionRule, decoder_widths
from unimatch.options import NamedOptions
from unimatch.speed.upsampling import upsample


class ModelOptions(TypedDict, total=False):
    """What the models of all tasks take as keyword arguments; :class:`Model` explains them."""

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
        weights: of the encoder: ``"pretrained"``, a file, or None for random ones; must be given for encoders that have
            published weights (:func:`unimatch.models.build_encoder`).
        position_embedding: how the encoder's position embedding is resized, ``"dinov2"`` or ``"timm"``; None for the
            preset's rule.
        options: further arguments of the timm model, such as ``{"drop_path_rate": 0.1}``.
        freeze: train the decoder alone; the encoder stays in eval mode. Source: UniMatch V2, table 7.
        unlock_after: optimizer steps during which the encoder stays as it is, in eval mode, without gradient; then it
            trains at the schedule's rate. With few labels an encoder that moves before the decoder knows anything can
            merge classes that look alike. 0 to train it from the first step.
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
    adapt_encoder: ClassVar[Callable[..., Encoder]] = staticmethod(as_encoder)
    """Makes an encoder of a module."""
    encoder: Encoder
    classifier_name: ClassVar[str] = ""
    """Of the last layer, whose outputs are the classes."""
    features: int
    """How many channels go into it; 0 where a decoder of your own does not say."""
    made_by: dict[str, object] | None = None
    """What :func:`unimatch.register_model` keeps of the function that made it."""

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
        if num_classes < 2:
            raise ConfigError(f"num_classes={num_classes}: at least two classes are needed")
        if freeze and (lora is not None or gradient_checkpointing):
            raise ConfigError("freeze=True: a frozen encoder has no use for lora or gradient_checkpointing")
        if unlock_after < 0 or (unlock_after and (freeze or lora is not None)):
            raise ConfigError(
                f"unlock_after={unlock_after}: must be 0 or more optimizer steps; 0 with freeze=True or lora, whose "
                "encoder is never trained"
            )
        if lora is not None and lora < 1:
            raise ConfigError(f"lora={lora}: the rank must be at least 1; leave it out for none")
        self.num_classes = int(num_classes)  # which a checkpoint holds: none of NumPy's
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
        sizes = f"images of {side} x {side} alone" if encoder.fixed_size else f"image sides in multiples of {side}"
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
        """What of a batch's shape lies between the number of samples and H, W: (3,), or (2, 3) for pairs."""
        return (*([self.dates] if self.dates > 1 else []), self.bands.count)

    @property
    def size_multiple(self) -> int:
        """What image sides must be multiples of."""
        return self.encoder.size_multiple

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.locked:  # it stays in eval mode
            self.encoder.eval()
        return self

    def lock(self) -> Self:
        """Holds the encoder still from now on, if it is frozen, or as long as :attr:`unlock_after` says."""
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
        """Adds LoRA's matrices to the encoder's weights, in place: a plain model that gives the same results."""
        if self.lora is not None:
            merge_lora(self.encoder.body)
            self.lora = None
        return self

    def encode(self, images: Tensor) -> list[Tensor]:
        """Turns images (B, 3, H, W) into four feature levels (B, D_l, h_l, w_l); in classification, one (B, D, 1, 1).

        Raises:
            ConfigError: the encoder takes images of one size alone, and these are of another; or one image, in
                training, is too small for batch normalisation.
            ValueError: H or W is not a multiple of :attr:`size_multiple`.
        """
        height, width = images.shape[-2:]
        if self.encoder.fixed_size and not height == width == self.size_multiple:
            side = self.size_multiple
            raise ConfigError(
                f"encoder={self.name}: takes images of {side} x {side} pixels alone, and these are {height} x {width}: "
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
        last = self.encoder.channels_last
        return self.encoder(images.contiguous(memory_format=torch.channels_last) if last else images.contiguous())

    def use_channels_last(self) -> None:
        """Stores weights in the layout that convolutions are fastest in, on CPUs and GPUs; values are the same."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not self.encoder.channels_last:
            self.encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

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
        decoder: a module of your own in place of the DPT decoder: it turns the list of the encoder's four levels, each
            (B, D_l, h_l, w_l), into logits (B, C, h, w) of any size. For ``dropout_at=classifier`` it has an attribute
            ``features`` and takes ``classifier_mask=`` as :class:`unimatch.models.DPTDecoder` does.
        **options: see :class:`Model`.

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
        super().__init__(encoder, num_classes, **options)
        self.decoder: nn.Module
        self.out_channels: tuple[int, ...] = ()
        if decoder is not None:
            if features is not None or out_channels is not None:
                raise ConfigError("decoder: a module has its own widths; leave out features and out_channels")
            self.decoder, self.features = decoder, int(getattr(decoder, "features", 0))
        else:
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
        if image_size < 1 or (resize is not None and resize < 1):
            raise ConfigError(f"image_size={image_size}, resize={resize}: must be at least 1")
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


MODELS: dict[str, type[Model]] = {model.task: model for model in (SegmentationModel, ChangeModel, ClassificationModel)}
"""The model of each task, by the task's name: how a checkpoint's description becomes a model again."""


def describe_model(model: Model) -> dict[str, object]:
    """Returns what a checkpoint says of its model: its task, and the arguments that build it.

    ``own`` is there where the model is none of ours, or where its parts are not those that these arguments build.
    """
    described = {"task": model.task, **model.description()}
    if model.made_by is not None:
        return {**described, "own": model.made_by}
    if type(model) not in MODELS.values():
        return {**described, "own": maker(own_name(type(model)), model.given)}
    return described if builds(described, model) else {**described, "own": {"name": None, "arguments": None}}


def builds(description: Mapping[str, Any], model: Model) -> bool:
    """Tells whether a description builds a model like this one: the same layers, by the same names."""
    try:
        with torch.device("meta"):  # without memory
            return layers(build_described(description)) == layers(model)
    except Exception:  # an encoder of your own has no name that can be built
        return False


def build_described(description: Mapping[str, Any]) -> Model:
    """Builds a described model with random weights; a description that names no task is of segmentation.

    Raises:
        WeightsError: it is a model of your own that cannot be built (:func:`unimatch.models.own.build_own`).
    """
    arguments = {"weights": None, **description}
    if own := arguments.pop("own", None):
        return build_own(own["name"], own["arguments"])
    return MODELS[arguments.pop("task", SegmentationModel.task)](**arguments)


@torch.no_grad()
def check_logits(model: Model) -> None:
    """Refuses a model of your own that does not run, or whose logits are not what losses need; its mode becomes eval.

    Raises:
        ConfigError: saying why, or what its logits are for an image of zeros.
    """
    side = nearest_multiple(64, model.size_multiple)
    device = next(model.parameters()).device
    images = torch.zeros(2, *model.sample_shape, side, side, device=device)
    try:
        logits: Any = model.eval().coarse(images)
    except ConfigError:
        raise
    except Exception as error:  # of the user's code
        parts = "encoder and decoder" if isinstance(model, SegmentationModel) else "parts"
        raise ConfigError(
            f"the model cannot be run on images of {tuple(images.shape)} ({type(error).__name__}: "
            f"{first_line(error)}): do its {parts} fit one another? A decoder is called with the list of the "
            "encoder's levels alone"
        ) from error
    if not isinstance(logits, Tensor):
        raise ConfigError(f"the model must give logits as one tensor, this one gives a {type(logits).__name__}")
    shape, maps = tuple(logits.shape), not isinstance(model, ClassificationModel)
    if shape[:2] != (2, model.num_classes) or len(shape) != (4 if maps else 2):
        expected = f"(2, {model.num_classes}{', h, w' if maps else ''})"
        raise ConfigError(f"the model turns images of {tuple(images.shape)} into logits of {shape}, not of {expected}")
