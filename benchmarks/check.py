"""How fast ``unimatch.check`` reads a data set, beside a bare decoding of the same files by as many processes.

    python benchmarks/check.py --images 10000 --repeats 5

Images and masks are made in a temporary folder, which is removed afterwards. The two are timed in turn, so that what
else the machine does falls on both; each figure is the median.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from unimatch import SegmentationData, folder
from unimatch.data.check import check
from unimatch.data.parallel import available_cores, for_each


def main() -> None:
    """Make the images, time both, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="labelled images; a tenth as many for validation")
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        size = (options.height, options.width)
        make(Path(root), options.images, size, options.workers)
        data = folder(root)
        files = [file for part in (data.labeled, data.val) for pair in part.pairs.names() for file in pair]
        size_on_disk = sum(Path(file).stat().st_size for file in files)
        print(
            f"{len(files)} files of {options.width} x {options.height}, {size_on_disk / 1e9:.2f} GB, "
            f"{options.workers} processes, {os.cpu_count()} cores"
        )
        decode(files, options.workers)  # the files are in the page cache for both
        bare, checked = [], []
        for repeat in range(options.repeats):
            bare.append(seconds(lambda: decode(files, options.workers)))
            checked.append(seconds(lambda: examine(data, options.workers)))
            print(
                f"{repeat}: decoding {bare[-1]:.1f} s, check {checked[-1]:.1f} s, ratio {bare[-1] / checked[-1]:.3f}",
                flush=True,
            )
        ratios = [a / b for a, b in zip(bare, checked, strict=True)]
        print(
            f"median: decoding {statistics.median(bare):.1f} s, check {statistics.median(checked):.1f} s; "
            f"check at {100 * statistics.median(ratios):.0f}% of the speed of decoding "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


def make(root: Path, count: int, size: tuple[int, int], workers: int) -> None:
    """A folder data set of photo-like JPEG images and masks of blobs."""
    (root / "classes.txt").write_text("\n".join(f"class {i}" for i in range(21)))
    for part, number in (("", count), ("val", count // 10)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        jobs = [(str(root / part), i, size) for i in range(number)]
        for _ in for_each(make_one, part, jobs, workers=workers, title=f"making {part or 'training'} images"):
            pass


def make_one(part: str, job: tuple[str, int, tuple[int, int]]) -> None:
    """One image: smooth colours with fine noise; its mask: smooth regions of 21 classes."""
    root, index, (height, width) = job
    rng = np.random.default_rng((bool(part), index))
    coarse = cv2.resize(rng.uniform(0, 255, (12, 16, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.clip(coarse + rng.integers(-12, 13, (height, width, 3), np.int8), 0, 255).astype(np.uint8)
    Image.fromarray(image).save(Path(root, "images", f"{index}.jpg"), quality=90)
    regions = cv2.resize(rng.uniform(0, 21, (6, 8)), (width, height), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(regions.astype(np.uint8)).save(Path(root, "masks", f"{index}.png"))


def decode(files: list[str], workers: int) -> None:
    """Decode every file and do nothing with it."""
    for _ in for_each(decode_one, None, files, workers=workers):
        pass


def decode_one(nothing: None, file: str) -> tuple[int, ...]:
    """The size of the decoded array."""
    with Image.open(file) as image:
        return np.asarray(image).shape


def examine(data: SegmentationData, workers: int) -> None:
    """The whole check, with its progress bars off."""
    report = check(data, workers=workers, progress=False)
    assert not report.findings, report.findings


def seconds(work: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
