"""Options that functions share: signature, help, defaults, and names that are none."""

import inspect
from functools import partial
from typing import Annotated, TypedDict, Unpack

import numpy as np
import pytest

from unimatch.errors import ConfigError
from unimatch.options import ascending, at_least_one, not_negative, probability, seed_of_numpy, with_options, within


class Size(TypedDict, total=False):
    height: Annotated[int, 2, "in pixels."]


class Area(Size, total=False):
    depth: Annotated[int | None, None, "of the colours."]


@with_options(height=7)
def draw(width: int, *, title: str = "", **options: Unpack[Area]) -> tuple[int, str, Area]:
    """Draws.

    Args:
        width: in pixels.

    Raises:
        ValueError: never.
    """
    return width, title, options


class Pen:
    @with_options()
    def __call__(self, width: int, **options: Unpack[Size]) -> int:
        """Draws."""
        return width * options["height"]


def test_options_that_are_not_given_have_their_defaults():
    assert draw(1) == (1, "", {"height": 7, "depth": None})
    assert draw(1, title="a", depth=3) == (1, "a", {"height": 7, "depth": 3})
    assert Pen()(3) == 6


def test_signature_and_help_list_every_option():
    assert list(inspect.signature(draw).parameters) == ["width", "title", "height", "depth"]
    assert inspect.signature(draw).parameters["depth"].annotation == int | None
    assert list(inspect.signature(Pen()).parameters) == ["width", "height"]
    assert draw.__doc__.splitlines()[2:] == [
        "Args:",
        "    width: in pixels.",
        "    height: in pixels.",
        "    depth: of the colours.",
        "",
        "Raises:",
        "    ValueError: never.",
    ]


def test_a_name_that_is_no_option_is_an_error_at_once():
    with pytest.raises(ConfigError, match=r"^heigth=3: draw has no such argument; did you mean height\?$"):
        draw(1, heigth=3)
    with pytest.raises(ConfigError, match=r"^colour=3: Pen\.__call__ has no such argument\. There are: .*height$"):
        Pen()(1, colour=3)


NO_NUMBERS = [float("nan"), "x", None, [1], np.ones(2)]


@pytest.mark.parametrize(
    ("check", "good", "bad", "told"),
    [
        (not_negative, [0, 0.5, 1e300], [-1, float("inf"), *NO_NUMBERS], "must be a number, at least 0"),
        (probability, [0, 0.5, 1], [-0.1, 1.1, float("inf"), *NO_NUMBERS], "must be a probability, 0 to 1"),
        (at_least_one, [1, 10**9, None], [0, -1, "x", np.ones(2)], "must be at least 1"),
        (partial(within, 2, 5), [2, 5, None], [1, "x", float("nan")], "must be at least 2"),
        (partial(within, 2, 5), [3, np.int64(4)], [6, 10**20], "must be at most 5"),
        (
            seed_of_numpy,
            [0, 2**32 - 1, np.int64(3)],
            [-1, 2**32, *NO_NUMBERS],
            "must be at least 0 and below 4294967296",
        ),
        (
            ascending,
            [(1, 1), [0.5, 2], np.array([1, 2])],
            [
                (),
                (1,),
                (1, 2, 3),
                (2, 1),
                (0, 1),
                (-1, 1),
                (1, float("inf")),
                (1, 2, "x"),
                3,
                *((1, number) for number in NO_NUMBERS),
            ],
            "must be the lowest and the highest number, both above 0",
        ),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(check, good, bad, told):
    for value in good:
        check(size=value)
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^size=.*: {told}$"):
            check(size=value)
