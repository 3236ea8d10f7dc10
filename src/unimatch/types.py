"""The batches that pass between data and methods, and the letters in which their shapes are written.

``B`` images in a batch, ``C`` classes, ``H W`` height and width in pixels, ``D`` channels of an encoder's level, ``*S``
the shape of a label: ``H W`` if each pixel has a class, nothing if each image has one.
An image is (3, H, W), or (2, 3, H, W) if it is a pair of dates; ``...`` stands for the axes before ``H W``.
Images come from the data loaders as ``uint8`` and are normalised on the device
(:meth:`unimatch.SemiSupervisedDataModule.on_after_batch_transfer`); methods see floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:  # the constants are also used where PyTorch is not installed
    from torch import Tensor

IGNORE_INDEX = 255
"""The mask value that no loss and no metric counts."""

UNKNOWN_TRUTH = IGNORE_INDEX
"""The value of ``UnlabeledBatch["truth"]`` where an unlabelled image has no mask."""

NO_CLASS = -1
"""The label of an image without a class, in classification, where every id from 0 up may be a class."""


class LabeledBatch(TypedDict):
    """Labelled images and their labels."""

    image: Tensor
    """(B, ..., H, W) float, normalised."""
    label: Tensor
    """(B, *S) int64, class ids and :data:`IGNORE_INDEX`."""
    index: Tensor
    """(B,) int64, position of each image in the labelled list."""
    box: NotRequired[Tensor]
    """(B, 4) int64 CutMix boxes as in :class:`UnlabeledBatch`, only if the labelled images are strongly augmented."""


class UnlabeledBatch(TypedDict):
    """One weak and one or two strong views of each unlabelled image, all of the same crop."""

    weak: Tensor
    """(B, ..., H, W) float, normalised: the weak view ``w``."""
    strong1: Tensor
    """(B, ..., H, W) float, normalised: the strong view ``s1``, before CutMix."""
    strong2: NotRequired[Tensor]
    """(B, ..., H, W) float, normalised: the strong view ``s2``, before CutMix, for methods with two."""
    valid: Tensor
    """(B, *S) bool, False where the crop padded the image."""
    box1: NotRequired[Tensor]
    """(B, 4) int64, CutMix box of ``s1`` as (top, left, bottom, right); empty (zeros) for no box. Data without CutMix
    has no such field."""
    box2: NotRequired[Tensor]
    """(B, 4) int64, the same for ``s2``."""
    truth: Tensor
    """(B, *S) int64, the label where it is known, else :data:`UNKNOWN_TRUTH`: for measurements, never for training."""
    index: Tensor
    """(B,) int64, position of each image in the unlabelled list."""


class TrainBatch(TypedDict):
    """The batch that a method's ``losses`` receives. For methods without unlabelled images it has no ``unlabeled``."""

    labeled: LabeledBatch
    unlabeled: NotRequired[UnlabeledBatch]
    partner: NotRequired[UnlabeledBatch]
    """A second unlabelled batch to paste from, for methods whose CutMix needs one."""


class EvaluationSample(TypedDict):
    """One validation or test image at its own size; evaluation batches are lists of these."""

    image: Tensor
    """(..., H, W) float, normalised."""
    label: Tensor
    """(*S) int64."""
    index: Tensor
    """() int64, position in the list."""


@dataclass(frozen=True)
class Needs:
    """What a method needs from the data module that feeds it."""

    unlabeled: bool = True
    """Whether a batch holds unlabelled images."""
    partner: bool = False
    """Whether a batch holds a second unlabelled batch to paste from."""
    strong_views: int = 2
    """How many strong views of each unlabelled image a batch holds, 1 or 2."""
    size_multiple: int = 1
    """The sides of the crops are multiples of this number, an encoder's patch size."""
    start: tuple[int, int] = (0, 0)
    """(epoch, batch) at which the data begin; later only when a training is resumed."""


@runtime_checkable
class HasNeeds(Protocol):
    """A LightningModule that says what it needs from the data module."""

    @property
    def needs(self) -> Needs:
        """What this module needs from the data module."""
        ...


@runtime_checkable
class CountsClasses(Protocol):
    """A data module that counts how often its labelled images show each class."""

    @property
    def labeled_pixels(self) -> Sequence[int]:
        """The number of labelled pixels of each class, or of labelled images where an image has one class."""
        ...
