"""Outlines the regions of a mask that the page sends back, as COCO JSON for label tools."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from unimatch.app.files import stored
from unimatch.app.time_limit import TimeLimit
from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import DataError
from unimatch.images.arrays import MaskArray, read_ids
from unimatch.labelling import coco
from unimatch.labelling.records import Labels
from unimatch.labelling.regions import pieces
from unimatch.labelling.writer import Job
from unimatch.safe_text import one_line

MOST_REGIONS = 20_000
"""The most connected regions that are outlined."""


def coco_json(content: bytes, name: str, facts: ModelFacts, time_limit: TimeLimit) -> bytes:
    """Returns the COCO JSON of one image.

    Pixels of a class called ``background`` are outside all objects, as in what ``python -m unimatch.labels`` writes.

    Args:
        content: the mask as a PNG of class ids.
        name: the image's file name.
        facts: the model's, for the names of the classes.
        time_limit: after which the outlining is given up.

    Raises:
        DataError: the file is no mask, has too many regions, or outlining them takes too long.
    """
    time_limit.start()
    with stored({"truth": content}) as paths:
        mask = read_mask(paths["truth"])
    background = "background" if "background" in facts.classes else None
    job = Job(Labels([], facts.classes, facts.palette, background), Path())
    regions = 0

    def check(count: int) -> None:
        nonlocal regions
        if (regions := count) > MOST_REGIONS:
            raise DataError(f"the mask: has {regions:,} regions or more, and this page outlines up to {MOST_REGIONS:,}")
        if time_limit.is_over:
            raise DataError(f"the mask: outlining its {regions:,} regions takes more than {time_limit.seconds:g} s")

    height, width = mask.shape
    notes: list[dict[str, Any]] = []
    for note in coco.annotations(job, pieces(mask, job.names, check), (width, height)):
        check(regions)
        notes.append({"id": len(notes) + 1, "image_id": 1, **note})
    image = {"id": 1, "file_name": one_line(name), "width": width, "height": height}
    return json.dumps({"annotations": notes, "images": [image], "categories": coco.categories_of(job)}).encode()


def read_mask(path: Path) -> MaskArray:
    """Reads a mask (H, W) of class ids, and refuses one of other than 8 bits with a DataError."""
    values = read_ids(path).values
    if values.dtype != np.uint8:
        raise DataError(f"{path}: has no ids of 8 bits")
    return values.astype(np.uint8, copy=False)
