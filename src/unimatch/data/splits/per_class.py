"""Chooses which images of a classification data set are labelled, which are not, and which are held out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import OnBadImage, SegmentationData, Source
from unimatch.data.sources.one_class import ClassArrays, ClassFiles, Joined, choose_per_class
from unimatch.errors import ConfigError
from unimatch.options import seed_of_numpy


class PerClassOptions(TypedDict, total=False):
    """The settings of all classification data sets; in YAML ``conf/dataset/_classification.yaml``."""

    labeled_per_class: Annotated[int | None, None, "number of labelled images of each class, None for all."]
    split_seed: Annotated[int, 0, "chooses the labelled images."]
    val_per_class: Annotated[
        int | None,
        0,
        "training images of each class that are held out for validation, on which the best step is chosen. With 0, "
        "and no validation images of its own, it is chosen on the test images, as in the published runs. None: 0, "
        "or 10 for an image folder without validation images.",
    ]
    unlabeled: Annotated[
        Literal["train", "rest"],
        "train",
        "the unlabelled pool: ``train``, all training images, the labelled ones included, as in the published "
        "runs; ``rest``, those that are not labelled. Images without a class belong to both.",
    ]


def choose_images(
    info: DatasetInfo,
    train: ClassArrays | ClassFiles,
    test: ClassArrays | ClassFiles | None,
    options: PerClassOptions,
    *,
    val: Source | None = None,
    extra: ClassArrays | ClassFiles | None = None,
    listed: Sequence[int] | None = None,
    held: Sequence[int] | None = None,
    on_bad_image: OnBadImage = "error",
) -> SegmentationData:
    """Chooses which of the training images are labelled, held out and unlabelled.

    Args:
        info: the data set's facts.
        train: the training images.
        test: the test images, if there are any.
        options: how to choose.
        val: the validation images, if they are not among the training images.
        extra: images without a class, which are added to the unlabelled ones.
        listed: indices of the labelled training images, instead of a number of images of each class.
        held: indices of the held-out training images, instead of a number of images of each class.
        on_bad_image: see :class:`unimatch.data.sources.base.SegmentationData`.

    Raises:
        ConfigError: a class has too few images, options contradict each other, or there are no images to validate on.
    """
    labeled_per_class, val_per_class = options["labeled_per_class"], options["val_per_class"] or 0
    unlabeled = options["unlabeled"]
    if unlabeled not in ("train", "rest"):
        raise ConfigError(f"unlabeled={unlabeled}: must be train or rest")
    if val_per_class < 0:
        raise ConfigError(f"val_per_class={val_per_class}: must be at least 0")
    if listed is not None and (labeled_per_class is not None or val_per_class):
        raise ConfigError(
            "labeled_list: goes with neither labeled_per_class nor val_per_class; val_list names the images to hold out"
        )
    if held is not None and val_per_class:
        raise ConfigError("val_list and val_per_class both choose the validation images: give one")
    if held is not None:
        pool = without(range(len(train)), held)
    elif val_per_class:
        key = "val_per_class"
        held, pool = choose_per_class(train.labels, val_per_class, 0, key=key, classes=info.classes)
        counts = np.bincount(train.labels[np.asarray(pool, np.int64)], minlength=len(info.classes))
        if not counts.all():
            name = info.classes[int(counts.argmin())]
            raise ConfigError(f"{key}={val_per_class}: leaves no image of the class {name} to train on; hold fewer out")
    else:
        pool = list(range(len(train)))
    validation = train.select(held) if held is not None else val
    if validation is None:
        validation = test
    if validation is None:
        raise ConfigError(
            "val_per_class=0: there are neither validation nor test images; hold some out, or name them in val_list"
        )
    if listed is not None:
        if both := sorted(set(listed).intersection(held or ())):
            raise ConfigError(f"{train.name(both[0])}: is in labeled_list and in val_list; name it once")
        chosen = list(listed)
    else:
        seed_of_numpy(split_seed=options["split_seed"])
        key = "labeled_per_class"
        labels = train.labels[np.asarray(pool, np.int64)]
        places, _ = choose_per_class(labels, labeled_per_class, options["split_seed"], key=key, classes=info.classes)
        chosen = [pool[place] for place in places]
    rest = train.select(pool if unlabeled == "train" else without(pool, chosen))
    return SegmentationData(
        info,
        labeled=train.select(chosen),
        unlabeled=rest if extra is None else joined(rest, extra),
        val=validation,
        test=test,
        one_class=True,
        on_bad_image=on_bad_image,
    )


def without(indices: Sequence[int], unwanted: Sequence[int]) -> list[int]:
    """Returns the indices without the unwanted ones."""
    left_out = set(unwanted)
    return [index for index in indices if index not in left_out]


def joined(first: ClassArrays | ClassFiles, second: ClassArrays | ClassFiles) -> Source:
    """Joins two sources; two sources of files become one."""
    if len(first) == 0:
        return second
    if isinstance(first, ClassFiles) and isinstance(second, ClassFiles):
        names = [*first.pairs.images(), *second.pairs.images()]
        return ClassFiles(
            names, np.concatenate([first.labels, second.labels]), first.info, list(map(Path, first.roots))
        )
    return Joined([first, second])
