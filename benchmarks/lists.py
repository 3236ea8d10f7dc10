"""Cost of long lists before training starts: reading them, and checking some of their images.

    python benchmarks/lists.py --labeled 118287 --unlabeled 240000

The listed files are links to 200 images of 640 x 480 pixels in a temporary folder. Seconds are by the clock and of
all processor cores together; memory is what the process holds beyond its imports.
"""

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from unimatch.data import coco
from unimatch.data.check.before_training import verify

IMAGES = 200


def main() -> None:
    """Make the lists, read them, print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labeled", type=int, default=1000)
    parser.add_argument("--unlabeled", type=int, default=240_000)
    parser.add_argument("--val", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_images(root)
        lists = {
            f"{part}_list": make_list(root, part, getattr(options, part)) for part in ("labeled", "unlabeled", "val")
        }
        before, start, start_cpu = memory()["VmRSS"], time.perf_counter(), time.process_time()
        data = coco(root, **lists)
        read, read_cpu = time.perf_counter(), time.process_time()
        verify(data, needs_unlabeled=True)
        done, done_cpu = time.perf_counter(), time.process_time()
    print(f"{options.labeled} labelled, {options.unlabeled} unlabelled, {options.val} validation images")
    print(f"lists  {read - start:5.2f} s, {read_cpu - start_cpu:5.2f} s of processor time")
    print(f"check  {done - read:5.2f} s, {done_cpu - read_cpu:5.2f} s of processor time")
    after = memory()
    print(f"memory {after['VmHWM'] - before:.0f} MiB at most, {after['VmRSS'] - before:.0f} MiB after")
    print(f"sent to a new process: {len(pickle.dumps(data)) / 2**20:.0f} MiB")


def make_images(root: Path) -> None:
    """The images and masks that all names are links to."""
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        image = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        mask = cv2.resize(rng.integers(0, 81, (12, 16), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST)
        Image.fromarray(image).save(root / f"{i}.jpg", quality=90)
        Image.fromarray(mask).save(root / f"{i}.png")


def make_list(root: Path, part: str, count: int) -> Path:
    """A list of ``count`` images and masks, each a link."""
    (root / part).mkdir()
    lines = []
    for i in range(count):
        pair = [f"{part}/{i:012d}.jpg", f"{part}/{i:012d}.png"]
        for name in pair:
            os.link(root / f"{i % IMAGES}{Path(name).suffix}", root / name)
        lines.append(" ".join(pair))
    path = root / f"{part}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def memory() -> dict[str, float]:
    """Resident memory now and at most, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}


if __name__ == "__main__":
    main()
