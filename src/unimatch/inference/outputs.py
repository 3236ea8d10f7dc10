"""Writes predictions as files: masks, overlays, confidences, scores, run lengths, disagreements and areas.

No file is ever incomplete: each is written under another name and then renamed.
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

from unimatch.disk import append, sync_below, unwritable, write_output
from unimatch.engines.model_facts import ModelFacts
from unimatch.images.arrays import ORIENTATION, UNDO_ORIENTATION, ImageArray, MaskArray, latest, to_levels
from unimatch.images.pictures import add_legend, drawing, legend_of, overlay
from unimatch.images.rasters import NO_DATA_TAG, georeference
from unimatch.inference.predictor import Prediction
from unimatch.safe_text import csv_text, from_cell
from unimatch.types import IGNORE_INDEX
from unimatch.untrusted import written_by_others

KINDS = ("overlay", "confidence", "scores", "rle", "disagreement")
"""What can be written in addition to masks and areas."""

Row = list[str | int]
"""A line of ``areas.csv``."""

OVERLAY_SIDE = 4096
"""The largest side of an overlay, in pixels; overlays of larger images are shrunk."""


class Writer:
    """Writes predictions into a folder, with a subfolder for each kind; ``areas.csv`` records which images are done.

    Args:
        output: the folder, which is made if it is missing.
        facts: of the model.
        kinds: some of :data:`KINDS`.
    """

    def __init__(self, output: Path, facts: ModelFacts, kinds: Sequence[str]) -> None:
        self.output, self.facts, self.kinds = output, facts, tuple(kinds)
        self.areas = output / "areas.csv"
        optional = ["disagreement"] if "disagreement" in kinds else []
        self.columns = ["image", "width", "height", *facts.classes, "unsure", *optional, "file"]
        self.listed: set[str] = set()
        """The names in ``areas.csv``."""
        self.repeats = False
        """Whether ``areas.csv`` has several lines of one image, of which the last one counts."""
        self.files: dict[str, str] = {}
        """The file of each image that is done, by the image's name; unknown in tables of older versions."""
        self.done = self.read_done()

    def path(self, folder: str, name: str, suffix: str) -> Path:
        """Returns the path of one output of an image; the name may hold dots and folders."""
        return self.output / folder / f"{name}{suffix}"

    def mask_path(self, name: str) -> Path:
        """Returns the file of an image's mask: a GeoTIFF if there is one, else a PNG."""
        geotiff = self.path("masks", name, ".tif")
        return geotiff if geotiff.is_file() else self.path("masks", name, ".png")

    def read_done(self) -> set[str]:
        """Returns the names in ``areas.csv`` whose masks exist, and removes an incomplete last line.

        A table with other columns comes from other settings, and is replaced by an empty one.
        """
        if not self.areas.is_file():
            write_output(self.areas, csv_text([self.columns]))
            return set()
        text = self.areas.read_text(encoding="utf-8", errors="surrogateescape")
        whole = text[: text.rfind("\n") + 1]
        header, *rows = self.table_in(whole)
        if header == self.columns[:-1]:  # of a version without the column "file"
            whole = csv_text([self.columns, *([*row, ""] for row in rows)])
        elif header != self.columns:
            whole, rows = csv_text([self.columns]), []
        if whole != text:
            write_output(self.areas, whole)
        rows = [row for row in rows if row]
        self.listed = {row[0] for row in rows}
        self.repeats = len(self.listed) < len(rows)
        rows = [row for row in rows if row[1:] and self.mask_path(row[0]).is_file()]
        self.files = {row[0]: row[-1] for row in rows if header == self.columns}
        return {row[0] for row in rows}

    def is_older(self, name: str, source: Path) -> bool:
        """Returns whether an image that is done has been written since: its result is of another image."""
        return name in self.done and self.mask_path(name).stat().st_mtime_ns < source.stat().st_mtime_ns

    def table_in(self, text: str) -> list[list[str]]:
        """Returns the header, which may be empty, and the lines in the text of ``areas.csv``.

        Raises:
            DataError: it is no table.
        """
        with written_by_others(self.areas):
            return [[from_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text))] or [[]]

    def write(
        self, name: str, image: ImageArray, prediction: Prediction, file: str = "", source: Path | None = None
    ) -> Row:
        """Writes all files of one image, but not its line in ``areas.csv``. Several threads may call it at once.

        Args:
            name: of the outputs.
            image: the image, (H, W, C) uint8, or pairs of dates.
            prediction: its prediction.
            file: the path of the image's file for ``areas.csv``, by which a later call recognises the image.
            source: the image's file; if it is georeferenced, the mask is a GeoTIFF of the same place.

        Returns:
            The line, for :meth:`finish`.
        """
        if "overlay" in self.kinds:
            self.write_overlay(name, image, prediction)
        if "confidence" in self.kinds and prediction.confidence is not None:
            self.write_grey("confidence", name, as_levels(prediction.confidence))
        optional: Row = []
        if "disagreement" in self.kinds:
            optional = [""]  # a single model has none
            if prediction.disagreement is not None:
                levels = as_levels(prediction.disagreement)
                self.write_grey("disagreement", name, levels)
                optional = [f"{levels.mean() / 255:.6f}"]
        if "scores" in self.kinds and prediction.scores is not None:
            self.write_scores(name, prediction.scores)
        if "rle" in self.kinds:
            entries = run_lengths(prediction.mask, self.facts.classes)
            write_output(self.path("rle", name, ".json"), json.dumps(entries))
        self.write_mask(name, prediction.mask, source)
        height, width = prediction.mask.shape
        return [name, width, height, *prediction.areas().values(), *optional, file]

    def write_overlay(self, name: str, image: ImageArray, prediction: Prediction) -> None:
        """Writes an overlay; if it cannot be drawn, only warns."""
        path = self.path("overlays", name, ".jpg")
        drawn: Image.Image | None = None
        with drawing(path):
            drawn = draw_overlay(latest(self.facts.bands.picture(image)), prediction)
        if drawn is not None:  # at this quality JPEG shows no blocks
            write_output(path, functools.partial(drawn.save, format="JPEG", quality=90))

    def write_grey(self, folder: str, name: str, levels: NDArray[np.uint8]) -> None:
        """Writes levels (H, W) as a grey picture."""
        picture = Image.fromarray(levels)
        write_output(self.path(folder, name, ".png"), lambda file: save_png(file, picture))

    def write_scores(self, name: str, scores: NDArray[np.float32]) -> None:
        """Writes the probabilities (C, H, W) as float16, with the names of the classes."""
        half, names = scores.astype(np.float16), np.array(self.facts.classes)
        write_output(
            self.path("scores", name, ".npz"), lambda file: np.savez_compressed(file, scores=half, classes=names)
        )

    def write_mask(self, name: str, mask: MaskArray, source: Path | None) -> None:
        """Writes a mask with the classes' palette: as a GeoTIFF if the source is georeferenced, else as a PNG."""
        picture = Image.fromarray(mask)
        colors = [channel for color in self.facts.palette for channel in color]
        picture.putpalette(colors + [255] * (768 - len(colors)))  # ids that are not a class are white
        png, geotiff = self.path("masks", name, ".png"), self.path("masks", name, ".tif")
        place = None if source is None else georeference(source)
        if place is None:
            write_output(png, lambda file: save_png(file, picture))
            geotiff.unlink(missing_ok=True)  # an earlier mask, of another image of this name
        else:
            place[NO_DATA_TAG] = str(IGNORE_INDEX)
            if (orientation := place.get(ORIENTATION, 1)) != 1:  # the place is that of the pixels as they are stored
                picture = picture.transpose(UNDO_ORIENTATION[orientation])
            options = {"tiffinfo": place, "compression": "tiff_adobe_deflate"}
            write_output(geotiff, lambda file: picture.save(file, "TIFF", **options))
            png.unlink(missing_ok=True)

    def finish(self, row: Row) -> None:
        """Records in ``areas.csv`` that an image is done. Only one thread may call it."""
        name = str(row[0])
        self.append(csv_text([row]), sync=False)
        self.repeats |= name in self.listed
        self.listed.add(name)
        self.done.add(name)
        self.files[name] = str(row[-1])

    def append(self, text: str, *, sync: bool) -> None:
        """Appends to ``areas.csv``.

        Raises:
            WriteError: the disk is full.
            DataError: it cannot be written, for example because somebody has removed it.
        """
        try:
            append(self.areas, text, sync=sync)
        except OSError as error:
            raise unwritable(f"{self.areas}: cannot be written ({error.strerror or error})", error) from error

    def sync(self) -> None:
        """Leaves one line of each image in ``areas.csv``, and waits until everything written has reached the disk."""
        if self.repeats and self.areas.is_file():  # an image was predicted again, as its mask had been removed
            header, *rows = self.table_in(self.areas.read_text(encoding="utf-8", errors="surrogateescape"))
            last = {row[0]: row for row in rows if row}
            write_output(self.areas, csv_text([header, *last.values()]))
            self.repeats = False
        self.append("", sync=True)
        sync_below(self.output)


