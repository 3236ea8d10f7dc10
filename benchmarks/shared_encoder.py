"""Prediction of an image by a student and a teacher that share a frozen encoder: encoded once or twice, by turns.

    OMP_NUM_THREADS=1 python benchmarks/shared_encoder.py --encoder vits --size 360 480 --pairs 5

Weights are random. Times are processor times, which other processes disturb little.
"""

import argparse
import json
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from machine import machine

from unimatch import Segmentation, SegmentationModel
from unimatch.methods.teacher import Teacher
from unimatch.tasks.shared_encoder import encoded_once


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vits")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    student = SegmentationModel(options.encoder, num_classes=options.classes, weights=None, freeze=True).eval()
    models = [student, Teacher(student).model]
    images, task = torch.randn(1, 3, *options.size), Segmentation()

    def seconds(context: AbstractContextManager[None]) -> float:
        begun = time.process_time()
        with torch.inference_mode(), context:
            for model in models:
                task.predict(model, images)
        return time.process_time() - begun

    seconds(nullcontext())
    times = [(seconds(encoded_once(models)), seconds(nullcontext())) for _ in range(options.pairs)]
    ratios = [once / each for once, each in times]
    ratio = statistics.median(ratios)
    print(f"{options.encoder}, {options.size[1]} x {options.size[0]} pixels, {torch.get_num_threads()} threads")
    print("once: {:.2f} s, for each: {:.2f} s (medians)".format(*map(statistics.median, zip(*times, strict=True))))
    print(f"ratio {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}, {options.pairs} pairs)")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "ratio": ratio, "seconds": times}, indent=2) + "\n")


if __name__ == "__main__":
    main()
