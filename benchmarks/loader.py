"""Unlabelled samples per second that one core loads, compared with Pillow and torchvision, stage by stage.

    OMP_NUM_THREADS=1 python benchmarks/loader.py --json loader.json

A sample is the weak view and the two strong views of one JPEG, as in a training batch. The baseline works like the
published code: Pillow resizes image and mask, torchvision jitters Pillow images, Pillow blurs, and each view becomes
normalised floats. Ours is what the training loader runs (``UnlabeledDataset``); with ``datamodule.augment=device`` only
the random numbers of the strong views are drawn, and the views are made later for the whole batch. All run by turns in
one process, on batches of the same images. Figures are medians over blocks of batches, of processor time. The images
are two photographs that scikit-learn ships, cut in different ways.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from machine import machine
from PIL import Image, ImageFilter, ImageOps
from sklearn.datasets import load_sample_images
from torch.utils.data import default_collate
from torchvision import transforms

from unimatch.augment import Views, draw_box, draw_geometry
from unimatch.data.catalog import PASCAL
from unimatch.data.loading.datasets import UnlabeledDataset
from unimatch.data.loading.samplers import sample_rng
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD
from unimatch.images.tensors import to_tensor

QUALITY = 96
BATCH = 4


class Clock:
    """Processor time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside."""
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


class Baseline:
    """Pillow and torchvision."""

    def __init__(self, paths: list[Path], crop: int) -> None:
        self.paths, self.crop = paths, crop
        self.jitter = transforms.ColorJitter(0.5, 0.5, 0.5, 0.25)
        self.grayscale = transforms.RandomGrayscale(p=0.2)
        self.floats = transforms.Compose([transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])

    def sample(self, index: int, rng: np.random.Generator, clock: Clock) -> dict[str, Any]:
        """One unlabelled sample."""
        with clock.stage("decode"):
            image = Image.open(self.paths[index]).convert("RGB")
        with clock.stage("geometry"):
            weak, mask = self.geometry(image, Image.new("L", image.size), rng)
        strong, boxes = [], []
        for _ in range(2):
            with clock.stage("strong"):
                strong.append(self.strong(deepcopy(weak), rng))
                boxes.append(self.box_mask(rng))
        with clock.stage("tensors"):
            views = [self.floats(view) for view in (weak, *strong)]
            ignored = torch.from_numpy(np.array(mask)).long()
        return {"views": views, "ignored": ignored, "boxes": boxes}

    def batch(self, indices: range, rng: np.random.Generator, clock: Clock) -> None:
        """A batch of samples."""
        samples = [self.sample(index, rng, clock) for index in indices]
        with clock.stage("collate"):
            default_collate(samples)

    def geometry(self, image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> tuple[Any, Any]:
        """Random resize, pad, crop and flip."""
        drawn = draw_geometry(rng, image.height, image.width, crop=self.crop, scale=(0.5, 2.0), flip=0.5)
        image = image.resize((drawn.width, drawn.height), Image.Resampling.BILINEAR)
        mask = mask.resize((drawn.width, drawn.height), Image.Resampling.NEAREST)
        border = (0, 0, max(self.crop - drawn.width, 0), max(self.crop - drawn.height, 0))
        box = (drawn.left, drawn.top, drawn.left + self.crop, drawn.top + self.crop)
        image = ImageOps.expand(image, border, fill=0).crop(box)
        mask = ImageOps.expand(mask, border, fill=254).crop(box)
        if drawn.flip:
            image, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (image, mask))
        return image, mask

    def strong(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Jitter, grayscale, blur."""
        if rng.random() < 0.8:
            image = self.jitter(image)
        image = self.grayscale(image)
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(radius=rng.uniform(0.1, 2.0)))
        return image

    def box_mask(self, rng: np.random.Generator) -> torch.Tensor:
        """A CutMix box as a mask of the view."""
        top, left, bottom, right = draw_box(rng, self.crop)
        mask = torch.zeros(self.crop, self.crop)
        mask[top:bottom, left:right] = 1
        return mask


