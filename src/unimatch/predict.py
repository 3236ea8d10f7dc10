"""``python -m unimatch.predict``: predicts masks, overlays and more of any images, or classes with a classifier."""

import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig
from PIL import Image

from unimatch.cli.arguments import written
from unimatch.cli.building import plain
from unimatch.cli.command import command
from unimatch.disk import sync_below, write_output
from unimatch.engines.model_facts import inference_with
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray, read_mask
from unimatch.inference.inputs import Photo, find_photos
from unimatch.inference.outputs import KINDS, Writer
from unimatch.inference.pipeline import Pipeline
from unimatch.inference.predictor import Predictor
from unimatch.options import at_least_one, probability
from unimatch.safe_text import csv_text, one_line, printable
from unimatch.terminal import progress_bar
from unimatch.types import IGNORE_INDEX
from unimatch.untrusted import written_by_others
from unimatch.wording import counted

log = logging.getLogger("unimatch")

PIXEL_LIMIT = 2**30
"""Images of more pixels than this are refused; Pillow's own limit would refuse aerial images."""


def predict(config: DictConfig) -> int:
    """Predicts as the composed ``conf/predict.yaml`` says; returns the number of images that failed."""
    check_settings(config)
    Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT // 2  # Pillow refuses images of twice this number
    files = checkpoint_files(config)
    source: Any = files if len(files) > 1 else files[0]
    if len(files) == 1 and Path(files[0]).suffix != ".onnx":
        from unimatch.inference.load import load_with_facts  # only here: exported models run without PyTorch

        source = load_with_facts(Path(files[0]).expanduser(), config.model)
        if source.model.task == "classification":
            if config.votes is not None:
                raise ConfigError(
                    f"votes={config.votes}: counts votes on masks, and this model predicts classes of images"
                )
            return predict_classes(config, source)
    predictor = Predictor(source, model=config.model, device=config.device, precision=config.precision)
    predictor.check_votes(config.votes, disagreement="disagreement" in config.save)
    predictor.check_threshold(config.threshold)
    output = Path(config.output).expanduser()
    count, photos = find_photos(config.input, predictor.facts.dates, output, bands=predictor.facts.bands)
    return predict_photos(config, predictor, output, count, photos)


def predict_photos(config: DictConfig, predictor: Predictor, output: Path, count: int, photos: Iterator[Photo]) -> int:
    """Predicts ``count`` photos into the folder ``output``; returns the number of those that failed."""
    predictor.inference = inference_with(predictor.inference, plain(config.inference))
    if config.overwrite and (output / "areas.csv").exists():
        # First of all: else, if this call is interrupted, the next one would take earlier results for this one's.
        write_output(output / "areas.csv", "")
    write_settings(output, config, predictor)
    writer = Writer(output, predictor.facts, config.save)
    done_before = set(writer.done)

    bar = progress_bar(count or None, "images", "image", late=True)
    found: list[Photo] = []

    def progress(name: str, reason: str | None) -> None:
        bar.update()
        if reason is not None:
            bar.write(f"unimatch: {one_line(name)}: {printable(reason)}", file=sys.stderr)

    pipeline = Pipeline(
        predictor,
        writer,
        config.threshold,
        config.batch_size or predictor.batch_size,
        config.threads,
        progress,
        votes=config.votes,
    )

    def remaining() -> Iterator[Photo]:
        for photo in photos:
            if writer.files.get(photo.name) not in (None, "", photo.file):
                raise ConfigError(
                    f"output={output}: holds the result of {writer.files[photo.name]} under the name of {photo.file}; "
                    "name another folder, or overwrite=true"
                )
            found.append(photo)
            if writer.is_older(photo.name, photo.path):
                done_before.discard(photo.name)
                writer.done.discard(photo.name)
            if photo.name in writer.done:
                bar.update()
            else:
                yield photo

    pipeline.run(remaining())
    writer.sync()
    bar.close()
    failed = len(pipeline.failures)
    done = sum(photo.name in writer.done for photo in found)
    earlier = min(done, sum(photo.name in done_before for photo in found))
    print(f"{done} of {len(found)} images predicted ({earlier} of them earlier), {failed} failed: {output}")
    if config.threshold is not None or config.votes is not None:
        print(write_list(output, writer, found))
    return failed


def check_settings(config: DictConfig) -> None:
    """Refuses invalid settings, before anything is read.

    Raises:
        ConfigError: naming the setting.
    """
    unknown = [kind for kind in config.save if kind not in KINDS]
    if unknown:
        raise ConfigError(f"save={list(config.save)}: {unknown[0]} is none of {', '.join(KINDS)}")
    if config.threshold is not None:
        probability(threshold=config.threshold)
    at_least_one(batch_size=config.batch_size, threads=config.threads)


def checkpoint_files(config: DictConfig) -> list[str]:
    """Returns the files in ``checkpoint``, of which there may be one or several.

    Raises:
        ConfigError: there is none, or the list holds something else.
    """
    several = isinstance(config.checkpoint, ListConfig)
    files = [str(file) for file in (config.checkpoint if several else [config.checkpoint])]
    if not files:
        raise ConfigError("checkpoint=[]: no model is named")
    if several and not all(isinstance(file, str) for file in config.checkpoint):
        given = ",".join(str(written(file)) for file in config.checkpoint)
        raise ConfigError(f"checkpoint=[{given}]: must be the names of files, as in [a.ckpt,b.ckpt]")
    return files


