"""Makes the training views of a report: what an epoch's first batch showed of some unlabelled images."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from unimatch.data.loading.datamodule import SemiSupervisedDataModule
from unimatch.data.loading.samplers import TrainSampler
from unimatch.images.arrays import dates_by_name, latest
from unimatch.images.tensors import to_pixels
from unimatch.methods.semi_supervised import SemiSupervised, strong_images
from unimatch.types import IGNORE_INDEX, UnlabeledBatch

VIEWS = 2
"""How many unlabelled images are shown."""


@torch.no_grad()
def view_rows(method: SemiSupervised, datamodule: SemiSupervisedDataModule, epoch: int) -> list[dict[str, Any]]:
    """Returns rows with the views of unlabelled images, as the method sees them in an epoch's first batch.

    A cell is a caption, a picture and, where there are some, the box to outline and the mask to lay over it.

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
            cells.append((f"pseudo labels, {share:.0f}% confident", latest(weak), (), shown))
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
