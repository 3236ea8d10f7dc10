"""The settings of images that are no 8-bit photos, and what is measured where the settings leave it open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import FileSource
from unimatch.errors import ConfigError, DataError
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD, Bands
from unimatch.images.folders import note
from unimatch.images.pictures import spread_evenly

SAMPLED = 128
"""Training images, labelled or not, from which ranges, means and deviations are measured, evenly spread."""
SAMPLED_PIXELS = 2**14
"""Pixels of each."""
MANY = 0.1
"""A share of values outside the range that is worth a warning."""
FEW = 0.1
"""A share of the range in which all values lie, and with it the levels that are used, that is worth one too."""


class PixelOptions(TypedDict, total=False):
    """What data sets of files take of the images' bands; in YAML ``conf/dataset/_pixels.yaml``."""

    bands: Annotated[
        int | Sequence[int] | None,
        None,
        "the bands that the model sees, by their numbers in the files, from 1: ``[4, 3, 2]``, or their number, for the "
        "first ones. None: red, green and blue, or grey shown as these.",
    ]
    value_range: Annotated[
        Sequence[Any] | Mapping[str, Any] | None,
        None,
        "the values that become black and white, for all bands, ``[0, 10000]``, or for each, ``[[0, 4000], "
        "[0, 255]]``, or ``{percentiles: [1, 99]}``, which measures them in the training images. None: "
        "0 to 255, of images of 8 bits.",
    ]
    no_data: Annotated[
        float | None,
        None,
        "the value of pixels without data, which no loss and no score counts; values that are not finite are such too, "
        "and with ``nan`` no others. None: every pixel has data.",
    ]
    mean: Annotated[
        Sequence[float] | None,
        None,
        "of each band, values of the range taken as 0 to 1, for normalisation. None: ImageNet's of red, green and "
        "blue, else measured in the training images.",
    ]
    std: Annotated[Sequence[float] | None, None, "each band's standard deviation, likewise."]
    picture_bands: Annotated[
        Sequence[int] | None, None, "three of the bands, shown as red, green and blue. None: the first three."
    ]


def with_bands(info: DatasetInfo, options: PixelOptions, source: FileSource) -> DatasetInfo:
    """Returns the facts of a data set with what its images' bands mean: as the options say, else as measured.

    Args:
        info: the facts.
        options: of the images.
        source: the training images, labelled or not.

    Raises:
        ConfigError: options that cannot be.
        DataError: no image from which something must be measured can be read.
    """
    number, given = options["bands"], options["value_range"]
    chosen = tuple(range(1, number + 1)) if type(number) is int else numbers_of("bands", number)
    count = 3 if chosen is None else len(chosen)
    mean, std = numbers_of("mean", options["mean"]), numbers_of("std", options["std"])
    if (mean is None) != (std is None):
        raise ConfigError("mean and std go together: give both or neither")
    percentiles = percentiles_of(given) if isinstance(given, Mapping) else None
    no_data = options["no_data"]
    bands = Bands(
        chosen,
        None if given is None or isinstance(given, Mapping) else for_each_band(given, count),
        "nan" if no_data is not None and no_data != no_data else no_data,
        (IMAGENET_MEAN if chosen is None else (0.5,) * count) if mean is None else mean,
        (IMAGENET_STD if chosen is None else (0.5,) * count) if std is None else std,
        numbers_of("picture_bands", options["picture_bands"]),
    )
    if percentiles is None and (bands.photos or mean is not None):
        return replace(info, bands=bands)
    samples = sample(bands, source, needs_range=percentiles is None)
    values = np.concatenate([known(bands, pixels, name) for name, pixels in samples])
    if len(values) == 0:
        raise DataError(f"no_data={no_data}: no pixel looked at in the training images has data; is it another value?")
    if percentiles is not None:
        ranges = np.percentile(values, percentiles, axis=0).T.tolist()  # (C, 2)
        flat = next((i for i, (low, high) in enumerate(ranges, 1) if low >= high), None)
        if flat is not None:
            raise ConfigError(f"value_range={given}: band {flat} of those used has one value alone; give its range")
        bands = replace(bands, value_range=ranges)
    else:
        note_values_outside(bands, values)
    if chosen is not None and mean is None:
        levels = np.concatenate([bands.levels(pixels[None], name)[0] for name, pixels in samples])
        levels = levels[levels.any(-1)] if bands.no_data is not None else levels
        shares = levels / 255
        deviations = [deviation or 1.0 for deviation in shares.std(0).tolist()]
        bands = replace(bands, mean=shares.mean(0).tolist(), std=deviations)
    return replace(info, bands=bands)


