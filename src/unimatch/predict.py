"""``python -m unimatch.predict``: masks, overlays and more of any images."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tqdm import tqdm

from unimatch.command import command
from unimatch.errors import ConfigError
from unimatch.images import read_mask
from unimatch.inference.facts import inference_with
from unimatch.inference.inputs import Photo, find_photos
from unimatch.inference.outputs import KINDS, Writer, atomic, save_text
from unimatch.inference.pipeline import Pipeline
from unimatch.inference.predictor import Predictor
from unimatch.types import IGNORE_INDEX

PIXEL_LIMIT = 2**30
"""Images of more pixels than this are refused; Pillow's own limit would refuse aerial images."""


def predict(config: DictConfig) -> int:
    """Predict as the configuration says.

    Args:
        config: ``conf/predict.yaml``, composed.

    Returns:
        The number of images that failed.
    """
    unknown = [kind for kind in config.save if kind not in KINDS]
    if unknown:
        raise ConfigError(f"save={list(config.save)}: {unknown[0]} is none of {', '.join(KINDS)}")
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise ConfigError(f"threshold={config.threshold}: must be a probability, 0 to 1")
    for key in ("batch_size", "threads"):
        if config[key] is not None and config[key] < 1:
            raise ConfigError(f"{key}={config[key]}: must be at least 1")
    Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT // 2  # it refuses twice this
    predictor = Predictor(config.checkpoint, model=config.model, device=config.device, precision=config.precision)
    if config.threshold is not None and predictor.facts.dates > 1:
        raise ConfigError(f"threshold={config.threshold}: 255 means changed in labels, so no pixel can be left open")
    count, photos = find_photos(config.input, predictor.facts.dates)
    settings = OmegaConf.to_container(config.inference)
    assert isinstance(settings, dict)
    predictor.inference = inference_with(predictor.inference, {str(key): value for key, value in settings.items()})
    output = Path(config.output).expanduser()
    remember(output, config, predictor)
    writer = Writer(output, predictor.facts, config.save)
    if config.overwrite:
        writer.done.clear()
    before = set(writer.done)

    bar = tqdm(total=count or None, desc="images", unit="image", disable=None)
    predicted: list[Photo] = []

    def progress(name: str, reason: str | None) -> None:
        bar.update()
        if reason is not None:
            bar.write(f"unimatch: {name}: {reason}", file=sys.stderr)

    pipeline = Pipeline(
        predictor, writer, config.threshold, config.batch_size or predictor.batch_size, config.threads, progress
    )

    def remaining() -> Any:
        for photo in photos:
            predicted.append(photo)
            if photo.name in writer.done:
                bar.update()
            else:
                yield photo

    pipeline.run(remaining())
    bar.close()
    failed = len(pipeline.failures)
    done = sum(photo.name in writer.done for photo in predicted)
    skipped = sum(photo.name in before for photo in predicted)
    print(
        f"{done} of {len(predicted)} images predicted ({min(skipped, done)} of them earlier), {failed} failed: {output}"
    )
    if config.threshold is not None:
        print(write_list(output, writer, predicted))
    return failed


def remember(output: Path, config: DictConfig, predictor: Predictor) -> None:
    """Write down how the output folder came about; refuse to mix it with results of other settings.

    Raises:
        ConfigError: the folder holds results of other settings.
    """
    path = output / "predict.json"
    facts = {
        "checkpoint": str(config.checkpoint),
        "model": config.model,
        "save": list(config.save),
        "threshold": config.threshold,
        "precision": config.precision,
        "inference": asdict(predictor.inference),
        "classes": list(predictor.facts.classes),
        "palette": [list(color) for color in predictor.facts.palette],
    }
    text = json.dumps(facts, indent=2)
    if path.is_file() and not config.overwrite:
        before = json.loads(path.read_text())
        different = [key for key, value in json.loads(text).items() if before.get(key) != value]
        if different:
            raise ConfigError(
                f"output={output}: holds results of other settings ({', '.join(different)}, see predict.json); name "
                "another folder, or overwrite=true"
            )
    output.mkdir(parents=True, exist_ok=True)
    atomic(path, save_text, text)


def write_list(output: Path, writer: Writer, photos: list[Photo]) -> str:
    """Write ``pseudo_labels.txt``: images and masks that have a sure pixel, as ``dataset.labeled_list`` reads them.

    Returns:
        What there is to say of it.
    """
    lines, empty = [], 0
    for photo in photos:
        if photo.name not in writer.done or not photo.is_file:
            continue
        image, mask = photo.path.absolute(), writer.mask_path(photo.name).absolute()
        if np.all(read_mask(mask) == IGNORE_INDEX):
            empty += 1
        else:
            lines.append(f"{image}\t{mask}\n")
    atomic(output / "pseudo_labels.txt", save_text, "".join(lines))
    text = f"{output / 'pseudo_labels.txt'}: {len(lines)} pseudo-labelled images"
    return text + (f", {empty} without a sure pixel left out" if empty else "")


def run(config: DictConfig) -> None:
    """As a command: status 1 where images failed."""
    if predict(config):
        sys.exit(1)


main = command("predict")(run)

if __name__ == "__main__":
    main()
