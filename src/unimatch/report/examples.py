"""Writes the pictures of a report into the run directory's ``examples/``, and ``confusion.csv`` beside it.

``examples.json`` names the classes' colours and three lists: validation images and unlabelled images, each with its
photographs and the layers that can be laid over them, and rows of training views, each with its cells.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.Image import Resampling
from torch import Tensor

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import Source
from unimatch.disk import replace_file, replace_text
from unimatch.errors import DataError
from unimatch.images.arrays import ImageArray, dates_by_name
from unimatch.images.bands import Bands
from unimatch.images.pictures import spread_evenly
from unimatch.images.tensors import normalize, to_tensor
from unimatch.models.base import Model
from unimatch.report.layers import class_layer, confidence_layer, error_layer
from unimatch.tasks import Task
from unimatch.terminal import progress_bar
from unimatch.texts import csv_text
from unimatch.types import IGNORE_INDEX

Item = TypeVar("Item")

SMALLEST, LARGEST = 240, 640
"""The longer side of a picture: smaller pictures are enlarged, larger ones are shrunk, to about this many pixels."""
WORST = 6
"""How many of the worst validation images are shown, and of the least certain unlabelled ones."""
LOOKED_AT, ON_GPU = 12, 24
"""Among how many unlabelled images the least certain ones are sought, on a processor and on a GPU: the teacher
predicts each."""
CLASSIFIED = 6
"""How many images are shown that are classified wrong, and as many that are right."""


def write_confusion(path: Path, confusion: Tensor, classes: Sequence[str]) -> None:
    """Writes a confusion matrix (C, C) int64 as CSV: a row for each true class, a column for each predicted one."""
    rows = [[name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)]
    replace_text(path, csv_text([["truth", *classes], *rows]))


def write_examples(
    folder: Path,
    info: DatasetInfo,
    step: int,
    validation: list[dict[str, Any]],
    views: list[dict[str, Any]],
    unlabeled: list[dict[str, Any]],
) -> None:
    """Writes the pictures of what the functions below return, and ``examples.json``, into ``RUN/examples``."""
    for kind, shown in (("validation", validation), ("unlabeled", unlabeled)):
        for i, example in enumerate(shown):
            seen: Labelled = example.pop("seen")
            stem = folder / f"{kind}{i}"
            photos = [
                (name, write_picture(stem.with_name(f"{stem.name}_photo{j}"), picture))
                for j, (name, picture) in enumerate(dates_by_name(seen.picture))
            ]
            layers = {name: write_layer(stem, name, layer) for name, layer in seen.layers(info.colors).items()}
            example |= {"photos": photos, "layers": layers}
    for i, row in enumerate(views):
        for j, (caption, picture, *rest) in enumerate(row["cells"]):
            box, mask = rest[0] if rest else (), rest[1] if len(rest) > 1 else None
            cell = {"caption": caption, "file": write_picture(folder / f"view{i}_{j}", picture, box)}
            if mask is not None:
                cell["mask"] = write_layer(folder / f"view{i}_{j}", "mask", class_layer(mask, info.colors))
            row["cells"][j] = cell
    content = {"step": step, "classes": info.classes, "palette": info.colors}
    content |= {"validation": validation, "unlabeled": unlabeled, "views": views}
    replace_text(folder / "examples.json", json.dumps(content, indent=1) + "\n")


def shown_size(size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """Returns by which factor a picture of this width and height is enlarged or shrunk, and to which size.

    >>> shown_size((60, 30)), shown_size((1280, 640)), shown_size((300, 100))
    ((4, (240, 120)), (0.5, (640, 320)), (1.0, (300, 100)))
    """
    side = max(size)
    factor = math.ceil(SMALLEST / side) if side < SMALLEST else min(1.0, LARGEST / side)
    return factor, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))


def write_picture(stem: Path, picture: ImageArray, box: Sequence[int] = ()) -> str:
    """Writes one picture, enlarged or shrunk to a size to look at, and returns the file's name.

    Args:
        stem: its path without the suffix: of a PNG where it is enlarged, else of a JPEG.
        picture: (H, W, 3) uint8.
        box: (top, left, bottom, right) of a box to outline; none where it is empty or has no pixel.
    """
    image = Image.fromarray(picture)
    factor, size = shown_size(image.size)
    kind, suffix, method = ("PNG", ".png", Resampling.NEAREST) if factor > 1 else ("JPEG", ".jpg", Resampling.LANCZOS)
    image = image.resize(size, method)
    if any(box) and box[0] < box[2] and box[1] < box[3]:  # a small view may have a box without a pixel
        top, left, bottom, right = (round(edge * factor) for edge in box)
        bottom, right = max(bottom, top + 4), max(right, left + 4)  # as thick as its two lines
        draw = ImageDraw.Draw(image)
        draw.rectangle((left, top, right - 1, bottom - 1), outline="black", width=4)
        draw.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="white", width=2)
    path = stem.with_name(stem.name + suffix)
    replace_file(path, lambda file: image.save(file, kind, quality=85))
    return path.name


def write_layer(stem: Path, name: str, layer: Image.Image) -> str:
    """Writes a layer as PNG at the size of :func:`write_picture`'s photograph, and returns the file's name."""
    path = stem.with_name(f"{stem.name}_{name}.png")
    resized = layer.resize(shown_size(layer.size)[1], Resampling.NEAREST)
    replace_file(path, lambda file: resized.save(file, "PNG", transparency=layer.info["transparency"]))
    return path.name


@dataclass(frozen=True)
class Labelled:
    """An image with what is said of it."""

    picture: ImageArray
    """(H, W, 3), or (2, H, W, 3) of a pair, as it is shown."""
    labels: dict[str, NDArray[np.integer]]
    """Class ids (*S) by name: ``truth``, where it is known, and models' predictions."""
    confidence: NDArray[np.floating]
    """(*S) of the last model: the probability of its prediction."""

    def layers(self, colors: Sequence[tuple[int, int, int]]) -> dict[str, Image.Image]:
        """Returns what can be laid over the picture, by name; nothing where the image has one class as a whole."""
        if self.confidence.ndim == 0:
            return {}
        drawn = {name: class_layer(mask, colors) for name, mask in self.labels.items()}
        if "truth" in self.labels and "teacher" in self.labels:
            drawn["errors"] = error_layer(self.labels["truth"].astype(np.uint8), self.labels["teacher"], colors)
        return drawn | {"confidence": confidence_layer(self.confidence)}

    @property
    def present(self) -> list[int]:
        """The classes that are somewhere in the labels of pixels."""
        masks = self.labels.values() if self.confidence.ndim else ()
        return sorted({int(i) for mask in masks for i in np.unique(mask)} - {IGNORE_INDEX})


