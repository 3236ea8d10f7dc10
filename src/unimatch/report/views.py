"""Makes the training views of a report: some unlabelled images of an epoch's first batch, as the method sees them."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.loading.samplers import TrainSampler
from unimatch.images.arrays import dates_by_name, latest
from unimatch.images.tensors import to_pixels
from unimatch.methods.semi_supervised import SemiSupervised, strong_images
from unimatch.report.examples import ViewCell
from unimatch.types import IGNORE_INDEX, UnlabeledBatch

VIEWS = 2
"""How many unlabelled images are shown."""


@torch.no_grad()
def view_rows(method: SemiSupervised, datamodule: SemiSupervisedDataModule, epoch: int) -> list[dict[str, Any]]:
    """Returns rows of :class:`unimatch.report.examples.ViewCell`, one for each image: weak view, labels, strong views.

    The views of a seed, an epoch and an image are always the same; the pseudo labels are those of the teacher now.
    """
    unlabeled = first_batch(method, datamodule, "unlabeled", epoch)
    batch: Any = {"unlabeled": unlabeled}
    if method.uses_partner:
        batch["partner"] = first_batch(method, datamodule, "partner", epoch)
    label, confidence = method.pseudo_labels(unlabeled["weak"])
    strong = method.cutmixed(batch, label, confidence, method.partner_labels(batch))
    boxes = [box for _, box in strong_images(unlabeled, method.strong_views)]
    info, source = datamodule.data.info, datamodule.data.unlabeled
    used = (confidence >= method.threshold(label)) & unlabeled["valid"]

    def count_boxes(i: int) -> int:
        return sum(int(box[i].any()) for box in boxes if box is not None)

    rows = []
    for i in sorted(range(len(label)), key=count_boxes, reverse=True)[:VIEWS]:  # these show what CutMix does
        weak = info.bands.picture(to_pixels(unlabeled["weak"][i], info.bands))
        if label[i].dim() == 0:
            text = f"{info.classes[int(label[i])]}, {100 * float(confidence[i]):.0f}% confident"
            cells = [ViewCell(f"weak view; pseudo label {text}{'' if used[i] else ', not used'}", weak)]
        else:
            share = 100 * float(used[i].float().mean())
            mask = torch.where(used[i], label[i], IGNORE_INDEX).cpu().numpy()
            cells = [ViewCell(caption_of("weak view", name), date) for name, date in dates_by_name(weak)]
            cells.append(ViewCell(f"pseudo labels, {share:.0f}% confident", latest(weak), mask=mask))
        for j, (view, box) in enumerate(zip(strong, boxes, strict=True), 1):
            edges = () if box is None else box[i].tolist()
            for name, date in dates_by_name(info.bands.picture(to_pixels(view.image[i], info.bands))):
                cells.append(ViewCell(caption_of(f"strong view {j}", name), date, edges))
        rows.append({"title": Path(source.name(int(unlabeled["index"][i]))).name, "cells": cells})
    return rows


def caption_of(view: str, date: str) -> str:
    """Returns the caption of a view, with the name of the date if there are two dates."""
    return view if date == "image" else f"{view}, {date}"


def first_batch(
    method: SemiSupervised, datamodule: SemiSupervisedDataModule, stream: Any, epoch: int
) -> UnlabeledBatch:
    """Returns the first batch that a stream has in an epoch, on the method's device."""
    dataset = datamodule.unlabeled_dataset(stream)
    size = min(datamodule.batch_size, len(dataset.source))
    keys = iter(TrainSampler(len(dataset.source), size, seed=datamodule.seed, stream=stream, start=(epoch, 0)))
    batch = default_collate([dataset[next(keys)] for _ in range(size)])
    batch = {name: tensor.to(method.device) for name, tensor in batch.items() if name != "bad"}
    return datamodule.on_after_batch_transfer({stream: batch}, 0)[stream]
