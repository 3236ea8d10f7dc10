"""Share of a training's time in which the device waits for images.

    OMP_NUM_THREADS=1 python benchmarks/feed.py --encoder tiny --crop 98 --block 20 --drain 10 --workers 1
    python benchmarks/feed.py --accelerator gpu --precision bf16-mixed --compile --workers 8 --json feed.json

Trains UniMatch V2 with random weights on JPEGs of 500 x 375, by turns on batches from the loaders and on one batch
repeated; both are sent to the device. The share is how much faster a step on the repeated batch is. Meanwhile the
loaders fill their queues; the first steps afterwards (``--drain``) empty them and are not counted.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from loader import make_images
from machine import machine
from PIL import Image
from scale import QUIET

import unimatch
from unimatch.data.catalog import PASCAL
from unimatch.data.sources.base import FileSource
from unimatch.data.sources.files import FilePair


class ByTurns:
    """Batches of a loader, and the same number of times the last of them, again and again."""

    def __init__(self, loader: Any, block: int) -> None:
        self.loader, self.block = loader, block

    def __iter__(self) -> Iterator[Any]:
        """Endless."""
        batches = self.endless()
        while True:
            for _ in range(self.block):
                batch, _, _ = next(batches)
                yield batch
            for _ in range(self.block):
                yield {name: dict(part) for name, part in batch.items()}

    def endless(self) -> Iterator[Any]:
        """Epoch after epoch."""
        while True:
            yield from self.loader


class Data(unimatch.SemiSupervisedDataModule):
    """With such batches."""

    block = 0

    def train_dataloader(self) -> Any:
        """By turns."""
        return ByTurns(super().train_dataloader(), self.block)


class Blocks(lightning.Callback):
    """Seconds of a step in each block, without its first steps; waits for the device only at their ends."""

    def __init__(self, block: int, drain: int) -> None:
        self.block, self.drain, self.start = block, drain, 0.0
        self.seconds: dict[str, list[float]] = {"loaders": [], "kept": []}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the time where a block's counting starts and ends."""
        turn, done = divmod(batch_idx, self.block)
        if done + 1 in (self.drain, self.block):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if done + 1 == self.drain:
                self.start = time.perf_counter()
            else:
                taken = time.perf_counter() - self.start
                self.seconds["kept" if turn % 2 else "loaders"].append(taken / (self.block - self.drain))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vits")
    parser.add_argument("--crop", type=int, default=518)
    parser.add_argument("--batch", type=int, default=4, help="labelled images, and as many unlabelled ones")
    parser.add_argument("--workers", type=int, default=8, help="per loader; there are two")
    parser.add_argument("--augment", choices=("workers", "device"), default="workers")
    parser.add_argument("--images", type=int, default=200, help="labelled, and as many unlabelled")
    parser.add_argument("--block", type=int, default=120, help="steps in a turn")
    parser.add_argument("--drain", type=int, default=50, help="steps of a turn that are not counted")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of turns")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not 0 < options.drain < options.block:
        parser.error("--drain: at least 1 and less than --block")
    if options.pairs < 1 or options.images < options.batch:
        parser.error("--pairs: at least 1; --images: at least --batch")
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), 2 * options.images + 1)
        pairs = [pair(path, number % (PASCAL.num_classes - 1) + 1) for number, path in enumerate(images)]
        parts = pairs[: options.images], pairs[options.images : -1], pairs[-1:]
        model = unimatch.SegmentationModel(options.encoder, PASCAL.num_classes, weights=None)
        data = Data(
            unimatch.SegmentationData(PASCAL, *(FileSource(part, PASCAL) for part in parts)),
            crop=options.crop,
            batch_size=options.batch,
            augment=options.augment,
            workers=options.workers,
        )
        data.block = options.block
        blocks = Blocks(options.block, options.drain)
        trainer = unimatch.Trainer(
            accelerator=options.accelerator,
            devices=1,
            precision=options.precision,
            compile=options.compile,
            max_steps=options.block * 2 * options.pairs,
            callbacks=[blocks],
            **QUIET,
        )
        trainer.fit(unimatch.UniMatchV2(model), data)
    taken = list(zip(blocks.seconds["loaders"], blocks.seconds["kept"], strict=True))
    shares = [1 - kept / loaded for loaded, kept in taken]
    for loaded, kept in taken:
        print(f"ms a step: {1000 * loaded:.1f} from the loaders, {1000 * kept:.1f} with a kept batch")
    print(f"waiting: {100 * statistics.median(shares):.1f}% ({100 * min(shares):.1f} to {100 * max(shares):.1f})")
    if options.json:
        result = {"machine": machine(), "options": vars(options), "seconds": blocks.seconds, "shares": shares}
        options.json.write_text(json.dumps(result, default=str) + "\n")


def pair(image: Path, kind: int) -> FilePair:
    """The image with a mask beside it: background, and a class on the left half."""
    path = image.with_suffix(".png")
    with Image.open(image) as picture:
        width, height = picture.size
    mask = Image.new("L", (width, height))
    mask.paste(kind, (0, 0, width // 2, height))
    mask.save(path)
    return FilePair(image, path)


if __name__ == "__main__":
    main()
