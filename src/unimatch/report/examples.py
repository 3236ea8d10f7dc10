"""Writes the pictures of a report into the run directory's ``examples/``, and ``confusion.csv`` beside it.

``examples.json`` holds the classes with their colours and three lists: validation images and unlabelled images, each
with its photographs and the layers that can be shown over them, and rows of training views, each with its cells.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
from unimatch.safe_text import csv_text
from unimatch.tasks import Task
from unimatch.terminal import progress_bar
from unimatch.types import IGNORE_INDEX

Item = TypeVar("Item")

SMALLEST, LARGEST = 240, 640
"""The range of a picture's longer side in pixels: smaller pictures are enlarged, larger ones are shrunk."""
WORST = 6
"""How many of the worst validation images, and of the least certain unlabelled ones, are shown."""
SEARCHED_ON_CPU, SEARCHED_ON_GPU = 12, 24
"""Among how many unlabelled images the least certain ones are sought; the teacher predicts each of them."""
CLASSIFIED = 6
"""How many images that are classified wrong are shown, and how many that are classified right."""


class ViewCell(NamedTuple):
    """A picture in a row of training views."""

    caption: str
    picture: ImageArray
    """(H, W, 3) uint8."""
    box: Sequence[int] = ()
    """(top, left, bottom, right) of the CutMix box to outline; empty for none."""
    mask: NDArray[np.integer] | None = None
    """(H, W) class ids to show over the picture."""


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
    """Writes pictures and ``examples.json``.

    Args:
        folder: ``RUN/examples``.
        info: classes and colours.
        step: of the training.
        validation: what :func:`validation_rows` or :func:`classified_rows` returns.
        views: what :func:`unimatch.report.views.view_rows` returns.
        unlabeled: what :func:`uncertain_rows` returns.
    """
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
        for j, cell in enumerate(row["cells"]):
            stem = folder / f"view{i}_{j}"
            written = {"caption": cell.caption, "file": write_picture(stem, cell.picture, cell.box)}
            if cell.mask is not None:
                written["mask"] = write_layer(stem, "mask", class_layer(cell.mask, info.colors))
            row["cells"][j] = written
    content = {"step": step, "classes": info.classes, "palette": info.colors}
    content |= {"validation": validation, "unlabeled": unlabeled, "views": views}
    replace_text(folder / "examples.json", json.dumps(content, indent=1) + "\n")


def shown_size(size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """Returns the factor by which a picture of this width and height is enlarged or shrunk, and its size then.

    >>> shown_size((60, 30)), shown_size((1280, 640)), shown_size((300, 100))
    ((4, (240, 120)), (0.5, (640, 320)), (1.0, (300, 100)))
    """
    side = max(size)
    factor = math.ceil(SMALLEST / side) if side < SMALLEST else min(1.0, LARGEST / side)
    return factor, (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))


def write_picture(stem: Path, picture: ImageArray, box: Sequence[int] = ()) -> str:
    """Writes a picture, enlarged or shrunk to a convenient size, and returns the file's name.

    Args:
        stem: the path without its suffix, which is ``.png`` if the picture is enlarged, else ``.jpg``.
        picture: (H, W, 3) uint8.
        box: (top, left, bottom, right) of a box to outline; nothing is drawn if it is empty or has no pixel.
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
    """An image with its truth and the predictions of models."""

    picture: ImageArray
    """The image as it is shown: (H, W, 3) uint8, or (2, H, W, 3) for a pair."""
    labels: dict[str, NDArray[np.integer]]
    """Class ids (*S) by name: ``truth``, if it is known, and the models' predictions."""
    confidence: NDArray[np.floating]
    """(*S), 0-1: the probability of the last model's prediction."""

    def layers(self, colors: Sequence[tuple[int, int, int]]) -> dict[str, Image.Image]:
        """Returns the layers that can be shown over the picture, by name; none in classification."""
        if self.confidence.ndim == 0:
            return {}
        drawn = {name: class_layer(mask, colors) for name, mask in self.labels.items()}
        if "truth" in self.labels and "teacher" in self.labels:
            drawn["errors"] = error_layer(self.labels["truth"].astype(np.uint8), self.labels["teacher"], colors)
        return drawn | {"confidence": confidence_layer(self.confidence)}

    @property
    def present(self) -> list[int]:
        """The ids of the classes that any pixel is labelled with."""
        masks = self.labels.values() if self.confidence.ndim else ()
        return sorted({int(i) for mask in masks for i in np.unique(mask)} - {IGNORE_INDEX})


