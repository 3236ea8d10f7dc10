"""Checks a data set completely: reads every image and label, and reports what would make training wrong."""

from collections.abc import Iterable

from unimatch.data.check.class_faults import empty_classes, has_one_class, two_classes
from unimatch.data.check.duplicates import copies, repeated, shared
from unimatch.data.check.findings import FAULTS, WARNINGS, Part, Report, collect
from unimatch.data.check.mask_faults import faults_together
from unimatch.data.check.near_copies import Thumbnail, look_alike
from unimatch.data.check.one_image import Reading, read
from unimatch.data.check.pair_faults import share_faults
from unimatch.data.parallel import for_each
from unimatch.data.sources.base import SegmentationData
from unimatch.data.sources.dates import PairSource
from unimatch.data.sources.masks import mask_reader


def full_check(
    data: SegmentationData,
    *,
    workers: int | None = None,
    progress: bool = True,
    notes: Iterable[tuple[str, str]] = (),
) -> Report:
    """Reads every image and label, and reports what is wrong with each of them and with all together.

    Args:
        data: the data set.
        workers: processes; None for one per core, 0 for this process alone.
        progress: whether to show progress bars.
        notes: kinds and texts of the warnings given while the files were looked for
            (:func:`unimatch.images.folders.notes_taken`).
    """
    sources = {"labelled": data.labeled, "unlabelled": data.unlabeled, "validation": data.val}
    if data.test is not None and data.test is not data.val:
        sources["test"] = data.test
    one_class = any(map(has_one_class, sources.values()))
    reader = None if one_class else mask_reader(data.info)
    parts = {name: Part.named(name, data.info.num_classes) for name in sources}
    found = list[tuple[str, str, str]]()

    def add(part: str, faults: Iterable[tuple[str, str]]) -> None:
        found.extend((kind, part, text) for kind, text in faults)

    add("files", notes)
    fingerprints: dict[str, list[bytes | None]] = {name: [] for name in sources}
    thumbnails: dict[str, list[Thumbnail | None]] = {name: [] for name in sources}
    for name, source in sources.items():
        title = f"{name} images" if progress else ""
        for reading in for_each(read, (source, reader), range(len(source)), workers=workers, title=title):
            if name == "unlabelled":
                faults = unlabeled_faults(reading, data)
            else:
                faults = [*reading.image_faults, *reading.label.faults]
                if reading.label.stored is None and not reading.label.faults and (one_class or name != "test"):
                    faults.append(("no class" if one_class else "no mask", source.name(parts[name].images)))
            part = parts[name]
            if faults:
                part.faulty.append(part.images)
            if reading.shape is not None:
                part.shapes[reading.shape] += 1
            part.count(reading.label)
            fingerprints[name].append(reading.fingerprint)
            thumbnails[name].append(reading.thumbnail)
            add(name, faults)
    masked = [parts["labelled"], parts["validation"]]
    for part in masked:
        if isinstance(sources[part.name], PairSource):
            add(part.name, share_faults(part))
        if one_class:
            add(part.name, two_classes(sources[part.name], fingerprints[part.name], data.info))
    if one_class:
        add("training", empty_classes([parts["labelled"], parts["unlabelled"]], data.info))
    found.extend((kind, part, text) for part, kind, text in faults_together(masked, data.info))
    for name in ("labelled", "unlabelled"):
        add(name, repeated(sources[name]))
        for held in ("validation", "test"):
            if held in sources:
                add(name, shared(sources[name], sources[held], fingerprints[name], fingerprints[held], held))
                add(name, look_alike(sources[name], sources[held], thumbnails[name], thumbnails[held], held))
    add("unlabelled", copies(data.labeled, data.unlabeled, fingerprints["labelled"], fingerprints["unlabelled"]))
    return Report(data.info, tuple(parts.values()), collect(found), one_class)


def unlabeled_faults(reading: Reading, data: SegmentationData) -> list[tuple[str, str]]:
    """Returns the faults of an unlabelled image, which needs no label and may be skipped."""
    skipped = data.on_bad_image == "skip"
    faults = [("image skipped" if skipped and kind in FAULTS else kind, text) for kind, text in reading.image_faults]
    faults += [(kind if kind in WARNINGS else "truth unusable", text) for kind, text in reading.label.faults]
    return faults
