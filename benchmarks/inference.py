"""Images per second of ``unimatch.predict`` on the CPU, compared with a plain loop, by turns in one process.

The plain loop is the obvious one: open with Pillow, one forward pass, argmax, save mask and overlay with Pillow.
``predict`` runs with the checkpoint and with the ONNX file exported from it. All write the same masks and overlays;
those of ``predict`` also have a legend.

    OMP_NUM_THREADS=2 python benchmarks/inference.py best.ckpt photos

If other programs run on the machine, threads that wait for each other wait long, above all those of the plain loop.
Then the fastest rounds are more telling, and ``OMP_WAIT_POLICY=passive`` lets waiting threads sleep.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine
from PIL import Image

from unimatch.engines.whole_image import whole_image_logits
from unimatch.images.arrays import read_mask
from unimatch.inference.export import export_onnx
from unimatch.inference.inputs import Photo, find_photos
from unimatch.inference.load import load_with_facts
from unimatch.inference.outputs import Writer, flat_palette
from unimatch.inference.pipeline import Pipeline
from unimatch.inference.predictor import Predictor


def plain_loop(checkpoint: Path, photos: list[Photo]) -> Callable[[Path], None]:
    """What one writes first."""
    model, facts = load_with_facts(checkpoint)
    mean, std = (np.array(value, np.float32) for value in (facts.mean, facts.std))

    def run(output: Path) -> None:
        (output / "masks").mkdir()
        (output / "overlays").mkdir()
        for photo in photos:
            image = Image.open(photo.path).convert("RGB")
            array = np.asarray(image, np.float32) / 255
            pixels = torch.from_numpy((array - mean) / std).permute(2, 0, 1)[None].contiguous()
            with torch.no_grad():
                mask = whole_image_logits(model, pixels).argmax(1)[0].numpy().astype(np.uint8)
            picture = Image.fromarray(mask)
            picture.putpalette(flat_palette(facts))
            picture.save(output / "masks" / f"{photo.name}.png")
            overlay = Image.blend(image, picture.convert("RGB"), 0.5)
            overlay.save(output / "overlays" / f"{photo.name}.jpg", quality=90)

    return run


def pipeline(path: Path, photos: list[Photo]) -> Callable[[Path], None]:
    """What ``unimatch.predict`` does, without its progress bar."""
    predictor = Predictor(path, device="cpu")

    def run(output: Path) -> None:
        Pipeline(predictor, Writer(output, predictor.facts, ["overlay"]), batch_size=predictor.batch_size).run(photos)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Images per second of predict on the CPU, compared with a plain loop.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("photos", help="a folder or pattern, as for unimatch.predict")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    photos = list(find_photos(options.photos)[1])[: options.images]
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "model.onnx"
        export_onnx(exported, *load_with_facts(options.checkpoint), "float32")
        ways = {
            "plain loop": plain_loop(options.checkpoint, photos),
            "predict, checkpoint": pipeline(options.checkpoint, photos),
            "predict, ONNX": pipeline(exported, photos),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(options.rounds + 1):  # the first one warms up
            for name, run in ways.items():
                output = Path(folder) / f"{i} {name}"
                output.mkdir()
                started, used = time.perf_counter(), time.process_time()
                run(output)
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
        masks = {
            name: [read_mask(Path(folder) / f"0 {name}" / "masks" / f"{photo.name}.png") for photo in photos]
            for name in ways
        }
    print(f"{len(photos)} images, {options.rounds} rounds by turns, {torch.get_num_threads()} thread(s) of PyTorch")
    results = {}
    for name in ways:
        ratios = [plain / own for plain, own in zip(wall["plain loop"][1:], wall[name][1:], strict=True)]
        equal = [np.mean(a == b) for a, b in zip(masks["plain loop"], masks[name], strict=True)]
        results[name] = {
            "images_per_second": len(photos) / statistics.median(wall[name][1:]),
            "cpu_ms_per_image": 1000 * statistics.median(cpu[name][1:]) / len(photos),
            "ratios": ratios,
            "ratio_of_fastest": min(wall["plain loop"][1:]) / min(wall[name][1:]),
            "equal_pixels": float(np.mean(equal)),
        }
        print(
            f"{name:<20} {results[name]['images_per_second']:6.2f} images/s (median), "
            f"{results[name]['cpu_ms_per_image']:6.1f} ms of CPU time an image, "
            f"{statistics.median(ratios):.2f} x the plain loop ({min(ratios):.2f} to {max(ratios):.2f}; "
            f"of the fastest rounds {results[name]['ratio_of_fastest']:.2f}), "
            f"{100 * np.mean(equal):.5f}% of its pixels"
        )
    if options.json:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        content = {"results": results, "settings": settings, "machine": machine()}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