def numbers_of(key: str, given: Any) -> tuple[Any, ...] | None:
    """Returns the numbers of a setting as a tuple; None where it is not given.

    Raises:
        ConfigError: it is no list of numbers.
    """
    if given is None:
        return None
    if not is_numbers(given):
        raise ConfigError(f"{key}={given}: a list of numbers is needed")
    return tuple(given)


def for_each_band(given: Any, count: int) -> list[Any]:
    """Returns a range for each band, of one for all or of as many as there are."""
    one_for_all = is_numbers(given) and len(given) == 2
    pairs = [given] * count if one_for_all else given
    if isinstance(pairs, str) or not isinstance(pairs, Sequence) or not all(map(is_numbers, pairs)):
        raise ConfigError(f"value_range={given}: [LOW, HIGH], or a pair for each band, is needed")
    return list(pairs)


def is_numbers(given: Any) -> bool:
    """Tells whether this is a list of numbers."""
    return isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(n, Real) for n in given)


def percentiles_of(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Reads ``{percentiles: [1, 99]}``."""
    found = numbers_of("value_range.percentiles", given.get("percentiles")) or ()
    if set(given) != {"percentiles"} or len(found) != 2 or not 0 <= found[0] < found[1] <= 100:
        raise ConfigError(
            f"value_range={given}: must be [LOW, HIGH] or {{percentiles: [1, 99]}}, 0 to 100, lowest first"
        )
    return found


def sample(bands: Bands, source: FileSource, *, needs_range: bool) -> list[tuple[str, NDArray[Any]]]:
    """Returns values (n, C) of some images, each with its file's name; images that cannot be read are left out.

    With ``needs_range``, so are those that cannot be made levels.
    """
    rng = np.random.default_rng(0)
    found, refused = list[tuple[str, NDArray[Any]]](), None
    for index in spread_evenly(len(source), SAMPLED):
        try:
            for path, stored in zip(source.image_paths(index), source.stored(index), strict=True):
                values = bands.choose(stored, path)
                values = values.reshape(-1, values.shape[-1])
                if len(values) > SAMPLED_PIXELS:
                    values = values[rng.integers(len(values), size=SAMPLED_PIXELS)]
                if needs_range:
                    bands.levels(values[None], path)
                else:
                    bands.missing(values[None], path)
                found.append((str(path), values))
        except DataError as error:
            refused = error
    if not found:
        raise refused or DataError("there are no training images to measure ranges, means and deviations in")
    return found


def known(bands: Bands, values: NDArray[Any], name: str) -> NDArray[Any]:
    """Returns those of the values (n, C) that are no missing ones."""
    missing = bands.missing(values[None], name)
    return values if missing is None else values[~missing[0]]


def note_values_outside(bands: Bands, values: NDArray[Any]) -> None:
    """Notes bands of which many values (n, C) lie outside the range, or all in a small part of it."""
    for i, (low, high) in enumerate(bands.value_range or ()):
        share = float(np.mean((values[:, i] < low) | (values[:, i] > high)))
        band = i + 1 if bands.bands is None else bands.bands[i]
        least, most = float(values[:, i].min()), float(values[:, i].max())
        extremes = f"{least:g} to {most:g}"
        if share <= MANY and least < most and (most - least) < FEW * (high - low):
            note(
                "range hardly used",
                f"the values of band {band} are {extremes}, in a small part of value_range, {low:g} to {high:g}, so "
                "that most of their detail is lost: give their own range",
            )
        if share > MANY:
            note(
                "values cut off",
                f"{share:.0%} of the values of band {band} lie outside value_range, {low:g} to {high:g}, and are cut "
                f"off: they are {extremes}",
            )
