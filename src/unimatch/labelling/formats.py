"""Reading and writing labels: which formats there are, and how their classes get ids."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from unimatch.data.catalog import Color, distinct_colors
from unimatch.data.prepare.archives import Member
from unimatch.data.sets.class_names import read_classes
from unimatch.data.sources.dates import AFTER, BEFORE
from unimatch.errors import ConfigError, DataError
from unimatch.labelling import (
    coco,
    folder,
    kaggle,
    label_studio,
    labelme,
    merging,
    pairs,
    roboflow,
    supervisely,
    voc,
    yolo,
)
from unimatch.labelling.photos import Photo, Photos
from unimatch.labelling.records import BACKGROUNDS, IGNORE, Drawable, Found, LabelledImage, Labels, Painted, Regions
from unimatch.labelling.source import Source, head
from unimatch.labelling.writer import Job, write_all
from unimatch.texts import one_line

log = logging.getLogger("unimatch")

FORMATS: dict[str, ModuleType] = {
    "folder": folder,
    "pairs": pairs,
    "cvat": voc,
    "voc": voc,
    "roboflow": roboflow,
    "supervisely": supervisely,
    "yolo": yolo,
    "coco": coco,
    "labelme": labelme,
    "labelstudio": label_studio,
    "kaggle": kaggle,
}
"""What can be read. A module has ``find``, ``read`` and, if it can be written, ``write_image`` and ``finish``."""

TOOLS = ("coco", "cvat", "labelme", "labelstudio")
"""What can be written besides ``folder`` and ``pairs``."""

MASKS = re.compile(r"(^|/)(Segmentation(Class|Object)\w*|masks?)/|(^|/)task-\d+-annotation-")
"""Images that are no photos."""
CALLED_MASK = re.compile(r"_mask\.\w+$")
"""Images that are no photos unless a label file names them: of faces with masks, say."""

UNREAD = (
    (
        r"\s*(<\?xml.*?>)?\s*<annotations>",
        "CVAT's XML; export it as 'Segmentation mask 1.1' in place of 'CVAT for images'",
    ),
    (r"\s*(<\?xml.*?>)?\s*<annotation>.*<bndbox>", "XML of boxes, which say nothing of the pixels in them"),
    (r'\s*\[\s*\{.*"(annotation_id|annotator)"', "Label Studio's short JSON; export it there as JSON"),
    (r'\s*\{.*"(_via_img_metadata|shape_attributes)"', "VGG Image Annotator's; export it there in the COCO format"),
    (
        r'\s*[\[{].*"type"\s*:\s*"Feature',
        "GeoJSON, as of QuPath; export labelled images, masks of class ids, in its place",
    ),
)
"""How files of other tools begin, what they are and what to do."""

MOST_CLASSES = 255
"""As many as fit an 8-bit mask."""


def read(
    source: str | Path,
    *,
    format: str = "auto",
    images: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    background: str | None = "background",
    negatives: bool = False,
) -> Labels:
    """Reads the labels that a tool has exported. Masks are drawn when they are asked for.

    Ids are those of ``classes``. Otherwise ``background`` is class 0, where the format has pixels that nobody labelled
    or names it; then come the classes that the export lists, in its order; then other names, sorted.

    Args:
        source: the export: a folder, a zip archive or one file.
        format: one of :data:`FORMATS`, or ``auto``.
        images: the folder of photos, where the export has none.
        classes: names in the order of their ids, or a file of them; a label of any other name is an error.
        background: the class of pixels that nobody labelled; with None, or where ``classes`` does not name it, such
            pixels are not counted (255).
        negatives: photos that the export lists without any annotation are background from edge to edge;
            otherwise they count as unlabelled.

    Returns:
        The photos in the order of their names.

    Raises:
        DataError: the export is damaged, of no known format, or lacks a photo.
        ConfigError: there is no such format.
    """
    export = Source(Path(source).expanduser())
    module, files = format_of(export, format)
    pool = export if images is None else Source(Path(images).expanduser())
    found: Found = module.read(export, files, photos_of(pool))
    if not any(image.labels is not None for image in found.images):
        raise DataError(f"{source}: no photo in it is labelled; export the annotations, not the photos alone")
    names, colors = class_order(found, classes, background)
    meant = (background, *BACKGROUNDS) if background in BACKGROUNDS else (background,)
    kept = next((name for name in meant if name in names), None)
    pictures = sorted(once_each(found.images), key=lambda image: (image.part, image.name))
    if negatives and kept is not None:
        pictures = [
            replace(image, labels=Regions(())) if image.labels is None and image.where else image for image in pictures
        ]
    held = [image for image in pictures if image.labels is None and image.where and image.part != "train"]
    if held:
        log.warning(
            "%d photos of val or test have no annotation, such as %s: they become unlabelled ones to train on; "
            "negatives=true makes them background and leaves them there",
            *(len(held), held[0].name),
        )
    return Labels(pictures, names, colors, kept)


def photos_of(pool: Source) -> Photos:
    """Returns the photos among the images of an export, or of another folder."""
    images = [member for member in pool.images() if not MASKS.search(member.name)]
    return Photos(
        (member for member in images if not CALLED_MASK.search(member.name)),
        called_masks=(member for member in images if CALLED_MASK.search(member.name)),
    )


def once_each(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """Returns the images, each photo once: labelled, where one of several label files labels it.

    Raises:
        DataError: a photo is labelled twice: it would be trained on and validated with, or become two.
    """
    kept: dict[Photo, LabelledImage] = {}
    for image in images:
        before = kept.setdefault(image.photo, image)
        if before is image or image.labels is None:
            continue
        if before.labels is None:
            kept[image.photo] = image
        else:
            parts = f", once for {before.part} and once for {image.part}" if before.part != image.part else ""
            raise DataError(
                f"{image.where}: {image.name}: its photo {image.photo.name} is labelled in {before.where} too{parts}; "
                "remove it from one of the two, or give one label file or folder at a time"
            )
    return list(kept.values())


def format_of(export: Source, name: str) -> tuple[ModuleType, list[Member]]:
    """Returns the module that reads an export, and the files to begin with.

    Raises:
        DataError: nothing or too much fits.
        ConfigError: there is no such format.
    """
    if name != "auto":
        if name not in FORMATS:
            raise ConfigError(f"format={name}: must be auto or one of {', '.join(FORMATS)}")
        files = FORMATS[name].find(export)
        if not files:
            raise DataError(f"{export.path}: holds nothing in the format {name}; leave out format=, or name another")
        return FORMATS[name], files
    fitting = {name: files for name, module in FORMATS.items() if name != "voc" and (files := module.find(export))}
    if not fitting:
        raise DataError(f"{export.path}: {not_known(export)}")
    if len(fitting) > 1:
        raise DataError(f"{export.path}: may be {' or '.join(fitting)}; choose with format=NAME")
    ((name, files),) = fitting.items()
    return FORMATS[name], files


def not_known(export: Source) -> str:
    """Says what an export is that is in none of the :data:`FORMATS`, and what to do about it."""
    for member in export.matching(r"[^/]+\.(xml|json|geojson)"):
        text = head(member)
        for form, what in UNREAD:
            if re.match(form, text, re.DOTALL):
                return f"{member.name} is {what}"
    return (
        f"of no known format; known are {', '.join(FORMATS)}; docs/labelling.md says what each looks like; most tools "
        "export COCO too"
    )


def class_order(
    found: Found, classes: str | Path | Sequence[str] | None, background: str | None
) -> tuple[tuple[str, ...], tuple[Color, ...] | None]:
    """Returns the classes in the order of their ids, and their colours if the export has any.

    Raises:
        DataError: there are too many, or one has no name that can be written.
    """
    stated = dict(found.classes)
    used = {name for image in found.images for name in label_names(image.labels)} - stated.keys()
    stated |= dict.fromkeys(sorted(used))
    stated.pop(IGNORE, None)
    for name in stated:
        if not name.strip() or one_line(name) != name:
            raise DataError(f"the class {name!r}: a name is needed, without control characters; rename it in the tool")
    if background is not None:
        alike = [name for name in stated if name == background or name in BACKGROUNDS]
        if alike or found.drawn:
            color = next((stated.pop(name) for name in alike), None)
            stated = {background: color, **{name: stated[name] for name in stated if name not in alike}}
    if classes is not None:
        given = read_classes(classes)
        return given.names, given.colors
    if len(stated) > MOST_CLASSES:
        raise DataError(f"{len(stated)} classes: at most {MOST_CLASSES} fit an 8-bit mask; join some in the tool")
    if not any(stated.values()):
        return tuple(stated), None
    spare = iter(distinct_colors(len(stated) + MOST_CLASSES))
    taken = set(stated.values())
    return tuple(stated), tuple(color or next(c for c in spare if c not in taken) for color in stated.values())


def label_names(labels: Drawable | None) -> Iterable[str]:
    """Returns the classes that the labels of a photo may have."""
    if isinstance(labels, Regions):
        return {region.label for region in labels.items}
    return labels.names.values() if isinstance(labels, Painted) else ()


def write(
    labels: Labels,
    to: str | Path,
    *,
    format: str = "folder",
    tolerance: float = 0.5,
    shapes: str = "polygons",
    url: str = "/data/local-files/?d=",
    first_dates: str | Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
) -> None:
    """Writes labels: for training (``folder``), or as pre-annotations for a tool, where people correct them.

    All is written into a passing folder first: after an error nothing is there.

    Args:
        labels: what :func:`read` gives. Photos that nobody has labelled go to ``unlabeled/``; tools do not get them.
        to: the folder to write.
        format: ``folder``, ``pairs`` or one of :data:`TOOLS`. In pairs, for change detection, the photos are those of
            the second date, and every class but the background is written as changed.
        tolerance: by how many pixels polygons may leave the edge of their region, to have fewer points; 0 for none.
        shapes: ``polygons``, where only regions with holes are written as masks; or ``masks`` for all.
        url: what comes before ``images/NAME`` where Label Studio is to fetch a photo.
        first_dates: of ``pairs``, the folder of each photo's first date, which has the photo's name.
        overwrite: whether files of the same names may be replaced in a folder that is there; the others stay. Without
            it, labels are still added to a data set that has none of these photos labelled: its ``classes.txt`` has
            the same classes, or the first of them. A photo that is now labelled leaves its ``unlabeled/``.
        workers: processes; None for one per core.

    Raises:
        DataError: labels cannot be drawn, the folder is there already and no data set, is of other classes, or has
            masks of these photos.
        ConfigError: an argument is none of those named.
    """
    if format not in ("folder", "pairs", *TOOLS):
        raise ConfigError(f"format={format}: must be folder, pairs or one of {', '.join(TOOLS)}")
    if (format == "pairs") != (first_dates is not None):
        raise ConfigError(
            f"first_dates={first_dates}: the folder of first dates goes with format=pairs, and not with others"
        )
    if shapes not in ("polygons", "masks"):
        raise ConfigError(f"shapes={shapes}: must be polygons or masks")
    if not 0 <= tolerance < 100:
        raise ConfigError(f"tolerance={tolerance}: must be a number of pixels from 0 up")
    target, module = Path(to).expanduser(), FORMATS[format]
    images = [image for image in labels.images if image.labels is not None or format not in TOOLS]
    adds = format == "folder" and (overwrite or merging.can_be_added_to(target))
    if format == "folder" and (target / "classes.txt").is_file():
        there = read_classes(target / "classes.txt").names
        if there != labels.classes[: len(there)]:
            raise DataError(
                f"{target / 'classes.txt'}: names the classes {', '.join(there)}, and the labels have "
                f"{', '.join(labels.classes)}; give classes={target / 'classes.txt'}"
            )
    if adds and target.is_dir():
        images = merging.under_known_names(target, images)
        known = merging.labelled_before(target, images)
        if known and not overwrite:
            raise DataError(
                f"{target}: {len(known)} of these photos are labelled there already ({', '.join(known[:3])}"
                f"{', ...' if len(known) > 3 else ''}); overwrite=true replaces their masks"
            )
        images = merging.without_known(target, images)
        merging.check_ids(target, labels.classes, images)
    job = Job(replace(labels, images=()), target, tolerance, shapes, url)
    if format == "folder":
        job = replace(job, places={part: merging.place_in(target, part) for part in {image.part for image in images}})
    if first_dates is not None:
        pairs.check_classes(labels)
        job = replace(job, first_dates=pairs.first_dates(images, Path(first_dates).expanduser()))
    write_all(job, images, module.write_image, module.finish, overwrite=overwrite or adds, workers=workers)
    if format == "folder":
        if overwrite:
            merging.remove_replaced(target, images)
        merging.leave_the_pool(target, images)
    for date in (BEFORE, AFTER) if format == "pairs" else ():
        merging.leave_the_pool(target, images, date)
