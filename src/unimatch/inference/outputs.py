"""Writes predictions as files: masks, overlays, confidences, scores, run lengths and areas.

Every file that exists is whole: it is written under another name and then renamed.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from unimatch.disk import write_output
from unimatch.engines.model_facts import ModelFacts
from unimatch.images import ImageArray, MaskArray, latest, to_levels
from unimatch.inference.predictor import Prediction
from unimatch.pictures import add_legend, overlay
from unimatch.rasters import NO_DATA_TAG, georeference
from unimatch.types import IGNORE_INDEX

KINDS = ("overlay", "confidence", "scores", "rle")
"""What can be written in addition to masks and areas."""

OVERLAY_SIDE = 4096
"""The longer side of an overlay at most, in pixels; overlays of larger images are shrunk."""


class Writer:
    """Writes predictions below a folder, with a subfolder for each kind; ``areas.csv`` records what is done.

    The folder, ``output``, is made where it is missing; ``kinds`` are some of :data:`KINDS`.
    """

    def __init__(self, output: Path, facts: ModelFacts, kinds: Sequence[str]) -> None:
        self.output, self.facts, self.kinds = output, facts, tuple(kinds)
        self.areas = output / "areas.csv"
        self.columns = ["image", "width", "height", *facts.classes, "unsure"]
        output.mkdir(parents=True, exist_ok=True)
        self.done = self.read_done()

    def mask_path(self, name: str) -> Path:
        """Returns the file of an image's mask: a GeoTIFF where there is one, else a PNG."""
        stem = self.output / "masks" / name
        return (
            geotiff if (geotiff := stem.with_name(f"{stem.name}.tif")).is_file() else stem.with_name(f"{stem.name}.png")
        )

    def read_done(self) -> set[str]:
        """Returns the names in ``areas.csv`` whose masks exist, and removes a last line that was cut short."""
        if not self.areas.is_file():
            write_output(self.areas, csv_line(self.columns))
            return set()
        text = self.areas.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        names = [row[0] for row in csv.reader(io.StringIO(whole)) if row][1:]
        if whole != text:
            write_output(self.areas, whole)
        return {name for name in names if self.mask_path(name).is_file()}

    def write(
        self, name: str, image: ImageArray, prediction: Prediction, source: Path | None = None
    ) -> list[str | int]:
        """Writes all files of one image, but not its line in ``areas.csv``. Several threads may call it at once.

        The mask of a GeoTIFF, its file ``source``, is a GeoTIFF of the same place.

        Returns:
            The line, for :meth:`finish`.
        """
        mask, out = prediction.mask, self.output
        if "overlay" in self.kinds:
            overlaid = draw_overlay(latest(self.facts.bands.picture(image)), prediction)
            # At this quality JPEG shows no blocks.
            write_output(out / "overlays" / f"{name}.jpg", lambda file: overlaid.save(file, "JPEG", quality=90))
        if "confidence" in self.kinds and prediction.confidence is not None:
            sure = prediction.confidence
            levels = Image.fromarray(sure if sure.dtype == np.uint8 else to_levels(sure))
            write_output(out / "confidence" / f"{name}.png", lambda file: save_png(file, levels))
        if "scores" in self.kinds and (scores := prediction.scores) is not None:
            half, names = scores.astype(np.float16), np.array(self.facts.classes)  # (C, H, W), (C,)
            file_name = out / "scores" / f"{name}.npz"
            write_output(file_name, lambda file: np.savez_compressed(file, scores=half, classes=names))
        if "rle" in self.kinds:
            write_output(out / "rle" / f"{name}.json", json.dumps(run_lengths(mask, self.facts.classes)))
        index = Image.fromarray(mask)
        colors = [channel for color in self.facts.palette for channel in color]
        index.putpalette(colors + [255] * (768 - len(colors)))  # ids that are no class are white
        if (place := None if source is None else georeference(source)) is None:
            write_output(self.output / "masks" / f"{name}.png", lambda file: save_png(file, index))
        else:
            place[NO_DATA_TAG] = str(IGNORE_INDEX)
            options = {"tiffinfo": place, "compression": "tiff_adobe_deflate"}
            write_output(self.output / "masks" / f"{name}.tif", lambda file: index.save(file, "TIFF", **options))
        return [name, mask.shape[1], mask.shape[0], *prediction.areas().values()]

    def finish(self, row: list[str | int]) -> None:
        """Records in ``areas.csv`` that an image is done. Only one thread may call it."""
        with self.areas.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_line(row))
        self.done.add(str(row[0]))


def csv_line(values: Sequence[object]) -> str:
    """Returns values as one line of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def save_png(file: BinaryIO, image: Image.Image) -> None:
    """Writes a PNG, compressed lightly: the last percent of its size would take most of the time."""
    image.save(file, "PNG", compress_level=3)


def draw_overlay(image: ImageArray, prediction: Prediction) -> Image.Image:
    """Returns the image under the colours of its classes, with a legend of the classes in it below."""
    mask, facts = prediction.mask, prediction.facts
    step = -(-max(mask.shape) // OVERLAY_SIDE)
    if step > 1:
        image, mask = image[::step, ::step], mask[::step, ::step]
    present = [i for i in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)) if i != IGNORE_INDEX]
    return add_legend(overlay(image, mask, facts.palette), [(facts.classes[i], facts.palette[i]) for i in present])


def run_lengths(mask: MaskArray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns COCO's uncompressed run-length encoding, with one entry for each class in the mask.

    ``counts`` are lengths of runs down the columns, of zeros and ones in turn, zeros first.

    >>> run_lengths(np.array([[0, 1], [1, 1]], np.uint8), ["sky", "sea"])[1]["segmentation"]
    {'size': [2, 2], 'counts': [1, 3]}
    """
    height, width = mask.shape
    flat = mask.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]))  # of runs of one id
    ids, lengths = flat[starts[:-1]], np.diff(starts)
    entries = []
    for i in np.setdiff1d(ids, IGNORE_INDEX):
        mine = np.flatnonzero(ids == i)
        begin, end = starts[mine], starts[mine + 1]
        gaps = begin - np.concatenate(([0], end[:-1]))
        counts = np.stack([gaps, end - begin], axis=1).ravel().tolist()
        if end[-1] < flat.size:
            counts.append(int(flat.size - end[-1]))
        entries.append(
            {
                "category_id": int(i),
                "category": classes[i],
                "area": int(lengths[mine].sum()),
                "segmentation": {"size": [height, width], "counts": counts},
            }
        )
    return entries
