"""Reads the masks of ``unimatch.predict``, which store class ids, beside those of a data set that stores others."""

from dataclasses import replace
from pathlib import Path

from unimatch.data.sources.masks import IndexMasks, MaskReader
from unimatch.images.folders import PREDICTED


def reader_of(reader: MaskReader, path: Path) -> MaskReader:
    """Returns what reads a mask: ``reader``, or for one that ``unimatch.predict`` has written, one of plain class ids.

    So pseudo labels can be listed with masks of colours or other ids: their 255 is no class, whatever it is elsewhere.

    Args:
        reader: of the data set's own masks.
        path: the mask's file; a predicted one lies where it was written, in ``masks/`` beside ``predict.json``.
    """
    info = reader.info
    plain = isinstance(reader, IndexMasks) and info.ids is None and not info.reduce_zero_label
    if plain or not is_predicted(path):
        return reader
    return IndexMasks(replace(info, ids=None, reduce_zero_label=False, color_masks=False, ignore_ids=frozenset()))


def is_predicted(path: Path) -> bool:
    """Tells whether ``unimatch.predict`` has written a mask."""
    return any(folder.name == "masks" and (folder.parent / PREDICTED).is_file() for folder in path.absolute().parents)
