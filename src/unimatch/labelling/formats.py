"""Reads and writes labels in any format, and gives their classes ids."""

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
    mask_files,
    merging,
    pairs,
    roboflow,
    supervisely,
    voc,
    yolo,
)
from unimatch.labelling.export_files import Source, head
from unimatch.labelling.photos import Photo, Photos
from unimatch.labelling.records import BACKGROUNDS, IGNORE, Drawable, Found, LabelledImage, Labels, Painted, Regions
from unimatch.labelling.writer import Job, write_all
from unimatch.safe_text import one_line

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
    "masks": mask_files,
}
"""The formats that can be read. A module has ``find`` and ``read``; where its format can be written too, also
``write_image`` and ``finish``."""

TOOLS = ("coco", "cvat", "labelme", "labelstudio")
"""The formats that can be written besides ``folder`` and ``pairs``."""

MASK_PATH = re.compile(r"(^|/)(Segmentation(Class|Object)\w*|masks?)/|(^|/)task-\d+-annotation-")
"""Paths of images that are masks."""
MASK_FILE = re.compile(r"_mask\.\w+$")
"""Names of images that are masks unless a label file names them: they may be photos of faces with masks."""

UNREAD_FORMATS = (
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
"""Regular expressions for the beginning of other tools' files, what they are, and what to do."""

MOST_CLASSES = 255
"""The most classes that fit an 8-bit mask, besides 255."""


def read(
    source: str | Path,
    *,
    format: str = "auto",
    images: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    background: str | None = "background",
    negatives: bool = False,
) -> Labels:
    """Reads the labels that a tool has exported. Masks are drawn only when :meth:`Labels.mask` is called.

    Ids are those of ``classes``, if given. Otherwise class 0 is ``background``, if the export names it or may have
    pixels that nobody labelled; the classes that the export lists follow in its order, then all other names, sorted.

    Args:
        source: the export: a folder, a zip archive or one file.
        format: one of :data:`FORMATS`, or ``auto``.
        images: the folder or archive of the photos, if the export does not hold them.
        classes: names in the order of their ids, or a file of them; a label of any other name is an error.
        background: the class of pixels that nobody labelled; with None, or if ``classes`` does not name it, they are
            ignored (255).
        negatives: whether photos that the export lists without annotations are background as a whole; otherwise they
            are unlabelled.

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
    labelled = any(image.labels is not None for image in found.images)
    listed_only = not labelled and any(map(is_negative, found.images))
    if not labelled and not (negatives and listed_only):
        hint = "; if they are background all over, negatives=true" if listed_only else ""
        raise DataError(f"{source}: no photo in it is labelled; export the annotations, not the photos alone{hint}")
    names, colors = class_order(found, classes, background)
    synonyms = (background, *BACKGROUNDS) if background in BACKGROUNDS else (background,)
    background = next((name for name in synonyms if name in names), None)
    listed = sorted(once_each(found.images), key=lambda image: (image.part, image.name))
    if negatives and background is not None:
        listed = [replace(image, labels=Regions(())) if is_negative(image) else image for image in listed]
    elif listed_only:
        raise DataError(
            f"{source}: no photo in it is labelled, and there is no class for negatives; set background=CLASS"
        )
    moved = [image for image in listed if is_negative(image) and image.part != "train"]
    if moved:
        log.warning(
            "%d photos of val or test have no annotation, such as %s: they become unlabelled ones to train on; "
            "negatives=true makes them background and leaves them there",
            len(moved),
            moved[0].name,
        )
    return Labels(listed, names, colors, background)


def is_negative(image: LabelledImage) -> bool:
    """Tells whether a label file lists a photo without any annotation."""
    return image.labels is None and bool(image.where)


def photos_of(pool: Source) -> Photos:
    """Returns the photos among the images of an export, or of another folder."""
    images = [member for member in pool.images() if not MASK_PATH.search(member.name)]
    return Photos(
        (member for member in images if not MASK_FILE.search(member.name)),
        called_masks=(member for member in images if MASK_FILE.search(member.name)),
    )


def once_each(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """Returns the images with each photo once: the labelled entry, if several label files list the photo.

    Raises:
        DataError: a photo is labelled twice, so that it could be both trained on and validated with.
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
    """Returns the module that reads an export, and the files that its ``find`` returns.

    Raises:
        DataError: no format, or several of them, fit.
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
        fitting.pop("masks", None)  # the other one describes the same masks
    if len(fitting) > 1:
        raise DataError(f"{export.path}: may be {' or '.join(fitting)}; choose with format=NAME")
    ((name, files),) = fitting.items()
    return FORMATS[name], files


def not_known(export: Source) -> str:
    """Says, for a message, what an export in none of the :data:`FORMATS` is, and what to do."""
    for member in export.matching(r"[^/]+\.(xml|json|geojson)"):
        text = head(member)
        for form, what in UNREAD_FORMATS:
            if re.match(form, text, re.DOTALL):
                return f"{member.name} is {what}"
    return (
        f"of no known format; known are {', '.join(FORMATS)}; docs/labelling.md says what each looks like; most tools "
        "export COCO too"
    )


def class_order(
    found: Found, classes: str | Path | Sequence[str] | None, background: str | None
) -> tuple[tuple[str, ...], tuple[Color, ...] | None]:
    """Returns the classes in the order of their ids, and their colours if the export gives any.

    Raises:
        DataError: there are too many classes, or the name of one is empty or has control characters.
    """
    color_of = dict(found.classes)
    used = {name for image in found.images for name in label_names(image.labels)} - color_of.keys()
    color_of |= dict.fromkeys(sorted(used))
    color_of.pop(IGNORE, None)
    for name in color_of:
        if not name.strip() or one_line(name) != name:
            raise DataError(f"the class {name!r}: a name is needed, without control characters; rename it in the tool")
    if background is not None:
        synonyms = [name for name in color_of if name == background or name in BACKGROUNDS]
        if synonyms or found.drawn:
            color = color_of[synonyms[0]] if synonyms else None
            color_of = {background: color, **{name: color_of[name] for name in color_of if name not in synonyms}}
    if classes is not None:
        given = read_classes(classes)
        return given.names, given.colors
    if len(color_of) > MOST_CLASSES:
        raise DataError(f"{len(color_of)} classes: at most {MOST_CLASSES} fit an 8-bit mask; join some in the tool")
    taken = set(color_of.values())
    if not any(taken):
        return tuple(color_of), None
    spare = (color for color in distinct_colors(len(color_of) + MOST_CLASSES) if color not in taken)
    return tuple(color_of), tuple(color or next(spare) for color in color_of.values())


def label_names(labels: Drawable | None) -> Iterable[str]:
    """Returns the names of the classes that the labels of a photo may use."""
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
    """Writes labels: for training (``folder`` or ``pairs``), or for a tool, as pre-annotations to correct.

    Everything is written into a temporary folder first: an error leaves nothing behind.

    Args:
        labels: what :func:`read` returns. Photos without labels go to ``unlabeled/``; tools do not get them.
        to: the folder to write.
        format: ``folder``, ``pairs`` or one of :data:`TOOLS`. In pairs, for change detection, the photos are those of
            the second date, and every class but the background is written as changed.
        tolerance: how far polygons may be from the edge of their region, in pixels, to have fewer points; 0 for exact
            ones.
        shapes: ``polygons``, so that only regions with holes are written as masks; or ``masks`` for all regions.
        url: what comes before ``images/NAME`` in the URL from which Label Studio fetches a photo.
        first_dates: the folder of the first dates for ``pairs``; each has the name of its photo.
        overwrite: whether files of the same names may be replaced in an existing folder; other files stay. Without it,
            labels can still be added to a data set in which none of these photos is labelled, and whose
            ``classes.txt`` has the same classes, or the first of them. Photos that are labelled now are removed from
            its ``unlabeled/``.
        workers: processes; None for one per core.

    Raises:
        DataError: labels cannot be drawn, or the folder exists and is no data set, has other classes, or has masks of
            these photos.
        ConfigError: an argument is not as described above.
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
    if adds and target.is_dir():
        images = merging.to_add(target, images, labels.classes, overwrite=overwrite)
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
