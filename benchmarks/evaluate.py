"""Images per second when evaluating a segmentation model, compared with a plain loop, by turns in one process.

    OMP_NUM_THREADS=2 python benchmarks/evaluate.py photos --encoder vits
    python benchmarks/evaluate.py photos --encoder vitb --classes 19 --mode sliding --device cuda --precision bf16

The plain loop is the published evaluation: open with Pillow, normalise, eager attention, the logits (in windows: the
sum of softmaxes) of the whole image, argmax, histograms of intersection and union on the host. Ours is what
``unimatch.evaluate`` does, reading included, with batches of ``--batch`` samples (``evaluation_batch``), of which a GPU
predicts those of equal size together. Weights are random and masks are made up. Both sides see the same, and the share
of pixels on which their counts agree is printed.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine
from PIL import Image
from plain_step import PlainModel
from timing import Clock

from unimatch.data.catalog import DatasetInfo, distinct_colors
from unimatch.data.loading.datasets import EvaluationDataset
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair
from unimatch.engines.sliding_window import window_starts
from unimatch.engines.test_time import Inference
from unimatch.images.arrays import nearest_multiple
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD
from unimatch.images.tensors import prepare
from unimatch.inference.inputs import find_photos
from unimatch.models import SegmentationModel
from unimatch.tasks import Segmentation
from unimatch.tasks.evaluator import Evaluator


class Plain:
    """What the published evaluation does with one image."""

    def __init__(self, model: SegmentationModel, pairs: list[FilePair], window: int | None, device: torch.device):
        self.model, self.pairs, self.window, self.device = PlainModel(model).eval(), pairs, window, device
        self.multiple, self.classes = model.size_multiple, model.num_classes
        self.counts = np.zeros((3, self.classes), np.int64)  # intersection, prediction, truth

    @torch.no_grad()
    def __call__(self, index: int) -> None:
        """Predict and count."""
        pair = self.pairs[index]
        assert pair.mask is not None
        pixels = np.asarray(Image.open(pair.image).convert("RGB"), np.float32) / 255
        mask = np.asarray(Image.open(pair.mask))
        pixels = (pixels - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)
        predicted = (self.whole(image) if self.window is None else self.windows(image, self.window)).argmax(1)
        found = predicted[0].cpu().numpy()
        found = np.where(mask == 255, 255, found)
        for row, values in enumerate((found[found == mask], found, mask)):
            self.counts[row] += np.histogram(values, bins=np.arange(self.classes + 1))[0]

    def whole(self, image: torch.Tensor) -> torch.Tensor:
        """Logits at the image's size, from the nearest size the model takes."""
        size = image.shape[-2:]
        fitting = [nearest_multiple(side, self.multiple) for side in size]
        resized = F.interpolate(image, fitting, mode="bilinear", align_corners=True)
        return F.interpolate(self.model(resized), size, mode="bilinear", align_corners=True)

    def windows(self, image: torch.Tensor, window: int) -> torch.Tensor:
        """Softmaxes of all windows, summed."""
        height, width = image.shape[-2:]
        total = torch.zeros(1, self.classes, height, width, device=self.device)
        for top in window_starts(height, window, int(window * 2 / 3)):
            for left in window_starts(width, window, int(window * 2 / 3)):
                part = image[..., top : top + window, left : left + window]
                total[..., top : top + window, left : left + window] += self.whole(part).softmax(1)
        return total


