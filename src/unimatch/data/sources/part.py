"""Some of a source's images, as a source of their own."""

from collections.abc import Sequence

from typing_extensions import override

from unimatch.data.sources.base import FileSource, Source
from unimatch.images.arrays import ImageArray, LabelArray


class Part(Source):
    """Some images of a source.

    Args:
        source: the whole.
        indices: of the images, in their order here.
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


def part_of(source: Source, indices: Sequence[int]) -> Source:
    """Returns some images of a source; files stay files."""
    return source.select(indices) if isinstance(source, FileSource) else Part(source, indices)