class Ours:
    """What the training loader runs; :meth:`stages` is the same, cut into stages."""

    def __init__(self, paths: list[Path], crop: int, *, on_device: bool) -> None:
        self.source = FileSource([FilePair(path, None) for path in paths], PASCAL)
        self.views = Views(crop, on_device=on_device)
        self.dataset = UnlabeledDataset(self.source, self.views.unlabeled, 0)

    def batch(self, indices: range, epoch: int, clock: Clock) -> None:
        """A batch of samples."""
        samples = [self.dataset[epoch, index] for index in indices]
        with clock.stage("collate"):
            default_collate(samples)

    def stages(self, index: int, epoch: int, clock: Clock) -> None:
        """One unlabelled sample's work, timed by stage."""
        rng, crop, strong = sample_rng(0, "unlabeled", (epoch, index)), self.views.crop, self.views.strong
        with clock.stage("decode"):
            image = self.source.image(index)
        with clock.stage("geometry"):
            geometry = draw_geometry(rng, *image.shape[:2], crop=crop, scale=(0.5, 2.0), flip=0.5)
            weak = geometry.apply_to_image(image)
            valid = geometry.valid()
        with clock.stage("strong"):
            changed = []
            for _ in range(2):
                change = strong.draw(rng)
                if not self.views.on_device:
                    changed.append(change.apply(weak, geometry.shown))
                draw_box(rng, crop)
        with clock.stage("tensors"):
            [to_tensor(view) for view in (weak, *changed)]
            torch.from_numpy(valid)


def make_images(folder: Path, count: int) -> list[Path]:
    """JPEGs of 500 x 375, cut from two photographs."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images  # 427 x 640
    paths = []
    for i in range(count):
        photograph = photographs[i % 2]
        height = int(rng.integers(330, 428))
        width = height * 4 // 3
        top, left = rng.integers(428 - height), rng.integers(641 - width)
        cut = photograph[top : top + height, left : left + width]
        paths.append(folder / f"{i:03d}.jpg")
        image = Image.fromarray(cv2.resize(np.ascontiguousarray(cut), (500, 375), interpolation=cv2.INTER_CUBIC))
        image.save(paths[-1], quality=QUALITY)
    return paths


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure by turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32, help="images in a block")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--crop", type=int, default=518)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    totals: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(Path(folder), options.images)
        size = statistics.mean(path.stat().st_size for path in paths)
        baseline = Baseline(paths, options.crop)
        ours = {name: Ours(paths, options.crop, on_device=name == "device") for name in ("ours", "device")}
        for block in range(options.blocks + 1):  # the first warms up
            rng = np.random.default_rng(block)
            torch.manual_seed(block)
            clocks = {name: Clock() for name in ("baseline", *ours)}
            spent = dict.fromkeys(clocks, 0.0)
            for first in range(0, len(paths), BATCH):
                batch = range(first, min(first + BATCH, len(paths)))
                spent["baseline"] += seconds(partial(baseline.batch, batch, rng, clocks["baseline"]))
                for name, loader in ours.items():
                    spent[name] += seconds(partial(loader.batch, batch, block, clocks[name]))
                    for index in batch:
                        loader.stages(index, block, clocks[name])
            for name, clock in clocks.items():
                totals[name].append(1000 * spent[name] / len(paths))
                stages[name].append({key: 1000 * value / len(paths) for key, value in clock.seconds.items()})
    ratios = {
        name: [a / b for a, b in zip(totals["baseline"], totals[name], strict=True)][1:] for name in ("ours", "device")
    }
    result = {
        "machine": machine(),
        "options": {"images": options.images, "blocks": options.blocks, "crop": options.crop, "bytes": round(size)},
        "ms": {
            name: {key: statistics.median(row[key] for row in rows[1:]) for key in rows[0]}
            | {"total": statistics.median(totals[name][1:])}
            for name, rows in stages.items()
        },
        "ratio": {name: statistics.median(values) for name, values in ratios.items()},
        "ratios": ratios,
    }
    print(f"{len(paths)} JPEGs of 500 x 375, {size / 1000:.0f} kB each; crop {options.crop}; one core")
    print(f"{'ms an image':12s}" + "".join(f"{name:>10s}" for name in result["ms"]))
    for key in ("decode", "geometry", "strong", "tensors", "collate", "total"):
        print(f"{key:12s}" + "".join(f"{row[key]:10.2f}" for row in result["ms"].values()))
    print(f"{'images/s':12s}" + "".join(f"{1000 / row['total']:10.1f}" for row in result["ms"].values()))
    for name, values in ratios.items():
        print(f"ratio {name}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