def as_levels(shares: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns shares in 0-1 as levels in 0-255, uint8; levels unchanged."""
    return shares if shares.dtype == np.uint8 else to_levels(shares)


def save_png(file: BinaryIO, image: Image.Image) -> None:
    """Writes a PNG with light compression: saving the last percent of its size would take most of the time."""
    image.save(file, "PNG", compress_level=3)


def draw_overlay(image: ImageArray, prediction: Prediction) -> Image.Image:
    """Returns the image with its classes' colours over it, and below it a legend of these classes."""
    mask, facts = prediction.mask, prediction.facts
    step = -(-max(mask.shape) // OVERLAY_SIDE)
    if step > 1:
        image, mask = image[::step, ::step], mask[::step, ::step]
    present = [int(i) for i in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)) if i != IGNORE_INDEX]
    return add_legend(overlay(image, mask, facts.colors), legend_of(facts.classes, facts.colors, present))


def run_lengths(mask: MaskArray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns COCO's uncompressed run-length encoding, with one entry for each class in the mask (H, W).

    ``counts`` are the lengths of alternating runs of zeros and ones down the columns, zeros first.

    >>> run_lengths(np.array([[0, 1], [1, 1]], np.uint8), ["sky", "sea"])[1]["segmentation"]
    {'size': [2, 2], 'counts': [1, 3]}
    """
    height, width = mask.shape
    flat = mask.ravel(order="F")
    bounds = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]))  # of the runs of one id
    ids = flat[bounds[:-1]]
    entries = []
    for i in np.setdiff1d(ids, IGNORE_INDEX):
        runs = np.flatnonzero(ids == i)
        begin, end = bounds[runs], bounds[runs + 1]
        gaps = begin - np.concatenate(([0], end[:-1]))
        counts = np.stack([gaps, end - begin], axis=1).ravel().tolist()
        if end[-1] < flat.size:
            counts.append(int(flat.size - end[-1]))
        entries.append(
            {
                "category_id": int(i),
                "category": classes[i],
                "area": int((end - begin).sum()),
                "segmentation": {"size": [height, width], "counts": counts},
            }
        )
    return entries
