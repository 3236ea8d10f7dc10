"""Checks a data set before training by some images of each part, so that faults end the run at once."""

import logging
from pathlib import Path

import numpy as np

from unimatch.data.check.orientation import size_mismatch
from unimatch.data.check.survey import some_of, spread, survey
from unimatch.data.sources.base import FileSource, SegmentationData, Source
from unimatch.data.sources.checked import CheckedSource
from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray, LabelArray
from unimatch.types import IGNORE_INDEX
from unimatch.wording import counted

log = logging.getLogger("unimatch")


def verify(data: SegmentationData, *, needs_unlabeled: bool) -> list[str]:
    """Reads some labelled, validation and unlabelled images, or all of them if they are few, and refuses bad ones.

    Args:
        data: the data set.
        needs_unlabeled: whether the method trains on unlabelled images.

    Returns:
        Warnings about the masks, a line for each kind (:func:`unimatch.data.check.survey.survey`); they are logged too.

    Raises:
        DataError: images or masks are faulty; the message names the first ones, what is wrong and what to do.
    """
    if needs_unlabeled and len(data.unlabeled) == 0:
        raise DataError(
            "the unlabelled pool is empty: every training image is labelled. Set dataset.labeled=N, add images "
            "without masks (dataset=folder: in unlabeled/), or set dataset.unlabeled=train to use the training "
            "images themselves as unlabelled ones"
        )
    for part, source in (("labelled", data.labeled), ("validation", data.val)):
        if len(source) == 0:
            raise DataError(f"there are no {part} images")
        refuse(part, source, look(part, source)[0])
    refuse_shared(data)
    look_at_ids(data)
    if needs_unlabeled:
        found, looked_at = look("unlabelled", data.unlabeled, labeled=False)
        if data.on_bad_image == "error" or len(found) == looked_at > 0:
            refuse("unlabelled", data.unlabeled, found)
        elif found:
            log.warning("%d of %d unlabelled images looked at cannot be read: such are skipped", len(found), looked_at)
    findings = survey(data)
    for line in findings:
        log.warning("%s", line)
    return findings


def look(part: str, source: Source, *, labeled: bool = True) -> tuple[list[str], int]:
    """Returns the faults found in some images of a part, in the images' order, and the number of images read."""
    results = some_of(source, lambda i: fault_of(source, i, labeled=labeled))
    looked_at = len(results)
    if isinstance(source, FileSource) and 0 < looked_at < len(source):
        log.info("checked %d of %d %s images; python -m unimatch.check reads them all", looked_at, len(source), part)
    return [text for text in results if text], looked_at


def refuse(part: str, source: Source, faults: list[str]) -> None:
    """Raises an error with the first faults and the number of the others, if there are any.

    Raises:
        DataError: there are faults.
    """
    if faults:
        all_of_them = "; python -m unimatch.check names all" if isinstance(source, FileSource) else ""
        more = f"\n(and {len(faults) - 5} more like these{all_of_them})" if len(faults) > 5 else ""
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise DataError(f"{count} in the {part} images:\n" + "\n".join(faults[:5]) + more)


def look_at_ids(data: SegmentationData) -> None:
    """Refuses black-and-white masks of a user's own source, whose 255 may stand for a class.

    If not all masks were read, there is only a warning. (:mod:`unimatch.data.check.mask_faults` judges those of files.)

    Raises:
        DataError: all masks hold only 0 and 255.
    """
    source = data.labeled
    if not isinstance(source, CheckedSource) or data.one_class:
        return
    masks = [mask for index in spread(source) if (mask := source.mask(index)) is not None]
    if {value for mask in masks for value in np.unique(mask).tolist()} != {0, IGNORE_INDEX}:
        return
    text = (
        f"the masks of {source.name(0)} and others hold 0 and 255 alone, and 255 stands for pixels that do not count: "
        "where it is a class, return its id, 1, instead"
    )
    if len(masks) == len(source):
        raise DataError(text)
    log.warning("%s (%d of %d looked at)", text, len(masks), len(source))


def refuse_shared(data: SegmentationData) -> None:
    """Refuses labelled images that are also validation or test images; warns of such unlabelled images.

    Raises:
        DataError: there are such labelled images.
    """
    if not (isinstance(data.labeled, FileSource) and isinstance(data.val, FileSource)):
        return
    val = set(data.val.pairs.images())
    test = set(data.test.pairs.images()) if isinstance(data.test, FileSource) else set()
    for part, held_out in (("validation", val), ("test", test)):
        shared = [name for name in data.labeled.pairs.images() if name in held_out]
        if shared:
            raise DataError(
                f"{counted(len(shared), 'image')} in the labelled and in the {part} list, such as {shared[0]}; name "
                "each in one of the two, or where one list alone was given, give the other too: python -m "
                "unimatch.split writes lists that go together"
            )
    if isinstance(data.unlabeled, FileSource):
        count = sum(name in val for name in data.unlabeled.pairs.images())
        if count:
            log.warning("%d validation images are also unlabelled training images", count)


def fault_of(source: Source, index: int, *, labeled: bool) -> str | None:
    """Says what is wrong with one image and, if it is labelled, with its mask; None if nothing is."""
    try:
        image, mask = source.image(index), source.mask(index) if labeled else None
    except DataError as error:
        return str(error)
    if not labeled:
        return None
    if mask is None:
        return f"{source.name(index)}: has no mask"
    return size_fault(source, index, image, mask)


def size_fault(source: Source, index: int, image: ImageArray, mask: LabelArray) -> str | None:
    """Says that a mask has another size than its image; None if it has not."""
    if mask.shape in (image.shape[-3:-1], ()):  # a class for each pixel, or for the image
        return None
    name, paths = source.name(index), list[Path]()
    if isinstance(source, FileSource):
        name, paths = source.pairs.mask(index) or name, source.image_paths(index)
    return size_mismatch(name, mask.shape, image.shape[-3:-1], paths)
