"""Imports a COCO file of made-up annotations, and compares the time with only writing the same masks as PNG.

    python benchmarks/labels.py --photos 10000

The photos are one JPEG under many names (hard links). All sides write with the same number of processes. The masks are
written in two ways: with Pillow's defaults (grey, its own compression), and as the import writes them (a palette,
without filter, and light compression).
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from unimatch.data.parallel import for_each
from unimatch.labelling import read, write

WIDTH, HEIGHT, CLASSES = 640, 480, 20


def make(root: Path, photos: int, objects: int, points: int) -> Path:
    """Write the photos and the annotations: stars around random places, of about the length that people draw."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    (root / "images").mkdir(parents=True)
    Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(root / "photo.jpg", quality=90)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    path = root / "annotations.json"
    with path.open("w") as file:
        file.write('{"annotations": [')
        for photo in range(photos):
            os.link(root / "photo.jpg", root / "images" / f"{photo:06d}.jpg")
            for number in range(objects):
                radius = rng.uniform(10, 60) * rng.uniform(0.7, 1, points)
                x = (rng.uniform(0, WIDTH) + radius * np.cos(angle)).clip(0, WIDTH).round(2)
                y = (rng.uniform(0, HEIGHT) + radius * np.sin(angle)).clip(0, HEIGHT).round(2)
                note = {
                    "id": photo * objects + number,
                    "image_id": photo,
                    "category_id": int(rng.integers(1, CLASSES + 1)),
                    "segmentation": [np.stack([x, y], axis=1).ravel().tolist()],
                }
                file.write((",\n" if photo or number else "\n") + json.dumps(note))
        images = [
            {"id": photo, "file_name": f"{photo:06d}.jpg", "width": WIDTH, "height": HEIGHT} for photo in range(photos)
        ]
        categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
        file.write(f'], "images": {json.dumps(images)}, "categories": {json.dumps(categories)}}}')
    return path


def write_png(shared: tuple[Path, Path, bool], name: str) -> None:
    """Write one mask again, as the import does or as Pillow does by itself."""
    masks, target, alike = shared
    with Image.open(masks / name) as mask:
        mask.load()
        if alike:
            mask.save(target / name, "PNG", compress_level=3)
        else:
            Image.fromarray(np.asarray(mask)).save(target / name)


def read_png(masks: Path, name: str) -> None:
    """Read one mask, to be taken from the time of writing it."""
    with Image.open(masks / name) as mask:
        mask.load()


def clocks() -> np.ndarray:
    """Seconds on the wall, and of the processor cores in this process and those that have ended."""
    times = os.times()
    return np.array([time.perf_counter(), times.user + times.system + times.children_user + times.children_system])


def seconds(function: object, shared: object, names: list[str], workers: int | None) -> np.ndarray:
    """How long the function takes for all names."""
    begun = clocks()
    for _ in for_each(function, shared, names, workers=workers):  # type: ignore[arg-type]
        pass
    return clocks() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=30, help="annotations per photo")
    parser.add_argument("--points", type=int, default=40, help="points per annotation")
    parser.add_argument("--workers", type=int, default=None)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    try:
        file = make(root, arguments.photos, arguments.objects, arguments.points)
        size = file.stat().st_size
        begun = clocks()
        labels = read(root)
        reading = clocks() - begun
        write(labels, root / "out", workers=arguments.workers)
        whole = clocks() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        masks, target = root / "out" / "masks", root / "bare"
        target.mkdir()
        names = sorted(path.name for path in masks.iterdir())
        reading_masks = seconds(read_png, masks, names, arguments.workers)
        plain, alike = (
            seconds(write_png, (masks, target, alike), names, arguments.workers) - reading_masks
            for alike in (False, True)
        )
        print(f"{arguments.photos} photos of {WIDTH} x {HEIGHT}, {arguments.objects} annotations each")
        print(f"{'COCO file':32} {size / 1e6:8.0f} MB")
        for name, (wall, cores) in (
            ("reading it", reading),
            ("whole import", whole),
            ("masks alone, as Pillow does", plain),
            ("masks alone, as the import does", alike),
        ):
            share = f"{wall / whole[0]:6.2f} {cores / whole[1]:6.2f} of the import"
            print(f"{name:32} {wall:8.1f} s {cores:8.1f} s of processor time {share}")
        print(f"{'memory, main / largest process':32} {peak:8.0f} / {child:.0f} MiB")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
