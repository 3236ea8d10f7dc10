"""``python -m unimatch.check``: reads a whole data set, and reports what would make training wrong."""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from unimatch._version import __version__
from unimatch.checkpoints.run_folder import removed_if_empty
from unimatch.cli.building import build
from unimatch.cli.command import command
from unimatch.cli.overrides import config_folder
from unimatch.cli.setting_kinds import check_kind
from unimatch.data import SegmentationData
from unimatch.data.check import FAULTS, WARNINGS, Part, Report, full_check
from unimatch.data.check.contact_sheet import draw_contact_sheet
from unimatch.data.check.fitness import misfits
from unimatch.data.check.what_masks_hold import advise, look, masks_below
from unimatch.data.loading.auto_crop import fitting_side
from unimatch.data.sets.class_names import class_file, data_set_within, misplaced, read_classes
from unimatch.data.sets.own_folders import Place, training_place
from unimatch.disk import replace_text
from unimatch.errors import ConfigError, DataError
from unimatch.images.folders import notes_taken
from unimatch.images.label_files import exported
from unimatch.images.pictures import drawing
from unimatch.kinds import fits
from unimatch.safe_text import one_line, to_type
from unimatch.terminal import text_table
from unimatch.types import IGNORE_INDEX

SHOWN = 5
"""The most files that are printed for each fault; ``check.json`` has all."""


def check_dataset(config: DictConfig) -> None:
    """Checks a data set, prints the report, and ends the process with status 1 if there are faults.

    Args:
        config: ``conf/check.yaml``, composed.
    """
    out = Path(HydraConfig.get().runtime.output_dir)
    with removed_if_empty(out):
        check_into(out, config)


def check_into(out: Path, config: DictConfig) -> None:
    """Checks a data set (:func:`check_dataset`), and writes the report into a folder."""
    if config.get("dataset") is None:
        raise ConfigError("dataset=NAME is needed: which data set is to be checked?")
    check_training(config)
    name_classes(config, out)
    # Data sets of files take this argument, with which missing files are findings instead of errors.
    parameters = inspect.signature(get_object(config.dataset._target_)).parameters
    arguments = {"allow_missing": True} if "allow_missing" in parameters else {}
    with notes_taken() as notes:
        data: SegmentationData = build(config.dataset, **arguments)
    report = full_check(data, workers=config.workers, notes=notes)
    unfit = misfits_of(config, data)
    replace_text(out / "check.json", json.dumps(facts(report) | {"unfit": unfit}, indent=1, ensure_ascii=False) + "\n")
    print(table(report))
    for text in unfit:
        print(one_line(f"note: with the settings here, {text}"))
    if any(finding.kind in ("colours", "ids out of range") for finding in report.findings):
        advise_on_colors(config, out)
    print(end="", flush=True)  # the report is shown before the contact sheet, which takes seconds
    with drawing(picture := out / "contact_sheet.png"):
        draw_contact_sheet(data, picture, {part.name: part.faulty for part in report.parts})
    drawn = "contact_sheet.png, and " if picture.is_file() else ""
    print(f"\n{out}: {drawn}check.json with all files")
    if report.wrong:
        sys.exit(1)


def folder_root(config: DictConfig) -> Path | None:
    """Returns the root of ``dataset=folder``; None for other data sets, and for a root that does not exist."""
    root = OmegaConf.select(config, "dataset.root")
    if root is None or config.dataset._target_ != "unimatch.data.folder":
        return None
    path = Path(str(root)).expanduser()
    return path if path.is_dir() else None


def place_in(root: Path, config: DictConfig) -> Place:
    """Returns the folders of the training images and masks of ``dataset=folder``."""
    return training_place(root, config.dataset.images, config.dataset.masks)


