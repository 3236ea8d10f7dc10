"""Inputs for the benchmarks of a training step: a batch of noise, and a method with random weights."""

import argparse
from typing import Any

import numpy as np
import torch

from unimatch.augment.cutmix import draw_box
from unimatch.methods import FixMatch, Method, Supervised, UniMatchV1, UniMatchV2, semi_supervised
from unimatch.models import SegmentationModel

METHODS = {"supervised": Supervised, "fixmatch": FixMatch, "unimatch_v1": UniMatchV1, "unimatch_v2": UniMatchV2}


def make_batch(options: argparse.Namespace, device: torch.device, images: int) -> Any:
    """Coarse noise, masks with ignored pixels, and CutMix boxes."""
    source, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    crop = options.crop

    def pictures() -> torch.Tensor:
        small = torch.randn(images, 3, crop // 7 + 1, crop // 7 + 1, generator=source)
        return small.repeat_interleave(7, 2).repeat_interleave(7, 3)[..., :crop, :crop].contiguous()

    mask = torch.randint(0, options.classes, (images, crop, crop), generator=source)
    mask[:, :9] = 255
    valid = torch.ones(images, crop, crop, dtype=torch.bool)
    valid[0, :, -20:] = False
    boxes = [torch.tensor([draw_box(rng, crop, probability=1.0) for _ in range(images)]) for _ in range(2)]
    unlabeled = {"weak": pictures(), "strong1": pictures(), "strong2": pictures(), "valid": valid}
    unlabeled |= {"box1": boxes[0], "box2": boxes[1], "truth": mask, "index": torch.arange(images)}
    batch = {"labeled": {"image": pictures(), "label": mask, "index": torch.arange(images)}, "unlabeled": unlabeled}
    return {name: {key: value.to(device) for key, value in part.items()} for name, part in batch.items()}


def make_method(options: argparse.Namespace, device: torch.device, batch: Any) -> Method:
    """With random weights and a threshold between two confidences."""
    torch.manual_seed(0)
    model = SegmentationModel(
        options.encoder, options.classes, weights=None, gradient_checkpointing=options.checkpointing
    )
    kind = METHODS[options.method]
    extra: dict[str, Any] = {"cutmix_partner": "reversed"} if kind is UniMatchV1 else {}
    method = kind(model, **extra).to(device)
    method.parts_at_once = options.parts
    if isinstance(method, semi_supervised.SemiSupervised):
        confidence = method.pseudo_labels(batch["unlabeled"]["weak"][:1])[1].flatten().sort().values
        middle = confidence[len(confidence) * 2 // 5 : len(confidence) * 3 // 5]
        widest = middle.diff().argmax()
        method.tau = float((middle[widest] + middle[widest + 1]) / 2)
    return method
