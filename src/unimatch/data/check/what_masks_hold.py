"""Tells what masks store whose classes have no names yet, and suggests a ``classes.txt`` for them."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from unimatch.data.catalog import CAMVID, CITYSCAPES, PASCAL, Color
from unimatch.data.parallel import for_each
from unimatch.data.sets.own_folders import Place, place_of, training_place
from unimatch.data.sources.mask_values import count_ids, pack, unpack
from unimatch.data.sources.one_folder import photos_and_masks
from unimatch.errors import DataError
from unimatch.images.arrays import colors_of, ids_of, opened
from unimatch.images.folders import find_images
from unimatch.safe_text import to_type
from unimatch.types import IGNORE_INDEX
from unimatch.wording import counted

MOST_COLORS = 512
"""The most colours of a mask that are counted: the most frequent ones."""
SAMPLE = 2**18
"""About how many pixels are counted of a mask that holds too many ids to be classes."""
MOST_CLASS_COLORS = 24
"""If masks have more colours than this, the rare ones, and those near a more frequent one, come from blurred edges or
JPEG and not from classes."""
RARE = 0.0005
"""The share of all pixels below which a colour is rare."""
NEAR = 48
"""The difference in each channel below which two colours are near each other."""
ONE_CLASS = (
    "All masks show one class alone, or none (255 and what is transparent are no class), so nothing can be learned: "
    "are they the right ones?"
)
BINARY_SETTING = "dataset.ids={0:0,255:1}"
"""The setting that reads masks of 0 and 255."""
IGNORED_COLORS: frozenset[Color] = frozenset({(0, 0, 0), (224, 224, 192), (255, 255, 255)})
"""Colours of pixels without a class in published data sets."""

Kind = Literal["ids", "colours", "unreadable"]
KINDS: dict[Kind, str] = {
    "ids": "of one number a pixel (grey or palette)",
    "colours": "in colours (RGB)",
    "unreadable": "that cannot be read",
}


class Mask(NamedTuple):
    """The content of one mask."""

    kind: Kind
    pixels: dict[int, int]
    """The pixels of each id, or of each packed colour."""
    grey: bool = False
    """Whether it is stored as colours that are all grey, which may be ids or colours."""
    why: str = ""
    """Why it cannot be read, if it cannot."""


@dataclass
class Held:
    """The content of all masks, by its kind."""

    files: dict[Kind, list[str]] = field(default_factory=dict)
    pixels: dict[Kind, Counter[int]] = field(default_factory=dict)
    """The pixels of each id or packed colour."""
    masks: dict[Kind, Counter[int]] = field(default_factory=dict)
    """The number of masks that show each id or packed colour."""
    why: str = ""
    """Why the first unreadable mask cannot be read."""

    @property
    def mixed(self) -> bool:
        """Whether some masks store ids and others colours."""
        return {"ids", "colours"} <= self.files.keys()


def masks_below(root: Path, train: Place | None = None, mask_suffix: str = "") -> list[Path]:
    """Returns the masks of training and validation images in the folders of ``dataset=folder``.

    Args:
        root: the data set's folder.
        train: the folders of its training images and their masks; by default they are found by their names.
        mask_suffix: what names of masks end with, if they lie beside the images.
    """
    found: list[Path] = []
    for images, masks in filter(None, (train or training_place(root), place_of(root, "val"))):
        with suppress(DataError):  # no such folder, or nothing in it
            together = images == masks
            names = photos_and_masks(root, masks, mask_suffix)[1] if together else find_images(root / masks, masks=True)
            found += [root / masks / name for name in names]
    return found


def look(paths: Sequence[Path], *, workers: int | None = None, progress: bool = True) -> Held:
    """Reads masks, and counts what they store."""
    masks = list(for_each(read, None, paths, workers=workers, title="masks" if progress else "", unit="mask"))
    colored = any(mask.kind == "colours" and not mask.grey for mask in masks)
    held = Held()
    for path, mask in zip(paths, masks, strict=True):
        kind, pixels = mask.kind, mask.pixels
        if mask.grey and not colored:
            kind, pixels = "ids", {code & 255: number for code, number in pixels.items()}
        held.files.setdefault(kind, []).append(str(path))
        held.why = held.why or mask.why
        held.pixels.setdefault(kind, Counter()).update(pixels)
        held.masks.setdefault(kind, Counter()).update(pixels.keys())
    return held


def read(_: None, path: Path) -> Mask:
    """Reads one mask."""
    try:
        with opened(path, "a mask") as image:
            colored = image.mode in ("RGB", "RGBA", "CMYK")
            mask = colors_of(image, path) if colored else ids_of(image, path)
    except DataError as error:
        return Mask("unreadable", {}, why=str(error))
    values = (
        mask.values.reshape(-1, *mask.values.shape[2:]) if mask.transparent is None else mask.values[~mask.transparent]
    )
    stored = pack(values) if colored else values
    if not colored and count_ids(stored) is None:  # they are no classes, and a sample tells enough
        stored = stored[:: ceil(stored.size / SAMPLE)]
    found, counts = np.unique(stored, return_counts=True)
    order = np.argsort(-counts)[:MOST_COLORS]
    grey = colored and bool((values == values[..., :1]).all())
    return Mask("colours" if colored else "ids", dict(zip(found[order].tolist(), counts[order].tolist())), grey)  # noqa: B905


class Advice(NamedTuple):
    """What to tell the user about masks."""

    lines: list[str]
    """The text to print."""
    classes: str
    """The content of a fitting ``classes.txt``; empty if it cannot be told."""
    settings: tuple[str, ...] = ()
    """The settings with which the masks can be read."""


def advise(held: Held, where: str) -> Advice:
    """Returns what the masks store, and a ``classes.txt`` for them.

    Args:
        held: what was counted in them.
        where: their folder, for messages.
    """
    first = {kind: held.why if kind == "unreadable" else files[0] for kind, files in held.files.items()}
    lines = [
        f"{where}: {counted(len(held.files[kind]), 'mask')} {meaning}; the first is {first[kind]}"
        for kind, meaning in KINDS.items()
        if kind in held.files
    ]
    if held.mixed:
        fewer = min(held.files["colours"], held.files["ids"], key=len)
        lines.append(f"All masks must be of one kind. Save these {len(fewer)} as the others are:")
        lines += [f"    {name}" for name in fewer[:5]]
        if len(fewer) > 5:
            lines.append(f"    and {len(fewer) - 5} more")
    if "colours" in held.files and len(held.files["colours"]) >= len(held.files.get("ids", ())):
        return of_colors(held, lines)
    return of_ids(held, lines) if "ids" in held.files else Advice(lines, "")


def of_colors(held: Held, lines: list[str]) -> Advice:
    """Returns the advice for masks in colours."""
    pixels, masks = held.pixels["colours"], held.masks["colours"]
    total, common = pixels.total(), [code for code, _ in pixels.most_common()]
    if len(common) > MOST_CLASS_COLORS:
        common = apart([code for code in common if pixels[code] >= RARE * total])
    rest = total - sum(pixels[code] for code in common)
    if rest > total / 2:
        lines.append(
            "More than half of their pixels have other colours than the common ones: are these masks, or photos?"
        )
        return Advice(lines, "")
    if len(common) < 2:
        return Advice([*lines, ONE_CLASS], "")
    colors: dict[int, Color] = {}
    for code in common:
        red, green, blue = code.to_bytes(3)
        colors[code] = (red, green, blue)
    names, ignored = names_of(list(colors.values()))
    lines.append(f"{len(common)} colours, by their share of the pixels:")
    for code in common:
        color = colors[code]
        share, where = f"{100 * pixels[code] / total:6.2f} %", counted(masks[code], "mask")
        lines.append(f"    {' '.join(map(str, color)):<12}{share}  in {where}  {names.get(color, 'no class')}")
    settings = ["dataset.colors=palette"]
    if ignored:
        listed = ",".join(f"[{','.join(map(str, color))}]" for color in ignored)
        settings.append(f"dataset.ignore_colors=[{listed}]")
    if rest:
        settings.append("dataset.unknown_values=nearest")
        lines.append(
            f"Other colours have {100 * rest / total:.2f} % of the pixels, as blurred edges and JPEG leave them; "
            "dataset.unknown_values=nearest gives each the class of the nearest colour."
        )
    lines.append(to_add(settings))
    classes = "".join(f"{' '.join(map(str, color))} {name}\n" for color, name in names.items())
    return Advice(lines, classes, tuple(settings))


def to_add(settings: Sequence[str]) -> str:
    """Writes the line that tells which settings to add to commands."""
    return f"Add to your commands: {to_type(*settings)}"


def apart(codes: Sequence[int]) -> list[int]:
    """Returns the packed colours that are not near any colour kept before them."""
    kept: list[int] = []
    for code in codes:
        if not kept or (abs(unpack(np.array(kept)) - unpack(np.array([code]))).max(axis=1) >= NEAR).all():
            kept.append(code)
    return kept


def names_of(colors: Sequence[Color]) -> tuple[dict[Color, str], list[Color]]:
    """Names colours after the classes of a published data set that has most of them; else by numbers.

    Other colours get numbers too, and then only those classes of the data set are named that the masks show. Without
    such a data set, black is the background.

    Returns:
        The names in the order of the classes, and those of the data set's colours that mean no class.
    """
    for info in (CAMVID, CITYSCAPES, PASCAL):
        known = dict(zip(info.palette, info.classes, strict=True))
        ignored = [color for color in colors if color not in known and color in IGNORED_COLORS]
        others = [color for color in colors if color not in known and color not in IGNORED_COLORS]
        shared = len(colors) - len(ignored) - len(others)
        if shared >= max(4, 4 * len(others)):
            named = {color: name for color, name in known.items() if not others or color in colors}
            return named | {color: f"class_{i}" for i, color in enumerate(others, len(named))}, ignored
    ordered = sorted(colors, key=lambda color: (color != (0, 0, 0), colors.index(color)))
    return {color: "background" if color == (0, 0, 0) else f"class_{i}" for i, color in enumerate(ordered)}, []


def of_ids(held: Held, lines: list[str]) -> Advice:
    """Returns the advice for masks of ids."""
    pixels, masks = held.pixels["ids"], held.masks["ids"]
    stored, total = sorted(pixels), pixels.total()
    lines.append(f"{len(stored)} numbers: the number, its share of the pixels, and the masks that show it:")
    lines += [f"    {i:<6}{100 * pixels[i] / total:6.2f} %  in {counted(masks[i], 'mask')}" for i in stored[:40]]
    if len(stored) > 40:
        lines.append(f"    and {len(stored) - 40} more: are these masks, or photos?")
        return Advice(lines, "")
    named = [i for i in stored if i != IGNORE_INDEX]
    if len(named) < 2 and stored != [0, IGNORE_INDEX]:
        return Advice([*lines, ONE_CLASS], "")
    if stored == [0, IGNORE_INDEX]:
        lines.append(f"{to_add([BINARY_SETTING])} (without it, 255 counts as no class)")
        return Advice(lines, "background\nclass_1\n", (BINARY_SETTING,))
    if IGNORE_INDEX in stored:
        lines.append("255 stands for pixels that do not count, unless dataset.ids says otherwise.")
    if named == [*range(1, len(named) + 1)]:
        lines.append(
            "No mask shows 0. If it never means a class, add dataset.reduce_zero_label=true to your commands and leave "
            "out the first line below: classes then count from 1, and 0 is no class."
        )
    if named and named[-1] < max(2 * len(named), 16):
        return Advice(lines, "".join(f"class_{i}\n" for i in range(named[-1] + 1)))
    setting = f"dataset.ids={{{','.join(f'{i}:{place}' for place, i in enumerate(named))}}}"
    lines.append(to_add([setting]))
    return Advice(lines, "".join(f"class_{i}\n" for i in named), (setting,))
