"""Writes predictions as files: masks, overlays, confidences, scores, run lengths, disagreements and areas.

Every file that exists is whole: it is written under another name and then renamed.
"""

import csv
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unimatch.disk import append, sync_below, write_output
from unimatch.engines.model_facts import ModelFacts
from unimatch.images.arrays import ImageArray, MaskArray, latest, to_levels
from unimatch.images.pictures import add_legend, drawing, legend_of, overlay
from unimatch.images.rasters import NO_DATA_TAG, georeference
from unimatch.inference.predictor import Prediction
from unimatch.texts import csv_text, from_cell
from unimatch.types import IGNORE_INDEX

KINDS = ("overlay", "confidence", "scores", "rle", "disagreement")
"""What can be written in addition to masks and areas."""

Row = list[str | int]
"""A line of ``areas.csv``."""

OVERLAY_SIDE = 4096
"""The longer side of an overlay at most, in pixels; overlays of larger images are shrunk."""


class Writer:
    """Writes predictions below a folder, with a subfolder for each kind; ``areas.csv`` records what is done.

    The folder, ``output``, is made where it is missing; ``kinds`` are some of :data:`KINDS`.
    """

    def __init__(self, output: Path, facts: ModelFacts, kinds: Sequence[str]) -> None:
        self.output, self.facts, self.kinds = output, facts, tuple(kinds)
        self.areas = output / "areas.csv"
        further = ["disagreement"] if "disagreement" in kinds else []
        self.columns = ["image", "width", "height", *facts.classes, "unsure", *further, "file"]
        output.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, str] = {}
        """The file of each image that is done, by its name; results written before this was recorded have none."""
        self.done = self.read_done()

    def mask_path(self, name: str) -> Path:
        """Returns the file of an image's mask: a GeoTIFF where there is one, else a PNG."""
        stem = self.output / "masks" / name
        return (
            geotiff if (geotiff := stem.with_name(f"{stem.name}.tif")).is_file() else stem.with_name(f"{stem.name}.png")
        )

    def read_done(self) -> set[str]:
        """Returns the names in ``areas.csv`` whose masks exist, and removes a last line that was cut short.

        A table of other columns is of other settings, and is begun anew.
        """
        if not self.areas.is_file():
            write_output(self.areas, csv_text([self.columns]))
            return set()
        text = self.areas.read_text(encoding="utf-8", errors="surrogateescape")
        whole = text[: text.rfind("\n") + 1]
        table = [[from_cell(cell) for cell in row] for row in csv.reader(io.StringIO(whole))]
        header, *rows = table or [[]]
        if header == self.columns[:-1]:
            whole = csv_text([self.columns, *([*row, ""] for row in rows)])
        elif header != self.columns:
            whole, rows = csv_text([self.columns]), []
        if whole != text:
            write_output(self.areas, whole)
        rows = [row for row in rows if row[1:] and self.mask_path(row[0]).is_file()]
        self.files = {row[0]: row[-1] for row in rows if header == self.columns}
        return {row[0] for row in rows}

    def write(
        self, name: str, image: ImageArray, prediction: Prediction, file: str = "", source: Path | None = None
    ) -> Row:
        """Writes all files of one image, but not its line in ``areas.csv``. Several threads may call it at once.

        Args:
            name: of the outputs.
            image: what was predicted.
            prediction: of it.
            file: the image's file, to know it again.
            source: the image's file, to read where it lies: the mask of a GeoTIFF is a GeoTIFF of the same place.

        Returns:
            The line, for :meth:`finish`.
        """
        mask, out = prediction.mask, self.output
        if "overlay" in self.kinds:
            drawn = list[Image.Image]()
            with drawing(path := out / "overlays" / f"{name}.jpg"):
                drawn = [draw_overlay(latest(self.facts.bands.picture(image)), prediction)]
            for overlaid in drawn:  # at this quality JPEG shows no blocks
                write_output(path, functools.partial(overlaid.save, format="JPEG", quality=90))
        if "confidence" in self.kinds and prediction.confidence is not None:
            levels = as_levels(prediction.confidence)
            write_output(out / "confidence" / f"{name}.png", lambda file: save_png(file, levels))
        further: Row = [""] if "disagreement" in self.kinds else []  # empty of one model
        if further and (dissent := prediction.disagreement) is not None:
            map_of_levels = as_levels(dissent)
            write_output(out / "disagreement" / f"{name}.png", lambda file: save_png(file, map_of_levels))
            further = [f"{np.asarray(map_of_levels).mean() / 255:.6f}"]
        if "scores" in self.kinds and (scores := prediction.scores) is not None:
            half, names = scores.astype(np.float16), np.array(self.facts.classes)  # (C, H, W), (C,)
            file_name = out / "scores" / f"{name}.npz"
            write_output(file_name, lambda file: np.savez_compressed(file, scores=half, classes=names))
        if "rle" in self.kinds:
            write_output(out / "rle" / f"{name}.json", json.dumps(run_lengths(mask, self.facts.classes)))
        index = Image.fromarray(mask)
        colors = [channel for color in self.facts.palette for channel in color]
        index.putpalette(colors + [255] * (768 - len(colors)))  # ids that are no class are white
        png, geotiff = (out / "masks" / f"{name}{suffix}" for suffix in (".png", ".tif"))
        if (place := None if source is None else georeference(source)) is None:
            write_output(png, lambda file: save_png(file, index))
            geotiff.unlink(missing_ok=True)  # of another file of this name, whose results are written over
        else:
            place[NO_DATA_TAG] = str(IGNORE_INDEX)
            options = {"tiffinfo": place, "compression": "tiff_adobe_deflate"}
            write_output(geotiff, lambda file: index.save(file, "TIFF", **options))
            png.unlink(missing_ok=True)
        return [name, mask.shape[1], mask.shape[0], *prediction.areas().values(), *further, file]

    def finish(self, row: Row) -> None:
        """Records in ``areas.csv`` that an image is done. Only one thread may call it."""
        append(self.areas, csv_text([row]), sync=False)
        self.done.add(str(row[0]))
        self.files[str(row[0])] = str(row[-1])

    def sync(self) -> None:
        """Waits until the disk has all that was written."""
        append(self.areas, "")
        sync_below(self.output)


def as_levels(shares: NDArray[Any]) -> Image.Image:
    """Returns shares of 0-1, or levels that stand for them already, as a grey picture."""
    return Image.fromarray(shares if shares.dtype == np.uint8 else to_levels(shares))


def save_png(file: BinaryIO, image: Image.Image) -> None:
    """Writes a PNG, compressed lightly: the last percent of its size would take most of the time."""
    image.save(file, "PNG", compress_level=3)


def draw_overlay(image: ImageArray, prediction: Prediction) -> Image.Image:
    """Returns the image under the colours of its classes, with a legend of the classes in it below."""
    mask, facts = prediction.mask, prediction.facts
    step = -(-max(mask.shape) // OVERLAY_SIDE)
    if step > 1:
        image, mask = image[::step, ::step], mask[::step, ::step]
    present = [int(i) for i in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)) if i != IGNORE_INDEX]
    return add_legend(overlay(image, mask, facts.colors), legend_of(facts.classes, facts.colors, present))


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
