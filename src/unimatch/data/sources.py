"""Where images and masks come from: files on disk, or anything else with the same four methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from unimatch.data.catalog import DatasetInfo
from unimatch.images import ImageArray, MaskArray, read_image, read_mask
from unimatch.types import IGNORE_INDEX


class Source(Protocol):
    """An indexed collection of images, some or all with masks."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What to call sample ``index`` in a message: its file, where it has one."""
        ...

    def image(self, index: int) -> ImageArray:
        """(H, W, 3) uint8 RGB."""
        ...

    def mask(self, index: int) -> MaskArray | None:
        """(H, W) uint8 class ids with 255 for ignored pixels; None where the image has no mask."""
        ...


@dataclass(frozen=True)
class FilePair:
    """One image file and, where it is labelled, its mask file."""

    image: Path
    mask: Path | None = None


class FileSource:
    """Images and masks in files, read when asked for."""

    def __init__(self, pairs: Sequence[FilePair], info: DatasetInfo) -> None:
        self.pairs = list(pairs)
        self.info = info
        # Maps every stored mask value to the value used in training: ignored ids become 255.
        self._lookup = np.arange(256, dtype=np.uint8)
        self._lookup[sorted(info.ignore_ids)] = IGNORE_INDEX

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The image's path."""
        return str(self.pairs[index].image)

    def image(self, index: int) -> ImageArray:
        """See :func:`read_image`."""
        return read_image(self.pairs[index].image)

    def mask(self, index: int) -> MaskArray | None:
        """See :func:`read_mask`; ids in ``info.ignore_ids`` become 255."""
        path = self.pairs[index].mask
        return None if path is None else self._lookup[read_mask(path)]


@dataclass(frozen=True)
class SegmentationData:
    """A data set as the methods need it: which images are labelled, which are not, which are held out."""

    info: DatasetInfo
    labeled: Source
    unlabeled: Source
    """Masks found here are only ever compared with, never trained on."""
    val: Source
    test: Source | None = None
