"""Memory that ``unimatch.predict`` needs for an image of any size, and how windows change the prediction.

A picture of the given size is composed of photos and predicted by the command in a process of its own, whose peak
resident memory the kernel reports. Then a smaller picture is predicted as a whole and in windows.

    OMP_NUM_THREADS=2 python benchmarks/large.py best.ckpt photos --json large.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image

from unimatch import Inference, Predictor
from unimatch.images.arrays import ImageArray
from unimatch.inference.inputs import find_photos

CUT = 13
"""Pixels cut off above and left for comparison: how far a model agrees with itself."""


def mosaic(source: str, width: int, height: int) -> ImageArray:
    """Photos beside and below each other; the last of each row and column are cut."""
    photos = cycle([photo.load() for photo in list(find_photos(source)[1])[:50]])
    picture = np.empty((height, width, 3), np.uint8)
    top = 0
    while top < height:
        left, tallest = 0, height
        while left < width:
            photo = next(photos)[: height - top, : width - left]
            picture[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
            left, tallest = left + photo.shape[1], min(tallest, photo.shape[0])
        top += tallest
    return picture


def memory(checkpoint: Path, picture: Path, output: Path, options: list[str]) -> dict[str, float]:
    """Run the command; its peak of memory and its time."""
    command = [sys.executable, "-m", "unimatch.predict", f"checkpoint={checkpoint}", f"input={picture}"]
    started = time.perf_counter()
    process = subprocess.Popen([*command, f"output={output}", "save=[overlay,confidence]", *options])
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"predict failed with status {os.waitstatus_to_exitcode(status)}")
    return {
        "peak_mib": used.ru_maxrss / 1024,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


def seams(checkpoint: Path, image: ImageArray, window: int) -> dict[str, float]:
    """How far what the windows say is from what the model says of the whole image."""
    predict = Predictor(checkpoint, device="cpu", inference=Inference())
    whole, cut = predict(image, scores=True), predict(np.ascontiguousarray(image[CUT:, CUT:]))
    rule = Inference("sliding", window=window)
    sliding = Predictor(checkpoint, device="cpu", inference=rule)(image, scores=True)
    apart = np.abs(whole.scores - sliding.scores).max(0)
    logits = np.abs(np.log(whole.scores.clip(1e-12)) - np.log(sliding.scores.clip(1e-12)))
    return {
        "largest_probability": float(apart.max()),
        "mean_probability": float(apart.mean()),
        "largest_log_probability": float(logits.max()),
        "mean_log_probability": float(logits.mean()),
        "other_class": float(np.mean(whole.mask != sliding.mask)),
        "other_class_if_cut": float(np.mean(whole.mask[CUT:, CUT:] != cut.mask)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("photos", help="a folder or pattern, as for unimatch.predict")
    parser.add_argument("--size", type=int, nargs=2, default=(12_000, 9_000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--seams", type=int, nargs=2, default=(1_920, 1_440), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--window", type=int, default=798)
    parser.add_argument("--suffix", default="jpg", help="of the picture: jpg, png or tif")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / f"picture.{options.suffix}"
        Image.fromarray(mosaic(options.photos, *options.size)).save(picture)
        rule = ["device=cpu", f"inference.window={options.window}"]
        result = memory(options.checkpoint, picture, Path(folder) / "out", rule)
    result |= seams(options.checkpoint, mosaic(options.photos, *options.seams), options.window)
    size, small = (f"{width:,} x {height:,}" for width, height in (options.size, options.seams))
    print(f"{size} pixels ({options.suffix}), mask, overlay and confidence, windows of {options.window} pixels")
    print(f"peak of resident memory    {result['peak_mib']:8.0f} MiB")
    print(f"time                       {result['seconds']:8.0f} s, {result['cpu_seconds']:.0f} s of CPU time")
    print(f"windows against one pass over {small} pixels:")
    print(f"pixels of another class    {100 * result['other_class']:8.3f}%")
    print(f"where {CUT} pixels are cut off {100 * result['other_class_if_cut']:8.3f}% (one pass in both cases)")
    for name in ("probability", "log_probability"):
        largest, mean = result[f"largest_{name}"], result[f"mean_{name}"]
        print(f"{name.replace('_', ' '):<26} {largest:8.4f} apart at most, {mean:.5f} on average")
    if options.json:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        options.json.write_text(json.dumps({**result, "settings": settings, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
