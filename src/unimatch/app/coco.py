"""Makes COCO JSON of a mask that the page sends back: the outlines of its regions, for label tools."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from unimatch.app.files import read
from unimatch.app.patience import Patience
from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray, read_ids
from unimatch.labelling import coco
from unimatch.labelling.records import Labels
from unimatch.labelling.regions import pieces
from unimatch.labelling.writer import Job
from unimatch.texts import one_line

MOST_REGIONS = 20_000
"""How many connected regions are outlined."""


def coco_json(content: bytes, name: str, facts: ModelFacts, patience: Patience) -> bytes:
    """Returns the COCO JSON of one image.

    Pixels of a class called ``background`` are outside all objects, as ``python -m unimatch.labels`` writes them.

    Args:
        content: the mask's PNG of class ids.
        name: of the image, for ``file_name``.
        facts: classes.
        patience: which may end the outlining.

    Raises:
        DataError: it is no mask of these classes, or has too many regions.
    """
    patience.begin()
    mask = read({"truth": content}, mask_of)
    background = "background" if "background" in facts.classes else None
    job = Job(Labels([], facts.classes, facts.palette, background), Path())
    regions = 0

    def check(count: int) -> None:
        nonlocal regions
        if (regions := count) > MOST_REGIONS:
            raise DataError(f"the mask: has {regions:,} regions or more, and this page outlines up to {MOST_REGIONS:,}")
        if patience.ended:
            raise DataError(f"the mask: outlining its {regions:,} regions takes more than {patience.seconds:g} s")

    height, width = mask.shape
    notes: list[dict[str, Any]] = []
    for note in coco.annotations(job, pieces(mask, job.names, check), (width, height)):
        check(regions)
        notes.append({"id": len(notes) + 1, "image_id": 1, **note})
    image = {"id": 1, "file_name": one_line(name), "width": width, "height": height}
    return json.dumps({"annotations": notes, "images": [image], "categories": coco.categories_of(job)}).encode()


def mask_of(paths: dict[str, Path]) -> MaskArray:
    """Reads the mask."""
    values = read_ids(paths["truth"]).values
    if values.dtype != np.uint8:
        raise DataError(f"{paths['truth']}: has no ids of 8 bits")
    return values.astype(np.uint8, copy=False)
