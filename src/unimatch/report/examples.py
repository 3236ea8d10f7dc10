"""Writes the pictures of a report into the run directory's ``examples/``, and ``confusion.csv`` beside it.

``examples.json`` names the classes' colours, the validation images by their score and the training views; each is a
title and cells with a caption and a file in the same folder.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.Image import Resampling
from torch import Tensor
from torch.utils.data import default_collate

from unimatch.bands import Bands
from unimatch.data.catalog import DatasetInfo
from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.loading.samplers import TrainSampler
from unimatch.data.sources.base import Source
from unimatch.disk import replace_file, replace_text
from unimatch.images import ImageArray, dates_by_name
from unimatch.methods.semi_supervised import SemiSupervised, strong_images
from unimatch.models.networks import Model
from unimatch.pictures import overlay
from unimatch.tasks import Task
from unimatch.tensors import normalize, to_pixels, to_tensor
from unimatch.texts import csv_text
from unimatch.types import IGNORE_INDEX, UnlabeledBatch

SMALLEST, LARGEST = 240, 480
"""The longer side of a picture: smaller pictures are enlarged, larger ones are shrunk, to about this many pixels."""
VIEWS = 2
"""How many unlabelled images are shown."""
OPACITY = 0.55
"""Of the classes' colours over an image."""
CLASSIFIED = 6
"""How many images are shown that are classified wrong, and as many that are right."""


def write_confusion(path: Path, confusion: Tensor, classes: Sequence[str]) -> None:
    """Writes a confusion matrix (C, C) int64 as CSV: a row for each true class, a column for each predicted one."""
    rows = [[name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)]
    replace_text(path, csv_text([["truth", *classes], *rows]))


def write_examples(
    folder: Path, info: DatasetInfo, step: int, validation: list[dict[str, Any]], views: list[dict[str, Any]]
) -> None:
    """Writes the pictures of the rows that the functions below return, and ``examples.json``, into ``RUN/examples``."""
    for kind, rows in (("validation", validation), ("view", views)):
        for i, row in enumerate(rows):
            row["cells"] = [
                {"caption": caption, "file": write_picture(folder / f"{kind}{i}_{j}", *drawn)}
                for j, (caption, *drawn) in enumerate(row["cells"])
            ]
    shown = {"validation": validation, "views": views}
    content = {"step": step, "classes": info.classes, "palette": info.palette, **shown}
    replace_text(folder / "examples.json", json.dumps(content, indent=1) + "\n")


def write_picture(stem: Path, picture: ImageArray, box: Sequence[int] = ()) -> str:
    """Writes one picture, enlarged or shrunk to a size to look at, and returns the file's name.

    Args:
        stem: its path without the suffix: of a PNG where it is enlarged, else of a JPEG.
        picture: (H, W, 3) uint8.
        box: (top, left, bottom, right) of a box to outline; none where it is empty.
    """
    image = Image.fromarray(picture)
    side = max(image.size)
    factor = math.ceil(SMALLEST / side) if side < SMALLEST else min(1.0, LARGEST / side)
    kind, suffix, method = ("PNG", ".png", Resampling.NEAREST) if factor > 1 else ("JPEG", ".jpg", Resampling.LANCZOS)
    image = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), method)
    if any(box):
        top, left, bottom, right = (round(edge * factor) for edge in box)
        draw = ImageDraw.Draw(image)
        draw.rectangle((left, top, right - 1, bottom - 1), outline="black", width=4)
        draw.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="white", width=2)
    path = stem.with_name(stem.name + suffix)
    replace_file(path, lambda file: image.save(file, kind, quality=85))
    return path.name