def validation_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns the worst images, the median and the best one, each with truth and predictions.

    Args:
        models: in eval mode, by name, the teacher last.
        task: how they predict.
        source: images with masks, or pairs.
        info: classes and colours.
        scores: (N,) of each image, in percent; not a number for those that were not evaluated.
    """
    order = [i for i in scores.argsort(descending=True).tolist() if not scores[i].isnan()]
    titles = {index: f"worst, place {place}" for place, index in enumerate(order[: -WORST - 1 : -1], 1)}
    titles |= {order[len(order) // 2]: "median", order[-1]: "worst", order[0]: "best"}
    rows = []
    for index, title in counted(titles.items(), "validation images"):
        seen = label_with(models, task, source, index, info.bands)
        title = f"{title}, {float(scores[index]):.1f}%: {Path(source.name(index)).name}"
        rows.append({"title": title, "present": seen.present, "seen": seen})
    return rows


def classified_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns some images that are classified wrong (score 0) and some that are right, with their classes.

    The arguments are those of :func:`validation_rows`.
    """
    rows = []
    for title, found in (("wrong", scores == 0), ("right", scores > 0)):
        indices = found.nonzero().flatten().tolist()
        for index in indices[:: max(1, math.ceil(len(indices) / CLASSIFIED))]:  # spread evenly
            seen = label_with(models, task, source, index, info.bands)
            named = ", ".join(f"{name} {info.classes[int(value)]}" for name, value in seen.labels.items())
            rows.append({"title": f"{title}, {named}: {Path(source.name(index)).name}", "seen": seen})
    return rows


def uncertain_rows(teacher: Model, task: Task, source: Source, info: DatasetInfo) -> list[dict[str, Any]]:
    """Returns the images of which the teacher is least certain, by its mean confidence, among some spread evenly."""
    found = []
    on_gpu = next(teacher.parameters()).device.type != "cpu"
    for index in counted(spread_evenly(len(source), ON_GPU if on_gpu else LOOKED_AT), "least certain images"):
        with suppress(DataError):  # of images that cannot be read: training has named them
            seen = label_with({"teacher": teacher}, task, source, index, info.bands)
            found.append((float(seen.confidence.mean()), index, seen))
    rows = []
    for confidence, index, seen in sorted(found, key=lambda one: one[:2])[:WORST]:
        said = "" if seen.confidence.ndim else f" of {info.classes[int(seen.labels['teacher'])]}"
        title = f"{100 * confidence:.0f}% confident{said}: {Path(source.name(index)).name}"
        rows.append({"title": title, "present": seen.present, "seen": seen})
    return rows


def counted(items: Collection[Item], title: str) -> Iterator[Item]:
    """Yields items whose pictures are made, counted on a bar: a large encoder takes seconds for each."""
    with progress_bar(len(items), title, "image", late=True) as bar:
        for item in items:
            yield item
            bar.update()


@torch.no_grad()
def label_with(models: Mapping[str, Model], task: Task, source: Source, index: int, bands: Bands) -> Labelled:
    """Returns an image as it is shown, with the truth, where it is known, and what at least one model predicts."""
    image, truth = source.image(index), source.mask(index)
    labels: dict[str, NDArray[np.integer]] = {} if truth is None else {"truth": truth}
    confidence: NDArray[np.floating] = np.zeros(() if truth is None else truth.shape, np.float32)
    for name, model in models.items():
        device = next(model.parameters()).device
        scores = task.predict(model, normalize(to_tensor(image)[None].to(device), bands))
        labels[name] = scores.argmax(1)[0].cpu().numpy()
        confidence = probabilities(scores).amax(1)[0].cpu().numpy()
    return Labelled(bands.picture(image), labels, confidence)


def probabilities(scores: Tensor) -> Tensor:
    """Returns a task's scores (B, C, *S) as probabilities: they are logits, or, where they are means, probabilities.

    >>> probabilities(torch.tensor([[0.25, 0.75]])), probabilities(torch.tensor([[2.0, 2.0]]))
    (tensor([[0.2500, 0.7500]]), tensor([[0.5000, 0.5000]]))
    """
    scores = scores.float()
    are = bool((scores >= 0).all()) and torch.allclose(scores.sum(1), scores.new_ones(()), atol=1e-3)
    return scores if are else scores.softmax(1)
