"""``python -m unimatch.round``: chooses the photos that a model is least sure of, and writes its masks to correct."""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unimatch.cli.building import plain
from unimatch.cli.command import command
from unimatch.data.sets.class_names import find_classes, read_classes
from unimatch.disk import remove, replace_file, replace_text
from unimatch.engines.model_facts import ModelFacts
from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray, read_image, read_mask
from unimatch.images.pictures import drawing, overlay
from unimatch.inference.inputs import Photo, name_photos
from unimatch.inference.outputs import Writer
from unimatch.inference.predictor import Predictor
from unimatch.labelling import TOOLS, predicted_labels, write
from unimatch.options import at_least_one, one_of
from unimatch.predict import checkpoint_files, predict_photos
from unimatch.safe_text import one_line, to_type
from unimatch.select import describer_of, draw
from unimatch.selection import Describer, EncoderDescriber, Selection, check_choice
from unimatch.selection import select as select_photos
from unimatch.selection.photos import Photos, named, photos_below, unsureness

DONE = "selected.txt"
"""The file that a round writes last: a round that has it is complete."""

WRITTEN = (DONE, "contact_sheet.png", "to_correct", "to_correct.zip", "predicted")
"""All files and folders that a round writes."""


def next_round(config: DictConfig) -> None:
    """Makes a round as the composed ``conf/round.yaml`` says, and prints what to do next."""
    one_of("to", config.to, TOOLS)
    one_of("hand_over", config.hand_over, ("folder", "zip"))
    one_of("shapes", config.shapes, ("polygons", "masks"))
    if not 0 <= config.tolerance < 100:
        raise ConfigError(f"tolerance={config.tolerance}: must be a number of pixels from 0 up")
    at_least_one(batch_size=config.batch_size, threads=config.threads)
    out = Path(config.out).expanduser()
    check_out(out, config.overwrite)
    photos = photos_below(config.dataset.root)
    given = photos.labelled if config.given is None else named(photos, Path(config.given).expanduser())
    check_choice(photos.files, config.n, given, config.group, config.likeness, config.kinds)
    predictor, encoder = load(config)
    check_classes(photos.root, predictor.facts)
    describer = describer_of(config) or encoder

    if config.overwrite:
        remove_round(out)
    labelled = set(given)
    photo_of = {photo.path: photo for photo in name_photos(photos.files, photos.root)}
    pool = [photo for path, photo in photo_of.items() if path not in labelled]
    predicted = out / "predicted"
    kind = "disagreement" if predictor.others else "confidence"
    settings = OmegaConf.create({**plain(config), "save": [kind], "threshold": None, "votes": None, "overwrite": False})
    predict_photos(settings, predictor, predicted, len(pool), iter(pool))
    writer = Writer(predicted, predictor.facts, (kind,))
    known = [photo.path for photo in pool if photo.name in writer.done]
    unsure = unsureness(predicted, replace(photos, files=known))
    found = select_photos(
        [path for path in photos.files if path in labelled or path in unsure],
        config.n,
        describer=describer,
        given=given,
        group=config.group,
        unsure=unsure,
        likeness=config.likeness,
        kinds=config.kinds,
        features=None if config.features is None else Path(config.features).expanduser(),
    )
    write_round(config, out, found, [photo_of[path] for path in found.chosen], photos, writer, unsure)
    doubt = "pixels on which the models disagree" if predictor.others else "how unsure the model is, 1 - its confidence"
    print(report(config, out, found, len(pool), unsure, doubt, own=describer is encoder is not None))