def predict_classes(config: DictConfig, trained: Any) -> int:
    """Writes ``classes.csv``: each image's file, its class and the confidence, in the order of the files' names.

    If the confidence is below ``threshold``, the class is left empty.

    Returns:
        The number of images that failed.

    Raises:
        ConfigError: a setting of masks or windows is given.
    """
    from unimatch.inference.classifier import Classifier
    from unimatch.tasks.classification import refuse_inference

    refuse_inference(plain(config.inference))
    if set(config.save) - {"overlay"}:  # the default
        raise ConfigError(
            f"save={list(config.save)}: lists outputs of masks, and this model predicts classes of images; leave it out"
        )
    if config.precision != "float32":
        raise ConfigError(f"precision={config.precision}: classes of images are predicted in float32; leave it out")

    count, photos = find_photos(config.input, 1, Path(config.output).expanduser(), bands=trained.facts.bands)
    classifier = Classifier(trained, device=config.device)
    batch_size = config.batch_size or (8 if classifier.device.type == "cpu" else 64)
    bar = progress_bar(count or None, "images", "image", late=True)
    rows, failed = [["image", "class", "confidence"]], 0
    with ThreadPoolExecutor(config.threads) as readers:
        while chunk := list(islice(photos, batch_size)):
            read: list[tuple[Photo, ImageArray]] = []
            for photo, image in zip(chunk, readers.map(load, chunk), strict=True):
                if isinstance(image, DataError):
                    failed += 1
                    bar.write(f"unimatch: {one_line(photo.name)}: {image}", file=sys.stderr)
                else:
                    read.append((photo, image))
            for (photo, _), found in zip(read, classifier.predict_batch([image for _, image in read]), strict=True):
                sure = config.threshold is None or found.confidence >= config.threshold
                name = str(photo.path) if photo.is_file else photo.name
                rows.append([name, found.name if sure else "", f"{found.confidence:.4f}"])
            bar.update(len(chunk))
    bar.close()
    output = Path(config.output).expanduser()
    write_output(output / "classes.csv", csv_text(rows))
    sync_below(output)
    print(f"{counted(len(rows) - 1, 'image')} classified, {failed} failed: {output / 'classes.csv'}")
    return failed


def load(photo: Photo) -> ImageArray | DataError:
    """Reads an image, or returns why it cannot be read."""
    try:
        return photo.load()
    except DataError as error:
        return error


def write_settings(output: Path, config: DictConfig, predictor: Predictor) -> None:
    """Writes ``predict.json``, the settings of the results in an output folder.

    Raises:
        ConfigError: the folder holds results of other settings, which must not be mixed.
    """
    path, files = output / "predict.json", checkpoint_files(config)
    settings = {
        "checkpoint": files if len(files) > 1 else files[0],
        "contents": [contents_of(file) for file in files],
        "model": config.model,
        "save": list(config.save),
        "threshold": config.threshold,
        "votes": config.votes,
        "precision": config.precision,
        "inference": asdict(predictor.inference),
        "classes": list(predictor.facts.classes),
        "palette": [list(color) for color in predictor.facts.palette],
    }
    text = json.dumps(settings, indent=2)
    if path.is_file() and not config.overwrite:
        with written_by_others(path):
            before = {"contents": settings["contents"], **json.loads(path.read_text(encoding="utf-8"))}
        different = [key for key, value in json.loads(text).items() if before.get(key) != value]
        if different == ["contents"]:
            raise ConfigError(
                f"output={output}: holds results of {', '.join(files)} as it was before, and it has been written anew, "
                "for example by further training; name another folder, or overwrite=true"
            )
        if different:
            raise ConfigError(
                f"output={output}: holds results of other settings ({', '.join(different)}, see predict.json); name "
                "another folder, or overwrite=true"
            )
    write_output(path, text)


def contents_of(checkpoint: str) -> str:
    """Returns a digest of a checkpoint's file, which a further training may replace by another of the same name."""
    with Path(checkpoint).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


def write_list(output: Path, writer: Writer, photos: list[Photo]) -> str:
    """Writes ``pseudo_labels.txt``, which ``dataset.labeled_list`` reads: images, and masks that are not all 255.

    A list cannot hold a name with a tab or a line break: such images are left out with a warning.

    Returns:
        A line for the user: the file, and how many images it lists.
    """
    lines, empty = [], 0
    for photo in photos:
        if photo.name not in writer.done or not photo.is_file:
            continue
        image, mask = photo.path.absolute(), writer.mask_path(photo.name).absolute()
        if np.all(read_mask(mask) == IGNORE_INDEX):
            empty += 1
        elif {"\t", "\n"} & {*str(image), *str(mask)}:
            log.warning("%r is not listed: a list cannot hold a name with a tab or a line break", str(image))
        else:
            lines.append(f"{image}\t{mask}\n")
    write_output(output / "pseudo_labels.txt", "".join(lines))
    text = f"{output / 'pseudo_labels.txt'}: {len(lines)} pseudo-labelled images"
    return text + (f", {empty} without a sure pixel left out" if empty else "")


def run(config: DictConfig) -> None:
    """Predicts, and exits with status 1 where images failed."""
    if predict(config):
        sys.exit(1)


main = command("predict")(run)

if __name__ == "__main__":
    main()
