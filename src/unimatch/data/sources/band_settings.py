"""The settings of images that are no 8-bit photos, and the measurement of what the settings leave open."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from unimatch.data.catalog import DatasetInfo
from unimatch.data.sources.base import FileSource
from unimatch.errors import ConfigError, DataError
from unimatch.images.bands import IMAGENET_MEAN, IMAGENET_STD, Bands
from unimatch.images.folders import note
from unimatch.images.pictures import spread_evenly
from unimatch.images.rasters import NO_DATA_TAG, tiff_tags

SAMPLED_IMAGES = 128
"""The most training images, evenly spread, from which ranges, means and deviations are measured."""
SAMPLED_PIXELS = 2**14
"""The most pixels of each of them."""
MOST_OUTSIDE = 0.1
"""There is a warning if a larger share of values lies outside the range."""
LEAST_USED = 0.1
"""There is a warning if all values lie in a smaller share of the range."""


class PixelOptions(TypedDict, total=False):
    """The settings of data sets of files that describe the images' bands; in YAML ``conf/dataset/_pixels.yaml``."""

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
    std: Annotated[
        Sequence[float] | None, None, "each band's standard deviation, of the same values; None as for ``mean``."
    ]
    picture_bands: Annotated[
        Sequence[int] | None, None, "three of the bands, shown as red, green and blue. None: the first three."
    ]


def with_bands(info: DatasetInfo, options: PixelOptions, source: FileSource) -> DatasetInfo:
    """Returns the facts of a data set with the meaning of its images' bands, given by the options or measured.

    Args:
        info: the facts without it.
        options: the settings of the bands.
        source: the training images, labelled or not.

    Raises:
        ConfigError: options are invalid.
        DataError: something must be measured, and no image can be read.
    """
    number, given = options["bands"], options["value_range"]
    chosen = tuple(range(1, number + 1)) if type(number) is int else numbers_of("bands", number)
    count = 3 if chosen is None else len(chosen)
    mean, std = numbers_of("mean", options["mean"]), numbers_of("std", options["std"])
    if (mean is None) != (std is None):
        raise ConfigError("mean and std go together: give both or neither")
    percentiles = percentiles_of(given) if isinstance(given, Mapping) else None
    no_data = options["no_data"]
    # Other bands are measured below, and must have some values until then.
    default_mean: Sequence[float] = IMAGENET_MEAN if chosen is None else (0.5,) * count
    default_std: Sequence[float] = IMAGENET_STD if chosen is None else (0.5,) * count
    bands = Bands(
        chosen,
        None if given is None or isinstance(given, Mapping) else for_each_band(given, count),
        "nan" if no_data is not None and no_data != no_data else no_data,
        default_mean if mean is None else mean,
        default_std if std is None else std,
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
    note_no_data(bands, samples)
    if chosen is not None and mean is None:
        levels = np.concatenate([bands.levels(pixels[None], name)[0] for name, pixels in samples])
        levels = levels[levels.any(-1)] if bands.no_data is not None else levels
        shares = levels / 255
        deviations = [deviation or 1.0 for deviation in shares.std(0).tolist()]
        bands = replace(bands, mean=shares.mean(0).tolist(), std=deviations)
    return replace(info, bands=bands)


def numbers_of(key: str, given: Any) -> tuple[Any, ...] | None:
    """Returns the numbers of a setting as a tuple; None if it is not given.

    Raises:
        ConfigError: it is no list of numbers.
    """
    if given is None:
        return None
    if not is_numbers(given):
        raise ConfigError(f"{key}={given}: a list of numbers is needed")
    return tuple(given)


def for_each_band(given: Any, count: int) -> list[Any]:
    """Returns a range for each of ``count`` bands, given one range for all bands or a list of ranges."""
    one_for_all = is_numbers(given) and len(given) == 2
    pairs = [given] * count if one_for_all else given
    if isinstance(pairs, str) or not isinstance(pairs, Sequence) or not all(map(is_numbers, pairs)):
        raise ConfigError(f"value_range={given}: [LOW, HIGH], or a pair for each band, is needed")
    return list(pairs)


def is_numbers(given: Any) -> bool:
    """Tells whether a value is a list of numbers."""
    return isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(n, Real) for n in given)


def percentiles_of(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the two percentiles of a setting ``{percentiles: [1, 99]}``."""
    found = numbers_of("value_range.percentiles", given.get("percentiles")) or ()
    if set(given) != {"percentiles"} or len(found) != 2 or not 0 <= found[0] < found[1] <= 100:
        raise ConfigError(
            f"value_range={given}: must be [LOW, HIGH] or {{percentiles: [1, 99]}}, 0 to 100, lowest first"
        )
    return found


def sample(bands: Bands, source: FileSource, *, needs_range: bool) -> list[tuple[str, NDArray[Any]]]:
    """Returns values (n, C) of some images, each with its file's name; images that cannot be read are left out.

    With ``needs_range``, images whose values cannot be converted to levels are left out too.
    """
    rng = np.random.default_rng(0)
    found, last_error = list[tuple[str, NDArray[Any]]](), None
    for index in spread_evenly(len(source), SAMPLED_IMAGES):
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
            last_error = error
    if not found:
        raise last_error or DataError("there are no training images to measure ranges, means and deviations in")
    return found


def known(bands: Bands, values: NDArray[Any], name: str) -> NDArray[Any]:
    """Returns the rows of the values (n, C) that are not missing in any band."""
    missing = bands.missing(values[None], name)
    return values if missing is None else values[~missing[0]]


def note_no_data(bands: Bands, samples: Sequence[tuple[str, NDArray[Any]]]) -> None:
    """Warns if a GeoTIFF says which value means no data, has such pixels, and ``no_data`` is not that value."""
    for name, values in samples:
        said = str(tiff_tags(Path(name)).get(NO_DATA_TAG, "")).strip(" \0")
        with suppress(ValueError):  # not a number
            if float(said) != bands.no_data and (values == float(said)).any():
                text = f"{name}: says that {said} means no data, and stores it; if so, set dataset.no_data={said}"
                note("other no data", text)
                return


def note_values_outside(bands: Bands, values: NDArray[Any]) -> None:
    """Warns of bands of which many values (n, C) lie outside the range, or all of them in a small part of it."""
    for i, (low, high) in enumerate(bands.value_range or ()):
        share = float(np.mean((values[:, i] < low) | (values[:, i] > high)))
        band = i + 1 if bands.bands is None else bands.bands[i]
        least, most = float(values[:, i].min()), float(values[:, i].max())
        extremes = f"{least:g} to {most:g}"
        if share <= MOST_OUTSIDE and least < most and (most - least) < LEAST_USED * (high - low):
            note(
                "range hardly used",
                f"the values of band {band} are {extremes}, in a small part of value_range, {low:g} to {high:g}, so "
                "that most of their detail is lost: give their own range",
            )
        if share > MOST_OUTSIDE:
            note(
                "values cut off",
                f"{share:.0%} of the values of band {band} lie outside value_range, {low:g} to {high:g}, and are cut "
                f"off: they are {extremes}",
            )
