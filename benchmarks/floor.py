"""Scores labels by nearest neighbours among a frozen encoder's patches, without any training: a floor for trainings.

    python benchmarks/floor.py DATA WEIGHTS

``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14. Each patch of a validation image, at the
image's own size, gets the shares of the classes among the 20 labelled patches that are most like it. The shares are
upsampled to the image, and the largest is the label of a pixel. The score is the mIoU over pixels, with the same
labelled images as in the trainings of docs/few_labels.md.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from select_neighbours import NEIGHBOURS
from torch import Tensor, nn

import unimatch
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.images.tensors import normalize
from unimatch.models import build_encoder
from unimatch.tasks.scores import mean_iou

FEW = {"camvid": (12, 24), "nuclei": (8, 16)}
"""The numbers of labelled images, by data set."""


def load(name: str, root: Path, labeled: int, seed: int) -> SegmentationData:
    """Return a data set with the labelled images that a training with this seed has."""
    make = unimatch.data.camvid if name == "camvid" else unimatch.data.folder
    return make(root / name, labeled=labeled, split_seed=seed)


@torch.inference_mode()
def patches_of(image: NDArray, encoder: nn.Module) -> Tensor:
    """Return the last features of an image's patches (h, w, E), of unit length."""
    side = encoder.size_multiple
    height, width = (max(1, round(length / side)) * side for length in image.shape[:2])
    small = torch.from_numpy(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    level = encoder(normalize(small.permute(2, 0, 1)[None]))[-1][0]  # (E, h, w)
    return nn.functional.normalize(level.permute(1, 2, 0), dim=-1)


def labels_of(mask: NDArray, rows: int, columns: int, classes: int) -> NDArray:
    """Return the most frequent class of each patch (rows, columns), 255 for none."""
    inner = cv2.resize(mask, (16 * columns, 16 * rows), interpolation=cv2.INTER_NEAREST)
    cells = inner.reshape(rows, 16, columns, 16).swapaxes(1, 2).reshape(rows, columns, -1)
    kinds = np.array([*range(classes), 255])
    return kinds[np.stack([(cells == kind).sum(axis=-1) for kind in kinds], axis=-1).argmax(axis=-1)]


def score(val: Source, found: list[Tensor], labeled: Source, encoder: nn.Module, classes: int) -> float:
    """Return the mIoU over the pixels of the validation images in percent; ``found`` holds their patches."""
    bank, ids = list[Tensor](), list[NDArray]()
    for index in range(len(labeled)):
        patches = patches_of(labeled.image(index), encoder)
        label = labels_of(labeled.mask(index), *patches.shape[:2], classes)
        bank.append(patches[torch.from_numpy(label != 255)])
        ids.append(label[label != 255])
    features, names = torch.cat(bank), np.concatenate(ids)
    confusion = np.zeros((classes, classes), int)
    for index, patches in enumerate(found):
        truth = val.mask(index)
        nearest = names[(patches @ features.T).topk(NEIGHBOURS, dim=-1).indices.numpy()]  # (h, w, 20)
        shares = np.stack([(nearest == c).mean(axis=-1, dtype=np.float32) for c in range(classes)], axis=-1)
        predicted = cv2.resize(shares, truth.shape[::-1], interpolation=cv2.INTER_LINEAR).argmax(axis=-1)
        np.add.at(confusion, (truth[truth != 255], predicted[truth != 255]), 1)
    return float(mean_iou(torch.from_numpy(confusion)))


def main() -> None:
    """Print a line for each data set and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = build_encoder("vits", str(options.weights)).eval()
    figures = []
    for name, numbers in FEW.items():
        whole = load(name, options.root, numbers[0], options.seeds[0])
        classes = whole.info.num_classes
        found = [patches_of(whole.val.image(index), encoder) for index in range(len(whole.val))]
        for labeled in numbers:
            sets = [load(name, options.root, labeled, seed).labeled for seed in options.seeds]
            scores = [score(whole.val, found, images, encoder, classes) for images in sets]
            figures.append({"data": name, "labeled": labeled, "seeds": options.seeds, "miou": scores})
            spread = f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
            each = ", ".join(f"{value:.1f}" for value in scores)
            print(f"{name:7} {labeled:3} labelled: {each}   mean {np.mean(scores):.1f}{spread}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
