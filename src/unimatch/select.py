"""``python -m unimatch.select``: selects photos to label, as a list, a contact sheet and a folder to hand over."""

import functools
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig

from unimatch.cli.building import plain
from unimatch.cli.command import command
from unimatch.disk import remove, replace_file, replace_text, write_output
from unimatch.errors import ConfigError
from unimatch.images.arrays import ImageArray, read_image
from unimatch.images.pictures import Cell, drawing, save_figure
from unimatch.options import one_of
from unimatch.safe_text import one_line
from unimatch.selection import Describer, Selection
from unimatch.selection import select as select_photos
from unimatch.selection.photos import Photos, named, photos_below, unsureness

COLUMNS = 6
"""Columns of the contact sheet."""

SHOWN = 60
"""The most photos in the contact sheet."""


def select(config: DictConfig) -> None:
    """Selects photos, writes the list, the contact sheet and the photos, and prints what to do next.

    Args:
        config: ``conf/select.yaml``, composed.
    """
    one_of("hand_over", config.hand_over, ("folder", "zip", "none"))
    out = Path(config.out).expanduser()
    if out.exists() and not (config.overwrite and (out / "selected.txt").is_file()):
        rest = " or write overwrite=true" if (out / "selected.txt").is_file() else " it holds no earlier choice"
        raise ConfigError(f"out={out}: exists already; choose another folder,{rest}")
    photos = photos_below(config.dataset.root)
    given = photos.labelled if config.given is None else named(photos, Path(config.given).expanduser())
    found = select_photos(
        photos.files,
        config.n,
        describer=describer_of(config),
        given=given,
        group=config.group,
        unsure=None if config.scores is None else unsureness(Path(config.scores).expanduser(), photos),
        likeness=config.likeness,
        kinds=config.kinds,
        features=None if config.features is None else Path(config.features).expanduser(),
    )
    names = [path.relative_to(photos.root).as_posix() for path in found.chosen]
    replace_text(out / "selected.txt", "".join(f"{name}\n" for name in names))
    with drawing(sheet := out / "contact_sheet.png"):
        draw(sheet, found.chosen, names)
    hand_over(out, config.hand_over, found.chosen, names)
    print(report(found, photos, out))


def describer_of(config: DictConfig) -> Describer | None:
    """Returns the chosen encoder as a describer of photos; None for colour and texture."""
    chosen = config.get("encoder") or {}
    if chosen.get("name") is None:
        if idle := [f"encoder.{key}={value}" for key, value in chosen.items() if value]:
            raise ConfigError(f"{idle[0]}: nothing reads this without encoder=NAME; choose one, or leave it out")
        return None
    import torch

    from unimatch.models import build_encoder
    from unimatch.selection import EncoderDescriber

    settings: dict[str, Any] = plain(config.encoder)
    if settings["weights"] is None:
        raise ConfigError("encoder.weights=null: random weights describe nothing; without encoder= colours do")
    encoder = build_encoder(
        settings["name"],
        settings["weights"],
        position_embedding=settings["position_embedding"],
        options=settings["options"],
    )
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(automatic if config.device == "auto" else config.device)
    return EncoderDescriber(encoder.eval().to(device), settings["name"])


def draw(
    path: Path, chosen: Sequence[Path], titles: Sequence[str], picture: Callable[[Path], ImageArray] = read_image
) -> None:
    """Draws the chosen photos, the best first; ``picture`` reads the picture of a photo."""
    import cv2

    cells = []
    for number, (file, title) in enumerate(zip(chosen[:SHOWN], titles, strict=False), start=1):
        image = picture(file)
        scale = 320 / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        cells.append(Cell(cv2.resize(image, size, interpolation=cv2.INTER_AREA), f"{number}. {title[-36:]}"))  # type: ignore[arg-type]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    save_figure(path, rows, [], columns=COLUMNS, size=(2.4 * COLUMNS, 2.0 * len(rows) + 0.2), sizes=(6.5, 7))


def hand_over(out: Path, how: str, chosen: Sequence[Path], names: Sequence[str]) -> None:
    """Copies the chosen photos into ``photos/`` or ``photos.zip``; those of an earlier choice are removed."""
    for name in ("photos", "photos.zip"):
        remove(out / name)
    if how == "folder":
        for path, name in zip(chosen, names, strict=True):
            with path.open("rb") as photo:
                write_output(out / "photos" / name, functools.partial(shutil.copyfileobj, photo))
    elif how == "zip":

        def write(file: Any) -> None:
            with zipfile.ZipFile(file, "w") as archive:  # photos are compressed already
                for path, name in zip(chosen, names, strict=True):
                    archive.write(path, name)

        replace_file(out / "photos.zip", write)


def report(found: Selection, photos: Photos, out: Path) -> str:
    """Returns a summary of the choice, and what to do next."""
    pool = len(photos.files) - len(found.given)
    given = f" without labels ({len(found.given)} have labels)" if found.given else ""
    lines = [f"{out}: {len(found.chosen)} of the {pool} photos{given}, described by {found.by}"]
    if found.by == "colour and texture":
        lines.append(
            "encoder=vits describes them better; it needs DINOv2's weights (encoder.weights=pretrained or a file)"
        )
    for path, reason in list(found.left_out.items())[:5]:
        lines.append(f"left out: {path}: {reason.removeprefix(f'{path}: ')}")
    if len(found.left_out) > 5:
        lines.append(f"and {len(found.left_out) - 5} more that cannot be read")
    lines.append("label them, then: python -m unimatch.labels from=EXPORT to=FOLDER")
    return "\n".join(map(one_line, lines))


class Called(ModuleType):
    """A module that can be called: ``unimatch.select(...)`` is the function, whether or not this module is loaded."""

    __call__ = staticmethod(select_photos)


sys.modules[__name__].__class__ = Called

main = command("select")(select)

if __name__ == "__main__":
    main()
