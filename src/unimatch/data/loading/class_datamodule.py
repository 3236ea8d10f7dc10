"""Pairs labelled and unlabelled images that have one class each."""

from typing import Any

from unimatch.augment.class_views import ClassLabeledView, ClassUnlabeledViews, Strong
from unimatch.augment.randaugment import RandAugment
from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.sources.base import SegmentationData
from unimatch.errors import ConfigError


class ClassificationDataModule(SemiSupervisedDataModule):
    """Loaders for classification: flips and padded crops, and strong views of RandAugment's kind, without CutMix.

    Args:
        data: from :func:`unimatch.data.sets.cifar10` and its like.
        crop: side of the views, pixels.
        resize: length of an image's short side before the crop; None leaves images as large as they are.
        padding: pixels on each side before the crop.
        flip: probability of a horizontal flip.
        labeled_strong: also augments labelled images strongly (for a labelled-only baseline).
        strong: the strong augmentation; None for FixMatch's.
        **options: see :class:`unimatch.data.SemiSupervisedDataModule`.

    Raises:
        ConfigError: a number that cannot be.
    """

    def __init__(
        self,
        data: SegmentationData,
        *,
        crop: int,
        resize: int | None = None,
        padding: int = 4,
        flip: float = 0.5,
        labeled_strong: bool = False,
        strong: Strong | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data, crop=crop, flip=flip, labeled_strong=labeled_strong, **options)
        if padding < 0 or (resize is not None and resize < 1):
            raise ConfigError(f"datamodule.padding={padding}, resize={resize}: must be at least 0 and 1")
        strong = strong or RandAugment()
        weak: dict[str, Any] = {"crop": self.crop, "resize": resize, "padding": padding, "flip": flip}
        self.labeled_view = ClassLabeledView(**weak, strong=strong if labeled_strong else None)
        self.unlabeled_views = ClassUnlabeledViews(**weak, strong=strong)
