"""Sources of images and masks: files on disk, or any other object with the same four methods."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.data.catalog import DatasetInfo, distinct_colors
from unimatch.data.sources.checked import CheckedSource
from unimatch.data.sources.files import FilePair, FilePairs, lies_within, outside
from unimatch.data.sources.masks import mask_reader
from unimatch.data.sources.predicted_masks import reader_of
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray, LabelArray
from unimatch.images.bands import PHOTOS, Bands
from unimatch.images.folders import refuse_dead_link
from unimatch.images.rasters import read_dates, read_stored

OnBadImage = Literal["error", "skip"]


class Source(Protocol):
    """An indexed collection of images, some or all with masks."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Names sample ``index`` in messages: its file, where it has one."""
        ...

    def image(self, index: int) -> ImageArray:
        """Returns (H, W, 3) uint8 RGB, or (2, H, W, 3), the two dates of a pair.

        With other bands (``info.bands`` of the data set) there are C instead of 3: their values as levels of 0-255.
        """
        ...

    def mask(self, index: int) -> LabelArray | None:
        """Returns (H, W) uint8 class ids with 255 for ignored pixels; None if the image has no mask.

        If the image as a whole has a class, it is returned as an int64 array of shape ().
        """
        ...


class MapDataset(Protocol):
    """A PyTorch ``Dataset`` with a length, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class FileSource(Source):
    """Images and masks in files, read when asked for.

    Args:
        pairs: the files.
        info: the data set's classes and ignored ids.
        roots: folders outside which no file is read, not even by links; empty to allow all files.
        optional_masks: whether an image whose mask does not exist counts as one without a mask.
    """

    def __init__(
        self, pairs: Sequence[FilePair], info: DatasetInfo, *, roots: Sequence[Path] = (), optional_masks: bool = False
    ) -> None:
        self.pairs = pairs if isinstance(pairs, FilePairs) else FilePairs.of(pairs)
        self.info = info
        self.roots = tuple(str(root) for root in roots)
        self.optional_masks = optional_masks
        self._read_mask = mask_reader(info)

    def __len__(self) -> int:
        return len(self.pairs)

    @override
    def name(self, index: int) -> str:
        return self.pairs.image(index)

    @override
    def image(self, index: int) -> ImageArray:
        paths = [self._allowed(str(path)) for path in self.image_paths(index)]
        return read_dates(paths, self.info.bands, exif=self.info.exif)

    def stored(self, index: int) -> list[NDArray[Any]]:
        """Returns all values that the files of an image store, (H, W, N) of its own type for each file."""
        return [read_stored(self._allowed(str(path)), exif=self.info.exif) for path in self.image_paths(index)]

    def image_paths(self, index: int) -> list[Path]:
        """Returns the files of an image: one, or one for each date."""
        return [Path(self.pairs.image(index))]

    @override
    def mask(self, index: int) -> LabelArray | None:
        path = self.mask_path(index)
        return None if path is None else reader_of(self._read_mask, path)(path)

    def mask_path(self, index: int) -> Path | None:
        """Returns the mask's file; None if the image has no mask."""
        name = self.pairs.mask(index)
        if name is None or (self.optional_masks and not Path(name).is_file()):
            return None
        return self._allowed(name)

    def select(self, indices: Sequence[int]) -> Self:
        """Returns some of these images, in the order of the indices."""
        chosen = copy.copy(self)
        chosen.pairs = self.pairs.select(indices)
        return chosen

    def _allowed(self, name: str) -> Path:
        """Returns the path of a file.

        Raises:
            DataError: it lies outside the roots.
        """
        if self.roots and not lies_within(name, self.roots):
            refuse_dead_link(Path(name))
            raise DataError(outside(name, os.path.realpath(name), " and ".join(self.roots)))
        return Path(name)