def name_classes(config: DictConfig, out: Path) -> None:
    """Prints what the masks of a folder hold if its classes have no names yet, and then ends the process.

    Raises:
        DataError: there are no masks either.
    """
    root, dataset = folder_root(config), config.dataset
    if root is None or dataset.classes is not None or dataset.colors not in (None, "palette") or class_file(root):
        return
    place = place_in(root, config)
    masks, folder = masks_below(root, place, dataset.mask_suffix), root / place.masks
    if not masks and (exported(root) or data_set_within(root) is not None):
        return  # building the data set raises an error that says what to do
    if not masks:
        raise DataError(
            f"{root}: no classes.txt, and no masks in {folder} that show the classes; put the masks there, or write "
            "classes.txt with one class name a line, in the order of the ids"
        )
    advice = advise(look(masks, workers=config.workers), str(folder))
    print("\n".join(map(one_line, advice.lines)))
    if advice.classes:
        found = f"{there}. Else write" if (there := misplaced(root)) else ". Write"
        where = one_line(f"{root}: no classes.txt yet{found} this there")
        print(f"\n{where}, with your names in place of class_N:\n")
        print(advice.classes)
        replace_text(out / "classes.txt", advice.classes)
        given = [text for text in HydraConfig.get().overrides.task if key_of(text) not in map(key_of, advice.settings)]
        added = config_folder(sys.argv[1:])
        flags = () if added is None else ("--config-dir", added)
        print("The same lines are in a file. To use it, then to check again:\n")
        print(f"  {to_type('copy' if os.name == 'nt' else 'cp', out / 'classes.txt', root / 'classes.txt')}")
        print(f"  {to_type('python', '-m', 'unimatch.check', *flags, *given, *advice.settings)}")
    sys.exit(1)


def key_of(text: str) -> str:
    """Returns the key of ``key=value``."""
    return text.partition("=")[0].lstrip("+")


def advise_on_colors(config: DictConfig, out: Path) -> None:
    """Prints what to do about masks in colours that are read as ids, and about masks of two kinds."""
    root = folder_root(config)
    if root is None:
        return
    place, colored = place_in(root, config), config.dataset.get("colors") is not None
    held = look(masks_below(root, place, config.dataset.mask_suffix), workers=config.workers)
    if "colours" not in held.files or (colored and not held.mixed):
        return
    advice = advise(held, str(root / place.masks))
    print("\n" + "\n".join(map(one_line, advice.lines)))
    names = class_file(root)
    if not colored and names is not None and read_classes(names).colors is not None:
        print(one_line(f"{names} has colours already."))
    elif not colored and advice.classes:
        print(f"\nA classes.txt of these colours, with your names in place of class_N:\n\n{advice.classes}")
        replace_text(out / "classes.txt", advice.classes)


LENGTHS = ("trainer.max_epochs", "trainer.max_steps")
TRAINING = {
    "recipe.crop": int | Literal["auto"],
    **dict.fromkeys(("recipe.batch_size", "recipe.unlabeled_ratio"), int),
    "recipe.scale": list,
    "recipe.ema_decay": float | None,
    **dict.fromkeys(LENGTHS, int | None),
}
"""The settings of a training that the check uses, and their types."""
POSITIVE = ("recipe.crop", "recipe.batch_size", "recipe.unlabeled_ratio")


def check_training(config: DictConfig) -> None:
    """Checks the settings of a training before anything is read.

    Raises:
        ConfigError: no training is possible with one of them.
    """
    for key, hint in TRAINING.items():
        check_kind(config, key, hint)
        value = OmegaConf.select(config, key)
        if key in POSITIVE and value != "auto" and value < 1:
            raise ConfigError(f"{key}={value}: must be at least 1")
        if key in LENGTHS and value is not None and value < 1 and value != -1:
            raise ConfigError(f"{key}={value}: must be at least 1, or -1 where the other one ends training")
    decay = config.recipe.ema_decay
    if decay is not None and not 0 <= decay < 1:
        raise ConfigError(f"recipe.ema_decay={decay}: must be at least 0 and below 1")
    scale = list(config.recipe.scale)
    if len(scale) != 2 or not all(fits(factor, float) and factor > 0 for factor in scale):
        raise ConfigError(f"recipe.scale={scale}: lowest and highest factor, both above 0, are needed")


