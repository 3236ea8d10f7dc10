"""Sources of images that have one class each: in memory, or in files below folders named after the classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import FileSource, Source
from unimatch.data.sources.files import FilePairs
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray, LabelArray
from unimatch.types import NO_CLASS
from unimatch.wording import counted


class ClassArrays(Source):
    """Images of an array, or some of them, with their classes.

    Args:
        name: the name of the data set's part in messages.
        images: (N, H, W, 3) uint8; may be a memory-mapped file.
        labels: (N,) int64 class ids, :data:`NO_CLASS` for none.
        indices: the images to use, in this order; None for all.
    """

    def __init__(
        self, name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], indices: Sequence[int] | None = None
    ) -> None:
        self.part, self.images, self.all_labels = name, images, labels
        self.indices = np.arange(len(labels)) if indices is None else np.asarray(indices, np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class ids, (len(self),)."""
        return self.all_labels[self.indices]

    def select(self, indices: Sequence[int]) -> "ClassArrays":
        """Returns some of these images."""
        chosen = self.indices[np.asarray(indices, np.int64)].tolist()
        return ClassArrays(self.part, self.images, self.all_labels, chosen)

    def __len__(self) -> int:
        return len(self.indices)

    @override
    def name(self, index: int) -> str:
        return f"{self.part}/{self.indices[index]}"

    @override
    def image(self, index: int) -> ImageArray:
        return np.ascontiguousarray(self.images[self.indices[index]])

    @override
    def mask(self, index: int) -> NDArray[np.int64] | None:
        return class_array(self.all_labels[self.indices[index]])


class ClassFiles(FileSource):
    """Image files with their classes.

    Args:
        names: their paths.
        labels: (N,) int64 class ids, :data:`NO_CLASS` for none.
        info: the data set's classes.
        roots: folders outside which no file is read.
    """

    def __init__(
        self, names: Sequence[str], labels: NDArray[np.int64], info: DatasetInfo, roots: Sequence[Path] = ()
    ) -> None:
        super().__init__(FilePairs((name, None) for name in names), info, roots=roots)
        self.labels = labels

    @override
    def select(self, indices: Sequence[int]) -> Self:
        chosen = super().select([int(index) for index in indices])
        chosen.labels = self.labels[np.asarray(indices, np.int64)]
        return chosen

    @override
    def mask(self, index: int) -> NDArray[np.int64] | None:
        return class_array(self.labels[index])


class Joined(Source):
    """Several sources as one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self.ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _place(self, index: int) -> tuple[Source, int]:
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[which], index - int(self.ends[which - 1] if which else 0)

    @override
    def name(self, index: int) -> str:
        source, place = self._place(index)
        return source.name(place)

    @override
    def image(self, index: int) -> ImageArray:
        source, place = self._place(index)
        return source.image(place)

    @override
    def mask(self, index: int) -> LabelArray | None:
        source, place = self._place(index)
        return source.mask(place)


def class_array(label: np.int64) -> NDArray[np.int64] | None:
    """Returns a class id as an array of shape (); None for :data:`NO_CLASS`."""
    return None if label == NO_CLASS else np.asarray(label)


def choose_per_class(
    labels: NDArray[np.int64], count: int | None, seed: int, *, key: str, classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Chooses ``count`` images of each class; returns the indices of these and of the others, both ascending.

    All counts share one random order, so that the 4 images chosen of a class are among its 25.

    Args:
        labels: (N,) class ids.
        count: images of each class; None for all.
        seed: of the random order.
        key: the name of the setting, for messages.
        classes: names in the order of the ids.

    Raises:
        ConfigError: ``count`` is below 1, or a class has fewer images.

    >>> choose_per_class(np.array([0, 1, 0, 1, 1]), 1, seed=0, key="labeled_per_class", classes=("a", "b"))
    ([2, 4], [0, 1, 3])
    """
    if count is None:
        return list(range(len(labels))), []
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen: list[int] = []
    for number, name in enumerate(classes):
        members = order[labels[order] == number]
        if len(members) == 0:
            raise ConfigError(f"{key}={count}: the class {name} has no images; add some, or remove its folder")
        if not 1 <= count <= len(members):
            raise ConfigError(
                f"{key}={count}: must be at least 1, and the class {name} has {counted(len(members), 'image')}; "
                "choose fewer"
            )
        chosen += members[:count].tolist()
    return sorted(chosen), sorted(set(range(len(labels))) - set(chosen))
