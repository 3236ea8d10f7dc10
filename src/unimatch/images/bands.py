"""What an image's bands mean: photos are RGB of 8 bits; scientific images have any number, type and range of bands.

Values of any type become levels of 0-255 when a file is read, so that everything after that sees uint8, as for photos.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unimatch.errors import ConfigError, DataError
from unimatch.images.arrays import ImageArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MOST_BANDS = 1024
"""The most bands an image may have; those of hyperspectral cameras have a few hundred."""


@dataclass(frozen=True)
class Bands:
    """Which bands of a file are used, which values become the levels 0 and 255, and how levels are normalised.

    The defaults describe photos.

    Args:
        bands: their numbers in the file, from 1, in the order in which the model sees them; None for red, green and
            blue, or for grey repeated three times.
        value_range: the lowest and highest value of each band, which become the levels 0 and 255; values between are
            rounded to the nearest level, values beyond are clipped. None for images of 8 bits, which stay as they are.
        no_data: the value that stands for no data; ``"nan"`` where only values that are not finite do; None where every
            pixel has data. A pixel without data in one band becomes 0 in all bands, and no other pixel does.
        mean: of each band's levels in 0-1; it is subtracted from them.
        std: standard deviation of each band's levels in 0-1; the difference is divided by it.
        shown: the numbers of the bands that pictures show as red, green and blue; None for the first three.

    Raises:
        ConfigError: an argument is out of range, or the lengths differ.
    """

    bands: Sequence[int] | None = None
    value_range: Sequence[Sequence[float]] | None = None
    no_data: float | str | None = None
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    shown: Sequence[int] | None = None

    def __post_init__(self) -> None:
        count = 3 if self.bands is None else len(self.bands)
        if not 1 <= count <= MOST_BANDS or any(type(band) is not int or band < 1 for band in self.bands or ()):
            raise ConfigError(f"bands={self.bands}: 1 to {MOST_BANDS} numbers of bands are needed, counted from 1")
        if any(band not in (self.bands or (1, 2, 3)) for band in self.shown or ()) or len(self.shown or "rgb") != 3:
            raise ConfigError(f"picture_bands={self.shown}: three of the bands are needed, {self.bands or (1, 2, 3)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count or not all(map(math.isfinite, values)) or (name == "std" and min(values) <= 0):
                raise ConfigError(f"{name}={values}: a number for each of the {count} bands is needed, std above 0")
        if not all(0 <= value <= 1 for value in self.mean):
            raise ConfigError(
                f"mean={self.mean}: is of values in 0-1, black to white; divide what was measured in 0-255, and std, "
                "by 255"
            )
        for pair in self.value_range or ():
            if len(pair) != 2 or not -math.inf < pair[0] < pair[1] < math.inf:
                raise ConfigError(f"value_range={pair}: the lowest and the highest value are needed, lowest first")
        if self.value_range is not None and len(self.value_range) != count:
            raise ConfigError(
                f"value_range={self.value_range}: one pair, or one for each of the {count} bands, is needed"
            )
        if self.no_data not in (None, "nan") and not isinstance(self.no_data, (int, float)):
            raise ConfigError(f"no_data={self.no_data}: must be a number, or nan")
        for name in ("bands", "mean", "std", "shown"):  # tuples, so that the object is hashable
            object.__setattr__(self, name, None if getattr(self, name) is None else tuple(getattr(self, name)))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", tuple((float(low), float(high)) for low, high in self.value_range))

    @classmethod
    def of(cls, plain: "Mapping[str, Any] | Bands | None") -> "Bands":
        """Makes an object of what :meth:`plain` returned; None stands for photos.

        Raises:
            ConfigError: it is something else.
        """
        if isinstance(plain, Bands):
            return plain
        try:
            return cls(**(plain or {}))
        except TypeError as error:
            raise ConfigError(f"bands={plain}: cannot be understood ({error})") from error

    def plain(self) -> dict[str, Any]:
        """Returns this as plain values, for JSON and checkpoints."""
        values: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return values | {"value_range": self.value_range and [list(pair) for pair in self.value_range]}

    @property
    def count(self) -> int:
        """How many bands the model sees."""
        return 3 if self.bands is None else len(self.bands)

    @property
    def rgb(self) -> bool:
        """Whether the bands are red, green and blue, so that hue and grey mean something."""
        return self.bands is None

    @property
    def photos(self) -> bool:
        """Whether files hold RGB of 8 bits, whose values are used as they are."""
        return self.bands is None and self.value_range is None and self.no_data is None

    def choose(self, stored: NDArray[Any], where: object) -> NDArray[Any]:
        """Returns the bands in use (H, W, C) from all bands of a file (H, W, N).

        Raises:
            DataError: the file, named ``where``, has fewer bands, or a number that needs ``bands``.
        """
        count = stored.shape[-1]
        if self.bands is None:
            if count not in (1, 3):
                raise DataError(
                    f"{where}: has {count} bands, and one or three are read; train on some with dataset.bands=[1,2,3]"
                )
            return np.repeat(stored, 3, axis=-1) if count == 1 else stored
        if max(self.bands) > count:
            raise DataError(
                f"{where}: has {count} band(s), and the training's dataset.bands={list(self.bands)} asks for "
                f"{max(self.bands)}"
            )
        return stored[..., [band - 1 for band in self.bands]]

    def levels(self, values: NDArray[Any], where: object) -> ImageArray:
        """Returns values (H, W, C) of any type as levels of 0-255.

        Raises:
            DataError: values of the file, named ``where``, are of another type or range than this says.
        """
        if values.dtype.kind not in "uifb":
            raise DataError(f"{where}: stores {values.dtype}; only integers and floats can be read")
        if values.dtype.kind == "b":
            values = values.astype(np.uint8)
        missing = self.missing(values, where)
        if self.value_range is None:
            if values.dtype != np.uint8:
                raise DataError(f"{where}: {described(values)}; {RANGE_NEEDED}")
            result = np.array(values, order="C")
        else:
            highest = max(high for _, high in self.value_range)
            if values.dtype == np.uint8 and (highest > 255 or (highest <= 1 < values.max(initial=0))):
                raise DataError(
                    f"{where}: stores 8 bits, and the training's dataset.value_range goes to {highest:g}; convert it "
                    "to the type of the other images"
                )
            result = np.empty(values.shape, np.uint8)
            for i, (low, high) in enumerate(self.value_range):
                scaled = values[..., i].astype(np.float64)
                if missing is not None:
                    scaled[missing] = low
                scaled -= low
                scaled *= 255 / (high - low)
                result[..., i] = np.rint(scaled, out=scaled).clip(0, 255)
        if missing is not None:
            np.maximum(result, 1, out=result)
            result[missing] = 0
        return result

    def missing(self, values: NDArray[Any], where: object) -> NDArray[np.bool_] | None:
        """Returns (H, W), True where one of the values (H, W, C) stands for no data; None where every pixel has data.

        Raises:
            DataError: values of the file, named ``where``, are not finite, and ``no_data`` is None.
        """
        infinite = ~np.isfinite(values) if values.dtype.kind == "f" else None
        if self.no_data is None:
            if infinite is not None and infinite.any():
                raise DataError(
                    f"{where}: {infinite.sum()} values are not finite; replace them, or name in training the value "
                    "that means no data: dataset.no_data=nan, or a number"
                )
            return None
        found = np.zeros(values.shape, np.bool_) if self.no_data == "nan" else values == self.no_data
        return np.any(found if infinite is None else found | infinite, axis=-1)

    def without_data(self, image: ImageArray) -> NDArray[np.bool_] | None:
        """Returns (H, W), True where an image of levels, or one of its dates, has no data; None where all have data."""
        if self.no_data is None:
            return None
        empty = np.all(image == 0, axis=-1)
        return empty if image.ndim == 3 else np.any(empty, axis=0)

    def picture(self, image: ImageArray) -> ImageArray:
        """Returns an image (..., H, W, C) as a picture (..., H, W, 3)."""
        if self.bands is None and self.shown is None:
            return image
        shown = (
            [(self.bands or (1, 2, 3)).index(band) for band in self.shown]
            if self.shown
            else [min(i, self.count - 1) for i in range(3)]
        )
        return image[..., shown]

    def summary(self) -> str:
        """Says in one line how files are read.

        >>> Bands((2,), [(0, 4095)], mean=(0.25,), std=(0.125,)).summary()
        'band 2 from 0 to 4095, mean 0.250, deviation 0.125'
        """
        ranges = self.value_range or ((0, 255),) * self.count
        parts = [
            f"band {number} from {low:g} to {high:g}, mean {mean:.3f}, deviation {std:.3f}"
            for number, (low, high), mean, std in zip(self.bands or (1, 2, 3), ranges, self.mean, self.std, strict=True)
        ]
        return "; ".join(parts if self.no_data is None else [*parts, f"no data: {self.no_data}"])

    def arguments(self) -> dict[str, Any]:
        """Returns the settings of a data set that give these bands without measuring anything; none for photos."""
        if self == PHOTOS:
            return {}
        plain = self.plain()
        return {**{key: value for key, value in plain.items() if key != "shown"}, "picture_bands": plain["shown"]}


RANGE_NEEDED = (
    "convert it to 8 bits, or say in training which values become black and white: dataset.value_range=[LOW,HIGH], or "
    "'dataset.value_range={percentiles:[1,99]}' to measure them"
)


def described(values: NDArray[Any]) -> str:
    """Says what an image stores.

    >>> described(np.array([[[3], [4000]]], np.uint16))
    'stores uint16 from 3 to 4000'
    """
    finite = values[np.isfinite(values)]
    return f"stores {values.dtype}" + (f" from {finite.min():g} to {finite.max():g}" if finite.size else "")


PHOTOS = Bands()
"""RGB of 8 bits, normalised with ImageNet's statistics."""