class Ours:
    """What ``unimatch.evaluate`` does with a batch of images."""

    def __init__(
        self,
        model: SegmentationModel,
        dataset: EvaluationDataset,
        inference: Inference,
        device: torch.device,
        bf16: bool,
    ):
        self.dataset, self.device = dataset, device
        self.evaluator = Evaluator({"teacher": model.eval()}, Segmentation(inference)).to(device)
        self.autocast: Callable[[], Any] = contextlib.nullcontext
        if bf16:
            self.autocast = lambda: torch.autocast(device.type, torch.bfloat16)

    @torch.no_grad()
    def __call__(self, *indices: int) -> None:
        """Predict and count."""
        samples = [{key: value.to(self.device) for key, value in self.dataset[i].items()} for i in indices]
        with self.autocast():
            self.evaluator.test_step([prepare(sample, self.dataset.bands) for sample in samples], indices[0])

    def counts(self) -> np.ndarray[Any, Any]:
        """Intersection, prediction and truth by class."""
        self.evaluator.on_test_epoch_end()
        confusion = self.evaluator.counts["teacher"]["confusion"].numpy()
        return np.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)])


def make_mask(photo: Path, path: Path, classes: int, number: int) -> FilePair:
    """Coarse noise of an image's size with some ignored rows."""
    with Image.open(photo) as image:
        width, height = image.size
    coarse = np.random.default_rng(number).integers(classes, size=(height // 20 + 1, width // 20 + 1), dtype=np.uint8)
    mask = coarse.repeat(20, 0).repeat(20, 1)[:height, :width].copy()
    mask[:5] = 255
    Image.fromarray(mask).save(path)
    return FilePair(photo, path)


def main() -> None:
    """Measure by turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder or pattern, as for unimatch.predict")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1, help="images per batch on our side")
    parser.add_argument("--encoder", default="vits")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--mode", choices=("whole", "sliding"), default="whole")
    parser.add_argument("--window", type=int, default=798)
    parser.add_argument(
        "--precision", choices=("32", "bf16"), default="32", help="on our side; the baseline is float32"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if min(options.images, options.rounds, options.batch) < 1:
        parser.error("--images, --rounds and --batch: at least 1")
    device = torch.device(options.device)
    clock = Clock(device)
    photos = [photo.path for photo in find_photos(options.photos)[1]][: options.images]
    names = tuple(str(i) for i in range(options.classes))
    info = DatasetInfo("made", names, tuple(distinct_colors(len(names))))
    torch.manual_seed(0)
    model = SegmentationModel(options.encoder, options.classes, weights=None).eval().to(device)
    inference = Inference(mode=options.mode, window=options.window)
    with tempfile.TemporaryDirectory() as folder:
        pairs = [make_mask(path, Path(folder) / f"{i}.png", len(names), i) for i, path in enumerate(photos)]
        dataset = EvaluationDataset(FileSource(pairs, info))
        plain = Plain(model, pairs, options.window if options.mode == "sliding" else None, device)
        ours = Ours(model, dataset, inference, device, options.precision == "bf16")
        sides: dict[str, Callable[..., None]] = {"plain": plain, "ours": ours}
        batches = {"plain": [(index,) for index in range(len(pairs))]}
        batches["ours"] = [tuple(range(len(pairs)))[i : i + options.batch] for i in range(0, len(pairs), options.batch)]
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for i in range(options.rounds + 1):  # the first one warms up
            for side in sides if i % 2 else reversed(sides):
                start = clock.now()
                for indices in batches[side]:
                    sides[side](*indices)
                seconds[side].append(clock.now() - start)
    pixels = plain.counts[2].sum()
    apart = np.abs(plain.counts - ours.counts()).max() / pixels
    median = {side: len(pairs) / statistics.median(values[1:]) for side, values in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["plain"][1:], seconds["ours"][1:], strict=True)]
    print(f"{len(pairs)} images, {options.encoder}, {options.classes} classes, {options.mode}, {device}, ", end="")
    print(f"{torch.get_num_threads()} threads; ours in {options.precision}")
    for side, value in median.items():
        print(f"{side:6s}{value:8.2f} images/s")
    print(f"ours / plain: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"counts of a class differ by {apart:.1e} of the pixels at most")
    result = {"machine": machine(), "options": {key: str(value) for key, value in vars(options).items()}}
    if options.json:
        found = {"images/s": median, "ratios": ratios, "difference": float(apart), "seconds": seconds}
        options.json.write_text(json.dumps(result | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
