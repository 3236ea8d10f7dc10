"""Compares trained models image by image: where is one lost that another one sees?

    python benchmarks/by_image.py NUCLEI A.ckpt B.ckpt [C.ckpt ...] --of nucleus

``NUCLEI`` is a folder with ``val/images val/masks classes.txt``. For each validation image, the IoU of one class is
measured for every model. The images in which B is more than 20 points below A are called lost. The table has the means
over the lost images and over the others; below it stand the ranks of the lost images, if all are sorted by the share of
their pixels in which A and B differ, which needs no masks.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import unimatch
from unimatch import Predictor
from unimatch.types import IGNORE_INDEX

LOST = 20.0
GAINED = 2.0


def iou(mask: NDArray[np.uint8], truth: NDArray[np.uint8], number: int) -> float:
    """Returns the IoU of a class in one image, in percent; 100 if neither shows it."""
    counted = truth != IGNORE_INDEX
    predicted, true = (mask == number) & counted, (truth == number) & counted
    either = int((predicted | true).sum())
    return 100.0 * int((predicted & true).sum()) / either if either else 100.0


def main() -> None:
    """Predict all validation images with all models, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--of", default="nucleus", help="the class")
    options = parser.parse_args()
    data = unimatch.data.folder(options.data)
    number = data.info.classes.index(options.of)
    models = [Predictor(path) for path in options.checkpoints]
    scores = np.zeros((len(data.val), len(models)))
    differing, true = np.zeros(len(data.val)), np.zeros(len(data.val))
    for i in range(len(data.val)):
        image, truth = data.val.image(i), data.val.mask(i)
        assert truth is not None
        masks = [model(image).mask for model in models]
        scores[i] = [iou(mask, truth, number) for mask in masks]
        differing[i] = np.mean(masks[0] != masks[1])
        true[i] = 100 * np.mean(truth == number)
    change = scores[:, 1] - scores[:, 0]
    lost = change < -LOST
    print(f"{len(lost)} images: lost {lost.sum()}, better by {GAINED:g} points {(change > GAINED).sum()}\n")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(models)]
    print(f"| images | {options.of}, % of the pixels, median |", " | ".join(letters), "|")
    print("| --- | --- |", "--- | " * len(models))
    for name, rows in (("lost", lost), ("others", ~lost)):
        if rows.any():
            means = " | ".join(f"{value:.1f}" for value in scores[rows].mean(0))
            print(f"| {name}: {rows.sum()} | {np.median(true[rows]):.1f} | {means} |")
    for k in range(2, len(models)):
        now = scores[:, k] - scores[:, 0]
        print(f"\n{letters[k]}, compared with A: lost {(now < -LOST).sum()}, better {(now > GAINED).sum()}")
    rank = {int(i): place for place, i in enumerate(np.argsort(-differing), start=1)}
    worst = [int(i) for i in np.argsort(change) if lost[i]]
    print("\nranks of the lost by differing pixels, the worst first:", ", ".join(str(rank[i]) for i in worst))


if __name__ == "__main__":
    main()
