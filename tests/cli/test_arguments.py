from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from unimatch.cli.arguments import check_arguments, fits
from unimatch.errors import ConfigError


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
def test_a_value_fits_its_hint(hint, good, bad):
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)


class Thing:
    def __init__(self, model, *, need: int, rate: float = 1.0, mode: Literal["a", "b"] = "a", later: int = None): ...  # noqa: RUF013


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"need": 1, "rate": "high"}, "rate=high: must be a number"),
        ({"need": 1, "rate": None}, "rate=null: must be a number"),
        ({"need": 1, "mode": "c"}, "mode=c: must be a or b"),
        ({"need": 1, "mode": True}, "mode=true: must be a or b"),
        ({"need": 1, "raet": 2}, "raet=2: Thing has no such argument; did you mean rate?"),
        ({"rate": 2}, "need: missing; Thing needs it"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(values, told):
    with pytest.raises(ConfigError) as error:
        check_arguments(Thing, values, ["0"])
    assert str(error.value) == told
    check_arguments(Thing, {"need": 1, "rate": 2, "later": None}, ["0"])
    with pytest.raises(ConfigError, match="model: missing"):
        check_arguments(Thing, {"need": 1})


def test_a_number_that_is_meant_as_text_is_told_how_to_be_written():
    def read(root: str | Path) -> None: ...

    with pytest.raises(
        ConfigError,
        match=r"root=20240105: must be text; .* goes in quotes: \"root='20240105'\"\. A YAML file .*2024_01_05",
    ):
        check_arguments(read, {"root": 20240105})


def test_a_builtin_that_does_not_tell_its_arguments_is_left_alone():
    check_arguments(dict, {"anything": 1})