@dataclass(frozen=True)
class SegmentationData:
    """A data set as methods need it: its labelled, unlabelled, validation and test images.

    The user's own sources are checked as files are (:class:`unimatch.data.sources.checked.CheckedSource`).
    """

    info: DatasetInfo
    labeled: Source
    unlabeled: Source
    """Masks of these images are only compared with pseudo labels, never trained on."""
    val: Source
    test: Source | None = None
    on_bad_image: OnBadImage = "error"
    """What to do with an unlabelled image that cannot be read: end the run, or replace it by another one and count it.
    Other images are never skipped."""
    one_class: bool = False
    """Whether an image has one class, instead of one for each pixel; masks then have the shape ()."""
    held_out: Source | None = None
    """Images with masks that are not trained on: pseudo labels are measured on them
    (:mod:`unimatch.data.splits.held_out`)."""

    def __post_init__(self) -> None:
        if self.on_bad_image not in ("error", "skip"):
            raise ConfigError(f"on_bad_image={self.on_bad_image}: must be 'error' or 'skip'")
        checked: dict[int, Source] = {}
        for part in ("labeled", "unlabeled", "val", "test", "held_out"):
            source = getattr(self, part)
            ours = isinstance(source, FileSource) or type(source).__module__.startswith("unimatch.")
            if source is not None and not ours:
                checked.setdefault(id(source), CheckedSource(source, self.info, one_class=self.one_class))
                object.__setattr__(self, part, checked[id(source)])

    @classmethod
    def from_datasets(
        cls,
        labeled: MapDataset,
        unlabeled: MapDataset,
        val: MapDataset,
        test: MapDataset | None = None,
        *,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        name: str = "datasets",
        on_bad_image: OnBadImage = "error",
        bands: Bands = PHOTOS,
    ) -> "SegmentationData":
        """Makes a data set of PyTorch ``Dataset``s, whose samples are an image, ``(image, mask)``, or a dictionary.

        An image is a tensor (3, H, W) or (H, W), an array (H, W, 3) or (H, W), uint8 or floats in 0-1, or a PIL image;
        for change detection (2, 3, H, W) or (2, H, W, 3). A mask holds class ids, and 255 for ignored pixels, as an
        integer tensor or array (H, W) or (1, H, W), or a PIL image. If labelled samples have a class instead, as in
        ``torchvision.datasets.CIFAR10``, the task is classification. Leave random transforms and ``Normalize`` out of
        the datasets: the data module makes the views.

        Args:
            labeled: with masks.
            unlabeled: their masks, if they have any, are only compared with pseudo labels; may be an empty list.
            val: with masks.
            test: with masks, if there is one.
            classes: names in the order of the ids.
            palette: an RGB colour (0-255) for each class; None for colours that are easy to tell apart.
            name: the name of the data set.
            on_bad_image: see :class:`SegmentationData`.
            bands: what the images' bands mean, if they are not red, green and blue of 8 bits. Images are then tensors
                (N, H, W) or arrays (H, W, N) of any type, with all N bands.

        Raises:
            DataError: the first labelled sample is malformed, or a dataset has no length or no indexing.

        >>> import torch
        >>> pairs = [(torch.rand(3, 48, 64), torch.zeros(48, 64, dtype=torch.int64))] * 4
        >>> data = SegmentationData.from_datasets(pairs, [image for image, _ in pairs], pairs, classes=["a", "b"])
        >>> data.unlabeled.image(0).shape, data.unlabeled.mask(0)
        ((48, 64, 3), None)
        """
        from unimatch.data.sources.torch_datasets import DatasetSource  # data sets of files need no PyTorch

        for part, given in (("labeled", labeled), ("unlabeled", unlabeled), ("val", val), ("test", test)):
            if given is None and part != "test":
                raise DataError(f"{part}: is missing; where there are no such samples, give an empty list")
            if given is not None and not (hasattr(given, "__len__") and hasattr(type(given), "__getitem__")):
                raise DataError(
                    f"{part}: a {type(given).__name__} does not give its samples by number; give a Dataset with "
                    "__len__ and __getitem__, or a list of samples"
                )
        if isinstance(classes, str):
            raise ConfigError(f"classes={classes}: must be a list of names, such as [{classes!r}, ...], not a text")
        colors = distinct_colors(len(classes)) if palette is None else tuple((r, g, b) for r, g, b in palette)
        info = DatasetInfo(name, tuple(classes), colors, bands=bands)
        first = DatasetSource(labeled, f"{name}.labeled").mask(0) if len(labeled) else None
        one_class = first is not None and np.ndim(first) == 0

        def source(dataset: MapDataset, part: str) -> Source:
            return CheckedSource(DatasetSource(dataset, f"{name}.{part}", bands), info, one_class=one_class)

        return cls(
            info,
            labeled=source(labeled, "labeled"),
            unlabeled=source(unlabeled, "unlabeled"),
            val=source(val, "val"),
            test=None if test is None else source(test, "test"),
            on_bad_image=on_bad_image,
            one_class=one_class,
        )
