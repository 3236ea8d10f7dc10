"""Makes a source of some of the images of another one."""

from collections.abc import Sequence

from typing_extensions import override

from unimatch.data.sources.base import FileSource, Source
from unimatch.images.arrays import ImageArray, LabelArray


class Subset(Source):
    """Some images of a source.

    Args:
        source: all images.
        indices: which of them, in their new order.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.source, self.indices = source, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    @override
    def name(self, index: int) -> str:
        return self.source.name(self.indices[index])

    @override
    def image(self, index: int) -> ImageArray:
        return self.source.image(self.indices[index])

    @override
    def mask(self, index: int) -> LabelArray | None:
        return self.source.mask(self.indices[index])


def subset_of(source: Source, indices: Sequence[int]) -> Source:
    """Returns some images of a source; those of a :class:`FileSource` are one too."""
    return source.select(indices) if isinstance(source, FileSource) else Subset(source, indices)
