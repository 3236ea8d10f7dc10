"""Scores choices of labelled images without any training, by nearest neighbours among a frozen encoder's patches.

    nice -n 19 python benchmarks/select_neighbours.py DATA WEIGHTS --data camvid --n 6 12
    nice -n 19 python benchmarks/select_neighbours.py DATA WEIGHTS --data nuclei --n 8

``DATA`` holds ``camvid/`` and ``nuclei/``, ``WEIGHTS`` is a DINOv2 ViT-S/14. Each patch of the validation and test
images gets the most frequent class of the 20 labelled patches that are most like it. The score is the mIoU over
patches; the true class of a patch is that of most of its pixels. ``unimatch.select`` is compared with random draws.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import unimatch
from unimatch.data.sources.base import SegmentationData, Source
from unimatch.models import build_encoder
from unimatch.selection import EncoderDescriber
from unimatch.selection.features import MEAN, STD, resized
from unimatch.tasks.scores import mean_iou

NEIGHBOURS = 20
STEPS = {"camvid": {"val": 3, "test": 6}, "nuclei": {"val": 1, "test": 1}}
"""Every how many images of a part are scored."""


def load(name: str, root: Path) -> SegmentationData:
    """Return a data set with all its training images labelled."""
    return unimatch.data.camvid(root / name) if name == "camvid" else unimatch.data.folder(root / name)


@torch.inference_mode()
def described(source: Source, indices: range, encoder: nn.Module, classes: int) -> list[tuple[Tensor, NDArray]]:
    """Return of each image its patches (P, E) of unit length, and their classes (P,), 255 for none."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    found = []
    for index in indices:
        small = resized(source.image(index), encoder.size_multiple)
        level = encoder(((torch.from_numpy(small).permute(2, 0, 1)[None] / 255) - mean) / std)[-1][0]  # (E, h, w)
        height, width = level.shape[-2:]
        mask = cv2.resize(source.mask(index), small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cells = mask.reshape(height, small.shape[0] // height, width, -1).swapaxes(1, 2).reshape(height * width, -1)
        votes = np.stack([(cells == c).sum(axis=1) for c in (*range(classes), 255)], axis=1)
        ids = np.array([*range(classes), 255])[votes.argmax(axis=1)]
        found.append((nn.functional.normalize(level.flatten(1).T, dim=1), ids))
    return found


def score(bank: list[tuple[Tensor, NDArray]], images: list[tuple[Tensor, NDArray]], classes: int) -> float:
    """Return the mIoU over the patches of ``images`` that the patches in ``bank`` give, in percent."""
    features, ids = torch.cat([f for f, _ in bank]), np.concatenate([c for _, c in bank])
    features, ids = features[torch.from_numpy(ids != 255)], ids[ids != 255]
    confusion = np.zeros((classes, classes), int)
    for patches, truth in images:
        nearest = ids[(patches @ features.T).topk(NEIGHBOURS, dim=1).indices.numpy()]  # (P, 20)
        predicted = np.stack([(nearest == c).sum(axis=1) for c in range(classes)], axis=1).argmax(axis=1)
        known = truth != 255
        np.add.at(confusion, (truth[known], predicted[known]), 1)
    return float(mean_iou(torch.from_numpy(confusion)))


def main() -> None:
    """Print a table: the choice, the draws' mean and spread, and how many draws the choice beats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", choices=list(STEPS), default="camvid")
    parser.add_argument("--n", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--features", type=Path, help="folder that keeps the photos' features")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(options.data, options.root)
    classes = data.info.num_classes
    encoder = build_encoder("vits", str(options.weights)).eval()
    train = described(data.labeled, range(len(data.labeled)), encoder, classes)
    parts = {
        part: described(source, range(0, len(source), step), encoder, classes)
        for part, step in STEPS[options.data].items()
        if (source := getattr(data, part)) is not None
    }
    files = [Path(data.labeled.name(i)) for i in range(len(data.labeled))]
    figures = []
    for n in options.n:
        found = unimatch.select(files, n, describer=EncoderDescriber(encoder, "vits"), features=options.features)
        draws = [np.random.default_rng(seed).permutation(len(files))[:n].tolist() for seed in range(options.draws)]
        chosen = [files.index(path) for path in found.chosen]
        for part, images in parts.items():
            ours, *others = (score([train[i] for i in choice], images, classes) for choice in (chosen, *draws))
            beaten = sum(other < ours for other in others)
            mean, spread = np.mean(others), np.std(others, ddof=1)
            figures.append({"data": options.data, "n": n, "part": part, "select": ours, "draws": others})
            print(
                f"{options.data:7} n={n:<3} {part:5} select {ours:5.1f}   random {mean:5.1f} ± {spread:.1f}   "
                f"above {beaten} of {len(others)}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