def check_out(out: Path, overwrite: bool) -> None:
    """Refuses a folder that holds something else than a round, or a complete round that may not be overwritten.

    A round that was interrupted is continued.

    Raises:
        ConfigError: the folder is refused.
    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not any((out / name).exists() for name in (DONE, "predicted"))):
        raise ConfigError(f"out={out}: exists already, and holds no round; choose another folder")
    if (out / DONE).is_file() and not overwrite:
        raise ConfigError(f"out={out}: holds a round already; choose another folder or write overwrite=true")


def remove_round(out: Path) -> None:
    """Removes what an earlier round has written, first the file that says that it is complete."""
    for name in WRITTEN:
        remove(out / name)


def load(config: DictConfig) -> tuple[Predictor, Describer | None]:
    """Returns the predictor of one or several trained models, and the first one's encoder, which describes photos.

    The encoder is None for an exported graph.

    Raises:
        ConfigError: the model does not predict masks of photos.
    """
    files: list[Any] = [Path(file).expanduser() for file in checkpoint_files(config)]
    if files[0].suffix != ".onnx":
        from unimatch.inference.load import choose_device, load_with_facts

        files[0] = load_with_facts(files[0], config.model)
        if files[0].model.task == "classification":
            raise ConfigError(
                f"checkpoint={config.checkpoint}: classifies whole images, and a round needs a model of masks; "
                "unimatch.predict writes the confidence of each image: label those with the lowest"
            )
    predictor = Predictor(files, model=config.model, device=config.device, precision=config.precision)
    if predictor.facts.dates > 1 or not predictor.facts.bands.photos:
        raise ConfigError(
            f"checkpoint={config.checkpoint}: takes pairs or other bands, and a round needs a model of RGB photos"
        )
    if isinstance(files[0], Path):
        return predictor, None
    model = files[0].model
    return predictor, EncoderDescriber(model.encoder.to(choose_device(config.device)), model.name)


def check_classes(root: Path, facts: ModelFacts) -> None:
    """Refuses a model whose classes differ from those of the photos' folder: corrected masks would have other ids.

    Raises:
        DataError: the classes differ.
    """
    try:
        file = find_classes(root)
    except DataError:  # the folder holds only photos
        return
    names = read_classes(file).names
    if names != tuple(facts.classes):
        raise DataError(
            f"{file}: names the classes {', '.join(names)}, and the model knows {', '.join(facts.classes)}; "
            "give a checkpoint that was trained on them"
        )


def write_round(
    config: DictConfig,
    out: Path,
    found: Selection,
    chosen: list[Photo],
    photos: Photos,
    writer: Writer,
    unsure: Mapping[Path, float],
) -> None:
    """Writes the masks to correct, the contact sheet and, last, the list of the chosen photos.

    Args:
        config: of the round.
        out: the round's folder.
        found: the choice.
        chosen: the chosen photos, in the order of ``found.chosen``.
        photos: all photos.
        writer: of the predicted masks.
        unsure: how unsure the model is of each photo, 0-1.
    """
    facts, masks = writer.facts, {photo.path: writer.mask_path(photo.name) for photo in chosen}
    for name in ("to_correct", "to_correct.zip"):  # what an interrupted round may have left
        remove(out / name)
    write(
        predicted_labels(
            [(photos.name_of(path), path, masks[path]) for path in found.chosen],
            facts.classes,
            facts.palette,
        ),
        out / "to_correct",
        format=config.to,
        tolerance=config.tolerance,
        shapes=config.shapes,
        url=config.url,
        workers=config.workers,
    )
    if config.hand_over == "zip":
        pack(out / "to_correct")

    def shown(path: Path) -> ImageArray:
        return overlay(read_image(path), read_mask(masks[path]), facts.colors)

    names = [path.relative_to(photos.root).as_posix() for path in found.chosen]
    with drawing(sheet := out / "contact_sheet.png"):
        titles = [f"{name[-28:]}, {unsure[path]:.0%} unsure" for path, name in zip(found.chosen, names, strict=True)]
        draw(sheet, found.chosen, titles, shown)
    replace_text(out / DONE, "".join(f"{name}\n" for name in names))


def pack(folder: Path) -> None:
    """Replaces a folder by a zip archive, whose bytes are the same for the same files."""

    def write_zip(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # without the file's time
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, path.read_bytes())

    replace_file(folder.with_name(f"{folder.name}.zip"), write_zip)
    shutil.rmtree(folder)


def report(
    config: DictConfig, out: Path, found: Selection, pool: int, unsure: Mapping[Path, float], doubt: str, own: bool
) -> str:
    """Returns what was chosen and what to do next.

    Args:
        config: of the round.
        out: the round's folder.
        found: the choice.
        pool: how many photos have no labels.
        unsure: how unsure the model is of each photo, 0-1.
        doubt: what that is called.
        own: whether the model's own encoder has described the photos.
    """
    mean, chosen = fmean(unsure.values()), fmean(unsure[path] for path in found.chosen)
    place = out / ("to_correct.zip" if config.hand_over == "zip" else "to_correct")
    lines = [
        f"{place}: {len(found.chosen)} of the {pool} photos without labels ({len(found.given)} have labels), "
        f"described by {found.by}{' of the model' if own else ''}",
        f"{doubt}: {chosen:.1%} in these photos, {mean:.1%} in all without labels; see {out / 'contact_sheet.png'}",
    ]
    for path, reason in list(found.left_out.items())[:5]:
        lines.append(f"left out: {path}: {reason.removeprefix(f'{path}: ')}")
    labels = to_type("python", "-m", "unimatch.labels", "from=CORRECTED", f"to={config.dataset.root}")
    lines.append(f"correct them, then: {labels}")
    return "\n".join(map(one_line, lines))


main = command("round")(next_round)

if __name__ == "__main__":
    main()
