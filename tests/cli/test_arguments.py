from pathlib import Path
from typing import Literal

import pytest

from unimatch.cli.arguments import check_arguments
from unimatch.errors import ConfigError


class Thing:
    def __init__(self, model, *, need: int, rate: float = 1.0, mode: Literal["a", "b"] = "a", later: int = None): ...  # noqa: RUF013


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"need": 1, "rate": "high"}, "rate=high: must be a number"),
        ({"need": 1, "rate": None}, "rate=null: must be a number"),
        ({"need": 1, "mode": "c"}, "mode=c: must be one of a, b"),
        ({"need": 1, "mode": True}, "mode=true: must be one of a, b"),
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
