"""Converts published archives into the folders that :mod:`unimatch.data.sets.segmentation` reads."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unimatch.data.prepare import ade20k, cityscapes, coco, pascal
from unimatch.data.prepare.archives import Archive, Published
from unimatch.data.prepare.download import fetch, size_of
from unimatch.data.prepare.parallel_writes import Job, Outcome, run
from unimatch.errors import ConfigError, DataError

log = logging.getLogger("unimatch")

SCRATCH = ".prepare"
"""A folder below the root for files that are only needed during preparation."""


@dataclass(frozen=True)
class Recipe:
    """How a data set is prepared."""

    archives: tuple[Archive, ...]
    jobs: Callable[[Published], list[Job]]
    """Returns the files to write."""


RECIPES = {
    "ade20k": Recipe(ade20k.ARCHIVES, ade20k.jobs),
    "cityscapes": Recipe(cityscapes.ARCHIVES, cityscapes.jobs),
    "coco": Recipe(coco.ARCHIVES, coco.jobs),
    "pascal": Recipe(pascal.ARCHIVES, pascal.jobs),
}


def convert_archives(
    dataset: str,
    source: Path,
    root: Path,
    *,
    download: bool = False,
    extra: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> Outcome:
    """Converts a data set's published archives, or the files unpacked from them, into the folders of its layout.

    After an interruption, the same call continues the work.

    Args:
        dataset: a key of :data:`RECIPES`.
        source: the folder of the archives.
        root: the folder to write; may be the source, if images lie in their places already.
        download: whether to download missing archives that need no account.
        extra: whether to download optional archives too.
        overwrite: whether to write existing files anew.
        workers: processes; None for one per core.

    Raises:
        ConfigError: the data set needs no preparation.
        DataError: an archive is missing or damaged, a file is in the way, or the disk has too little room.
    """
    if dataset not in RECIPES:
        raise ConfigError(f"dataset={dataset}: nothing to prepare; there are: {', '.join(RECIPES)}")
    recipe = RECIPES[dataset]
    if download:
        for archive in recipe.archives:
            if archive.url is not None and (archive.required or extra):
                fetch(archive, source)
    if not source.is_dir():
        raise DataError(f"source={source}: no such folder (looked at {source.resolve()})")
    for archive in recipe.archives:
        size = size_of(source / archive.name)
        if size and archive.size not in (None, size):
            log.warning("%s has %d bytes, the published file %d", source / archive.name, size, archive.size)
    scratch = root / SCRATCH
    published = Published(source, recipe.archives, root, scratch)
    jobs = recipe.jobs(published)
    seen: set[str] = set()
    for job in jobs:
        if job.target in seen:
            raise DataError(f"{source}: two of its files would become {job.target}; leave one copy of the data set")
        seen.add(job.target)
    outcome = run(
        jobs, root, {"dataset": dataset, "archives": sorted(published.found)}, overwrite=overwrite, workers=workers
    )
    shutil.rmtree(scratch, ignore_errors=True)
    return outcome
