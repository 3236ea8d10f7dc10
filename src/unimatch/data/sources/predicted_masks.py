"""Reads the masks of ``unimatch.predict``, which store class ids, in data sets whose own masks store other values."""

from dataclasses import replace
from pathlib import Path

from unimatch.data.sources.masks import IndexMasks, MaskReader
from unimatch.images.folders import PREDICTED


def reader_of(reader: MaskReader, path: Path) -> MaskReader:
    """Returns the reader of a mask: ``reader``, or a reader of plain class ids for a mask that predict has written.

    Pseudo labels can thus be listed together with masks of colours or other ids; their 255 always means ignored.

    Args:
        reader: reads the data set's own masks.
        path: the mask's file. A predicted one is recognised by ``predict.json`` beside its folder ``masks/``.
    """
    info = reader.info
    plain = isinstance(reader, IndexMasks) and info.ids is None and not info.reduce_zero_label
    if plain or not is_predicted(path):
        return reader
    return IndexMasks(replace(info, ids=None, reduce_zero_label=False, color_masks=False, ignore_ids=frozenset()))


def is_predicted(path: Path) -> bool:
    """Tells whether ``unimatch.predict`` has written a mask."""
    return any(folder.name == "masks" and (folder.parent / PREDICTED).is_file() for folder in path.absolute().parents)
