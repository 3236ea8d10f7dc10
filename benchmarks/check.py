"""Speed of ``unimatch.check``, compared with only decoding the same files in as many processes.

    python benchmarks/check.py --images 10000 --repeats 3

Images and masks are made in a temporary folder, which is removed afterwards. They are read in parts. Each part is
decoded and checked in turn, so that other programs on the machine slow both alike. The speed is measured by the clock;
the processor time, which other programs disturb less, is printed too.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from unimatch import SegmentationData
from unimatch.data import folder
from unimatch.data.check import full_check
from unimatch.data.parallel import available_cores, for_each
from unimatch.data.sources.base import FileSource


def main() -> None:
    """Make the images, time both, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="labelled images; a tenth as many for validation")
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--parts", type=int, default=10, help="number of parts, each decoded and checked in turn")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        make(Path(root), options.images, (options.height, options.width), options.workers)
        parts = split(folder(root), options.parts)
        files = [file for part in parts for file in files_of(part)]
        gigabytes = sum(Path(file).stat().st_size for file in files) / 1e9
        print(
            f"{len(files)} files of {options.width} x {options.height}, {gigabytes:.2f} GB, "
            f"{options.workers} processes, {os.cpu_count()} cores"
        )
        decode(files, options.workers)  # the files are in the page cache for both
        ratios, processor = [], []
        for repeat in range(options.repeats):
            bare, checked = np.zeros(2), np.zeros(2)
            for part in parts:
                bare += seconds(lambda part=part: decode(files_of(part), options.workers))
                checked += seconds(lambda part=part: examine(part, options.workers))
            ratios.append(bare[0] / checked[0])
            processor.append(bare[1] / checked[1])
            print(
                f"{repeat}: by the clock: decoding {bare[0]:.1f} s, check {checked[0]:.1f} s, ratio {ratios[-1]:.3f}; "
                f"processors: {bare[1]:.1f} s, {checked[1]:.1f} s, ratio {processor[-1]:.3f}",
                flush=True,
            )
        print(
            f"check reads at {100 * statistics.median(ratios):.0f}% of the speed of decoding (median by the clock; "
            f"{100 * statistics.median(processor):.0f}% by the processors' time)"
        )


def split(data: SegmentationData, count: int) -> list[SegmentationData]:
    """The same images in several parts."""
    sources = [data.labeled, data.val]
    assert all(isinstance(source, FileSource) for source in sources)
    parts = []
    for k in range(count):
        labeled, val = (
            FileSource(source.pairs.select(range(k, len(source), count)), data.info, roots=[Path(source.roots[0])])
            for source in sources
            if isinstance(source, FileSource)
        )
        parts.append(SegmentationData(data.info, labeled, data.unlabeled, val))
    return parts


def files_of(data: SegmentationData) -> list[str]:
    """Images and masks of the labelled and validation part."""
    sources = [source for source in (data.labeled, data.val) if isinstance(source, FileSource)]
    return [file for source in sources for pair in source.pairs.names() for file in pair if file is not None]


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
    report = full_check(data, workers=workers, progress=False)
    assert not report.findings, report.findings


def seconds(work: Callable[[], None]) -> np.ndarray:
    """How long a call takes by the clock, and for how long it keeps processors busy, its processes' included."""
    start, busy = time.perf_counter(), processor_seconds()
    work()
    return np.array([time.perf_counter() - start, processor_seconds() - busy])


def processor_seconds() -> float:
    """Spent by this process and those it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


if __name__ == "__main__":
    main()