def validation_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns the worst images, the median and the best one, each with its truth and predictions.

    Args:
        models: in eval mode, by name, the teacher last.
        task: how the models predict.
        source: images or pairs with masks.
        info: classes and colours.
        scores: (N,) of each image, in percent; NaN for images that were not evaluated.
    """
    best_first = [i for i in scores.argsort(descending=True).tolist() if not scores[i].isnan()]
    worst_first = best_first[::-1]
    titles = {index: f"worst, place {place}" for place, index in enumerate(worst_first[:WORST], start=1)}
    titles |= {best_first[len(best_first) // 2]: "median", worst_first[0]: "worst", best_first[0]: "best"}
    rows = []
    for index, title in with_bar(titles.items(), "validation images"):
        seen = label_with(models, task, source, index, info.bands)
        title = f"{title}, {float(scores[index]):.1f}%: {Path(source.name(index)).name}"
        rows.append({"title": title, "present": seen.present, "seen": seen})
    return rows


def classified_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns some images that are classified wrong (score 0) and some that are classified right.

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
    """Returns the images of which the teacher is least certain, by mean confidence, in a sample of the source."""
    found = []
    on_cpu = next(teacher.parameters()).device.type == "cpu"
    sample = spread_evenly(len(source), SEARCHED_ON_CPU if on_cpu else SEARCHED_ON_GPU)
    for index in with_bar(sample, "least certain images"):
        with suppress(DataError):  # the image cannot be read, which training has reported
            seen = label_with({"teacher": teacher}, task, source, index, info.bands)
            found.append((float(seen.confidence.mean()), index, seen))
    rows = []
    for confidence, index, seen in sorted(found, key=lambda one: one[:2])[:WORST]:
        said = "" if seen.confidence.ndim else f" of {info.classes[int(seen.labels['teacher'])]}"
        title = f"{100 * confidence:.0f}% confident{said}: {Path(source.name(index)).name}"
        rows.append({"title": title, "present": seen.present, "seen": seen})
    return rows


def with_bar(items: Collection[Item], title: str) -> Iterator[Item]:
    """Yields items, counted on a progress bar: with a large encoder, each picture takes seconds."""
    with progress_bar(len(items), title, "image", late=True) as bar:
        for item in items:
            yield item
            bar.update()


@torch.no_grad()
def label_with(models: Mapping[str, Model], task: Task, source: Source, index: int, bands: Bands) -> Labelled:
    """Returns an image with its truth, if it is known, and the models' predictions.

    Args:
        models: at least one, in eval mode, by name; the confidence is that of the last.
        task: how the models predict.
        source: of the image.
        index: of the image in the source.
        bands: of the images, for their normalization.
    """
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
    """Returns a task's scores (B, C, *S) as probabilities. They may be already, as means are; else they are logits.

    >>> probabilities(torch.tensor([[0.25, 0.75]])), probabilities(torch.tensor([[2.0, 2.0]]))
    (tensor([[0.2500, 0.7500]]), tensor([[0.5000, 0.5000]]))
    """
    scores = scores.float()
    sum_to_one = torch.allclose(scores.sum(1), scores.new_ones(()), atol=1e-3)
    return scores if sum_to_one and bool((scores >= 0).all()) else scores.softmax(1)