def misfits_of(config: DictConfig, data: SegmentationData) -> list[str]:
    """Returns what does not fit the data in a training of one process with the configured recipe and length."""
    recipe, epochs, steps = config.recipe, config.trainer.max_epochs or 0, config.trainer.max_steps or 0
    in_epochs = len(data.unlabeled) // (recipe.batch_size * recipe.unlabeled_ratio) * epochs
    low, high = recipe.scale
    return misfits(
        data,
        steps=min((length for length in (in_epochs, steps) if length > 0), default=None),
        ema_decay=recipe.ema_decay,
        crop=fitting_side(data) if recipe.crop == "auto" else recipe.crop,
        scale=(low, high),
    )


def table(report: Report) -> str:
    """Returns the parts, the classes and the findings as text."""
    lines = [*part_lines(report), "", *class_lines(report), ""]
    for finding in report.findings:
        meaning = {**FAULTS, **WARNINGS}[finding.kind]
        what = "WRONG" if finding.wrong else "note"
        lines.append(one_line(f"{what}: {finding.part}: {finding.kind} ({meaning}): {len(finding.texts)}"))
        lines += [f"    {one_line(text)}" for text in finding.texts[:SHOWN]]
        if len(finding.texts) > SHOWN:
            lines.append(f"    and {len(finding.texts) - SHOWN} more")
    if not report.info.bands.photos:
        lines.append(f"images: {report.info.bands.summary()}")
    faults = sum(finding.wrong for finding in report.findings)
    verdict = f"{faults} kinds of faults; training would be wrong" if faults else "no faults"
    return "\n".join([*lines, one_line(f"{report.info.name}: {verdict}")])


def part_lines(report: Report) -> list[str]:
    """Returns a line for each part: the number of its images and their sizes."""
    counted = ["labels"] if report.one_class else ["masks", "ignored"]
    rows = [["part", "images", *counted, "width x height"]]
    for part in report.parts:
        sizes = [f"{width} x {height} ({number})" for (height, width), number in part.shapes.most_common(3)]
        more = f" and {len(part.shapes) - 3} more" if len(part.shapes) > 3 else ""
        ignored = [] if report.one_class else [share(part.pixels[IGNORE_INDEX], part) if part.masks else "-"]
        rows.append([part.name, str(part.images), str(part.masks), *ignored, ", ".join(sizes) + more])
    return text_table(rows, left=(0, len(rows[0]) - 1))


def class_lines(report: Report) -> list[str]:
    """Returns a line for each class: how many images of each part show it, and its share."""
    shown = "images, share" if report.one_class else "masks, pixels"
    labeled = [part for part in report.parts if part.masks and part.name != "unlabelled"]
    rows = [["class", *(f"{part.name} {shown}" for part in labeled)]]
    for i, name in enumerate(report.info.classes):
        rows.append([name, *(f"{part.showing[i]} {share(part.pixels[i], part):>9}" for part in labeled)])
    return text_table(rows)


def share(pixels: int, part: Part) -> str:
    """Returns the share of the pixels of a part's masks, or of its images, in percent."""
    return f"{100 * pixels / max(1, part.pixels.sum()):.2f} %"


def facts(report: Report) -> dict[str, Any]:
    """Returns the whole report as plain values, for ``check.json``."""
    return {
        "unimatch": __version__,
        "dataset": report.info.name,
        "bands": report.info.bands.plain(),
        "wrong": report.wrong,
        "parts": {part.name: part_facts(part, report) for part in report.parts},
        "findings": [
            {"kind": f.kind, "wrong": f.wrong, "part": f.part, "texts": list(f.texts)} for f in report.findings
        ],
    }


def part_facts(part: Part, report: Report) -> dict[str, Any]:
    """Returns the counts of one part as plain values."""
    found: dict[str, Any] = {
        "images": part.images,
        "sizes": [[width, height, number] for (height, width), number in part.shapes.most_common()],
    }
    showing = dict(zip(report.info.classes, part.showing.tolist(), strict=False))
    if report.one_class:
        return {**found, "images_of_class": showing}
    return {
        **found,
        "masks": part.masks,
        "stored_ids": {str(i): part.stored[i] for i in sorted(part.stored)},
        "masks_showing": showing,
        "pixels": dict(zip(report.info.classes, part.pixels.tolist(), strict=False)),
        "pixels_ignored": int(part.pixels[IGNORE_INDEX]),
    }


main = command("check")(check_dataset)

if __name__ == "__main__":
    main()
