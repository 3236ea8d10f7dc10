"""Makes labels of a model's masks, to be written for a tool as pre-annotations."""

from collections.abc import Sequence
from pathlib import Path

from unimatch.data.catalog import Color
from unimatch.data.prepare.archives import Member
from unimatch.labelling.records import IGNORE, LabelledImage, Labels, Painted
from unimatch.types import IGNORE_INDEX


def predicted_labels(
    files: Sequence[tuple[str, Path, Path]],
    classes: Sequence[str],
    colors: Sequence[Color] | None = None,
    background: str | None = "background",
) -> Labels:
    """Returns masks as labels, for :func:`unimatch.labelling.write`.

    Args:
        files: for each photo its name in the data set, its file, and the file of its mask, which stores class ids.
        classes: names in the order of the ids.
        colors: of the classes.
        background: the class that is not written, as users of a tool leave it unlabelled; if it is not among the
            classes, all of them are written.
    """
    names = {**dict(enumerate(classes)), IGNORE_INDEX: IGNORE}
    images = [
        LabelledImage(name, member(photo), Painted(member(mask), names), where=str(mask)) for name, photo, mask in files
    ]
    kept = background if background in classes else None
    return Labels(images, tuple(classes), None if colors is None else tuple(colors), kept)


def member(path: Path) -> Member:
    """Returns a file on disk as a member of its folder."""
    return Member(path.parent, path.name, path.stat().st_size)
