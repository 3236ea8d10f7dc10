"""Warns before a training starts if its length or its sizes do not fit the data."""

from contextlib import suppress

from unimatch.data.sources.base import SegmentationData, Source
from unimatch.errors import DataError

MIN_STEPS, MIN_STEPS_ONE_CLASS = 1000, 400
"""Fewer optimizer steps teach little; images of one class need fewer than masks."""
MIN_VALIDATION = 10
"""Fewer validation images measure little."""
MOST_LAG = 1 / 4
"""The largest share of a training's steps by which the teacher may lag behind the student."""
MIN_SHOWN = 0.02
"""The least share of an image that a training view should show."""
MIN_FILLED = 0.1
"""The least share of a training view that an image should be able to fill."""
SAMPLES = 5
"""How many labelled images are read for their sizes."""


def misfits(
    data: SegmentationData,
    *,
    steps: int | None = None,
    ema_decay: float | None = None,
    crop: int | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
) -> list[str]:
    """Returns a sentence for everything that does not fit, with the setting to change.

    Args:
        data: the data set; a few of its labelled images are read.
        steps: optimizer steps of the training; None if not known.
        ema_decay: decay of the teacher's moving average; None if it is derived from the steps.
        crop: side of the training views in pixels; None if not known.
        scale: lowest and highest factor by which images are resized before they are cropped.
    """
    found = []
    enough = MIN_STEPS_ONE_CLASS if data.one_class else MIN_STEPS
    if steps is not None and steps < enough:
        found.append(
            f"the training has {steps} steps, and fewer than about {enough:,} teach little: raise trainer.max_epochs "
            "(or trainer.max_steps, where that is set), or add unlabelled images, which make an epoch longer"
        )
    lag = 0 if ema_decay is None else 1 / (1 - ema_decay)
    if steps is not None and lag > MOST_LAG * steps:
        found.append(
            f"method.ema_decay={ema_decay}: the teacher lags about {lag:.0f} steps behind the student, in a training "
            f"of {steps}; method.ema_decay=null derives a fitting one"
        )
    if 0 < len(data.val) < MIN_VALIDATION:
        found.append(
            f"{len(data.val)} validation images measure little, and they choose best.ckpt: hold out {MIN_VALIDATION} "
            "or more (dataset.val_share or dataset.val_list where the data set has them)"
        )
    sizes = [] if crop is None or data.one_class else sizes_of_some(data.labeled)
    if crop is not None and sizes:
        height, width = sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]
        shown = (2 * crop / sum(scale)) ** 2 / (height * width)
        if shown < MIN_SHOWN:
            found.append(
                f"datamodule.crop={crop}: a view shows about {shown:.1%} of an image of {width} x {height} pixels, too "
                "little to tell what things are: shrink the images and masks once, or raise datamodule.crop"
            )
        filled = min(crop, height * max(scale)) * min(crop, width * max(scale)) / crop**2
        if filled < MIN_FILLED:
            found.append(
                f"datamodule.crop={crop}: an image of {width} x {height} pixels fills {filled:.1%} of a view at most; "
                "the rest is padding, which teaches nothing and costs time and memory: lower datamodule.crop"
            )
    return found


def sizes_of_some(source: Source, most: int = SAMPLES) -> list[tuple[int, int]]:
    """Returns height and width of a few images, spread evenly; images that cannot be read are left out."""
    count, sizes = min(most, len(source)), []
    for i in range(count):
        with suppress(DataError):
            height, width = source.image(i * len(source) // count).shape[-3:-1]
            sizes.append((height, width))
    return sizes
