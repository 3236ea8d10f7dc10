"""Arguments of Python are compared with type hints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from unimatch.errors import ConfigError
from unimatch.kinds import checked, fits


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -3], [True, 1.5, "3", None, [1]]),
        (float, [0, 0.5], [False, "high", None, [0.5]]),
        (bool, [True], [1, "no", None]),
        (str, ["a"], [2024, True, None]),
        (Path, ["a"], [2024, None]),
        (str | Path | None, ["a", None], [2024, True, ["a"]]),
        (Literal["a", "b"] | None, ["a", None], ["c", 3, True]),
        (Annotated[float, 1.0, "a number."], [2], ["2"]),
        (Sequence[int], [[1], []], [1, "1", None, {"a": 1}, [1.5], [True], ["1"], [None]]),
        (tuple[float, float], [[1, 2]], [2, "ab", [1, "b"]]),
        (Sequence[Sequence[int]], [[[1], [2, 3]]], [[1], [["a"]]]),
        (Sequence[str | Mapping[str, str]], [["a", {"b": "c"}], [1]], ["a"]),  # not plain: what is called says more
        (Mapping[str, int], [{"a": 1}], [[1], "a", 1]),
        (Any, [1, None, "a"], []),
        (Exception, [Exception(), {"_target_": "builtins.Exception"}], [None, 3, "a", [1], {"a": 1}]),
        (str | Exception, ["a", Exception()], [None, 3, [1], {"a": 1}]),
        (Callable[[int], int] | Literal["a"], ["a", abs, {"_target_": "builtins.abs"}], [None, 3, "b", []]),
    ],
)
def test_a_plain_value_fits_its_hint(hint, good, bad):
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)


class Pair(NamedTuple):
    a: int
    b: int


class Word(StrEnum):
    ONE = "one"


def taking(hint, module="unimatch.tests"):
    """Returns a function that takes one argument of the hint."""

    def take(value):
        return value

    take.__annotations__ = {"value": hint}
    take.__module__ = module
    return checked(take)


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [3, 3.0, np.int64(3), np.array(3), torch.tensor(3)], [None, True, 3.5, "3", [3], np.ones(1), object()]),
        (float, [3, 0.5, np.float32(0.5), torch.tensor(0.5)], [None, False, "0.5", [0.5], torch.ones(2), object()]),
        (float, [], [np.ones(10**6)]),
        (bool, [True, np.True_, torch.tensor(True)], [None, 0, 1, "false", [], object()]),
        (str, ["a", Word.ONE], [None, 1, True, ["a"], b"a"]),
        (str | Path, ["a", Path("a")], [None, 1, ["a"]]),
        (Literal["one", "two"], ["one", Word.ONE], ["three", None, 1]),
        (Sequence[str], [["a"], ("a",), {"a"}, OmegaConf.create(["a"])], ["a", None, [1], 1]),
        (tuple[float, float], [(1, 2), [0.5, 1], np.ones(2), torch.ones(2)], [1, "12", None, ["a", "b"]]),
        (Mapping[str, int] | None, [None, {"a": 1}], [1, "a", [1]]),
        (Iterable[int] | bool, [True, [1], iter([1])], [1, None, "a"]),
        (Callable[[int], int] | Literal["a"], [abs, "a"], ["b", 1, None]),
        (str | Pair, ["a", Pair(1, 2)], [1, None, 0.5]),
        ("of_a_module_that_is_not_imported", [1, None, "a"], []),
    ],
)
def test_a_value_is_taken_if_its_hint_says_so(hint, good, bad):
    take = taking(hint)
    for value in good:
        assert take(value) is value
        assert take(value=value) is value
    for value in bad:
        with pytest.raises(ConfigError, match=r"^value=.*: must be"):
            take(value)
        with pytest.raises(ConfigError, match=r"^value=.*: must be"):
            take(value=value)


@checked
class Thing:
    def __init__(self, first: int, *rest: str, ready: bool = False, name: str = None, **others: int) -> None:  # noqa: RUF013
        self.all = first, rest, ready, name, others


def test_a_class_is_checked_where_it_is_made_and_stays_what_it_was():
    assert Thing(1, "a", ready=True, other="x").all == (1, ("a",), True, None, {"other": "x"})
    assert Thing(1, name=None).all[3] is None  # its default, whatever the hint says
    assert Thing.__name__ == "Thing"
    with pytest.raises(ConfigError, match=r"^ready=no: must be True or False$"):
        Thing(1, ready="no")
    with pytest.raises(TypeError, match="first"):  # what is missing is Python's to tell
        Thing()


def test_a_subclass_is_checked_by_what_it_hands_over():
    class Child(Thing):
        def __init__(self, *, size: float) -> None:
            super().__init__(size)

    assert Child(size=2).all[0] == 2
    with pytest.raises(ConfigError, match=r"^first=0\.5: must be a whole number$"):
        Child(size=0.5)


def test_hints_of_other_packages_name_classes_loosely():
    assert taking(Pair, module="theirs")([1, 2]) == [1, 2]
    with pytest.raises(ConfigError):
        taking(Pair, module="theirs")(None)