def validation_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns a row each for the best, the median and the worst image: the image, and truth and predictions over it.

    Args:
        models: in eval mode, by name.
        task: how they predict.
        source: images with masks, or pairs.
        info: classes and colours.
        scores: (N,) of each image, in percent.
    """
    order = scores.argsort(descending=True).tolist()
    titles = {
        order[-1]: "worst",
        order[len(order) // 2]: "median",
        order[0]: "best",
    }  # of fewer than three images the last title stays
    rows = []
    for index, title in reversed(titles.items()):
        image, masks = label_with(models, task, source, index, info.bands)
        present = sorted({int(i) for mask in masks.values() for i in np.unique(mask)} - {IGNORE_INDEX})
        shown = [(name, overlay(image, mask, info.palette, OPACITY)) for name, mask in masks.items()]
        title = f"{title}, {float(scores[index]):.1f}%: {Path(source.name(index)).name}"
        rows.append({"title": title, "present": present, "cells": dates_by_name(image) + shown})
    return rows


def classified_rows(
    models: Mapping[str, Model], task: Task, source: Source, info: DatasetInfo, scores: Tensor
) -> list[dict[str, Any]]:
    """Returns a row of images that are classified wrong (score 0) and one of images that are right, with their classes.

    The arguments are those of :func:`validation_rows`.
    """
    rows = []
    for title, found in (("wrong", scores == 0), ("right", scores > 0)):
        indices = found.nonzero().flatten().tolist()
        cells = []
        for index in indices[:: max(1, math.ceil(len(indices) / CLASSIFIED))]:  # spread evenly
            image, labels = label_with(models, task, source, index, info.bands)
            named = ", ".join(f"{name} {info.classes[int(value)]}" for name, value in labels.items())
            cells.append((f"{Path(source.name(index)).name}: {named}", image))
        if cells:
            rows.append({"title": f"{title}: {len(indices)} of {len(scores)}", "cells": cells})
    return rows


@torch.no_grad()
def label_with(
    models: Mapping[str, Model], task: Task, source: Source, index: int, bands: Bands
) -> tuple[ImageArray, dict[str, NDArray[np.integer]]]:
    """Returns an image as it is shown, and by name its labels (*S): the truth, where known, and models' predictions."""
    image, truth = source.image(index), source.mask(index)
    labels: dict[str, NDArray[np.integer]] = {} if truth is None else {"truth": truth}
    for name, model in models.items():
        device = next(model.parameters()).device
        scores = task.predict(model, normalize(to_tensor(image)[None].to(device), bands))
        labels[name] = scores.argmax(1)[0].cpu().numpy()
    return bands.picture(image), labels


@torch.no_grad()
def view_rows(method: SemiSupervised, datamodule: SemiSupervisedDataModule, epoch: int) -> list[dict[str, Any]]:
    """Returns rows with the views of unlabelled images, as the method sees them in an epoch's first batch.

    The views of a seed, an epoch and an image are always the same; the method's teacher labels the weak ones.
    """
    own = first_batch(method, datamodule, "unlabeled", epoch)
    batch: Any = {"unlabeled": own}
    if method.uses_partner:
        batch["partner"] = first_batch(method, datamodule, "partner", epoch)
    label, confidence = method.pseudo_labels(own["weak"])
    strong = method.cutmixed(batch, label, confidence, method.partner_labels(batch))
    boxes = [box for _, box in strong_images(own, method.strong_views)]
    info, source = datamodule.data.info, datamodule.data.unlabeled
    sure = (confidence >= method.threshold(label)) & own["valid"]
    # Those with the most boxes: they show what CutMix does.
    order = sorted(range(len(label)), key=lambda i: -sum(int(box[i].any()) for box in boxes if box is not None))
    rows = []
    for i in order[:VIEWS]:
        weak = info.bands.picture(to_pixels(own["weak"][i], info.bands))
        cells: list[Any] = [(named("weak view", name), date) for name, date in dates_by_name(weak)]
        if label[i].dim() == 0:
            said = f"{info.classes[int(label[i])]}, {100 * float(confidence[i]):.0f}% confident"
            cells = [(f"weak view; pseudo label {said}{'' if sure[i] else ', not used'}", weak)]
        else:
            share = 100 * float(sure[i].float().mean())
            shown = torch.where(sure[i], label[i], IGNORE_INDEX).cpu().numpy()
            cells.append((f"pseudo labels, {share:.0f}% confident", overlay(weak, shown, info.palette, OPACITY)))
        for j, (view, box) in enumerate(zip(strong, boxes, strict=True), 1):
            edges = [] if box is None else box[i].tolist()
            for name, date in dates_by_name(info.bands.picture(to_pixels(view.image[i], info.bands))):
                cells.append((named(f"strong view {j}", name), date, edges))
        rows.append({"title": Path(source.name(int(own["index"][i]))).name, "cells": cells})
    return rows


def named(view: str, date: str) -> str:
    """Returns the name of a view, with that of the date if there are two dates."""
    return view if date == "image" else f"{view}, {date}"


def first_batch(
    method: SemiSupervised, datamodule: SemiSupervisedDataModule, stream: Any, epoch: int
) -> UnlabeledBatch:
    """Returns the batch with which a stream begins an epoch, on the method's device."""
    dataset = datamodule.unlabeled_dataset(stream)
    size = min(datamodule.batch_size, len(dataset.source))
    keys = iter(TrainSampler(len(dataset.source), size, seed=datamodule.seed, stream=stream, start=(epoch, 0)))
    batch = default_collate([dataset[next(keys)] for _ in range(size)])
    batch = {name: tensor.to(method.device) for name, tensor in batch.items() if name != "bad"}
    return datamodule.on_after_batch_transfer({stream: batch}, 0)[stream]
