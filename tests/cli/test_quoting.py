import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from unimatch.cli.quoting import quote_names, quote_numbers, refuse_empty, refuse_several
from unimatch.errors import ConfigError


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("dataset.split=1_16", "dataset.split='1_16'"),
        ("dataset.split=1_16,1_8,all", "dataset.split='1_16','1_8',all"),
        ("dataset.split='1_16'", "dataset.split='1_16'"),
        ("dataset.split=366", "dataset.split=366"),
        ("trainer.max_steps=10_000", "trainer.max_steps=10_000"),
        ("dataset.split=scene_1_16", "dataset.split=scene_1_16"),
        ("+dataset.split=1_16", "+dataset.split='1_16'"),
        ("method.tau=0.95,0.9", "method.tau=0.95,0.9"),
        ("dataset.labeled=8", "dataset.labeled=8"),
        ("model.features=8", "model.features=8"),
        ("dataset.root=null", "dataset.root=null"),
        ("dataset.root='2024'", "dataset.root='2024'"),
        ('input="a, 2024, b"', 'input="a, 2024, b"'),
        ("dataset.root=data/2024_01", "dataset.root=data/2024_01"),
    ],
)
def test_fractions_reach_hydra_as_text(argument, expected):
    assert quote_numbers(argument) == expected
    parsed = OverridesParser.create().parse_override(expected)
    if "split" in argument and not parsed.is_sweep_override():
        assert str(parsed.value()) == argument.partition("=")[2].strip("'")


KEYS = (
    *("hydra.run.dir", "hydra.sweep.dir", "dataset.root", "dataset.splits", "dataset.labeled_list", "dataset.classes"),
    *("encoder.weights", "resume", "start_from", "checkpoint", "input", "output", "images", "source", "root", "out"),
    "background",
    *("from", "to", "++dataset.root", "logger.name", "logger.experiment", "given", "scores", "features", "group"),
)
NAMES = ("2024", "2024_01_05", "-1", "1.5", "1e5", "1_0.5", "nan", "inf", "true", "007")


@pytest.mark.parametrize(
    ("key", "name"), [*((key, "2024_01_05") for key in KEYS), *(("dataset.root", name) for name in NAMES)]
)
def test_names_that_look_like_numbers_stay_what_was_typed(key, name):
    parser = OverridesParser.create()
    assert parser.parse_override(quote_numbers(f"{key}={name}")).value() == name
    swept = parser.parse_override(quote_numbers(f"{key}={name},other")).sweep_string_iterator()
    assert [parser.parse_override(f"key={text}").value() for text in swept] == [name, "other"]
    assert parser.parse_override(quote_numbers(f"{key}=[{name}, {name}]")).value() == [name, name]
    pools = parser.parse_override(quote_numbers(f"dataset.unlabeled=[rest,{{root: {name}, list: {name}}}]")).value()
    assert pools == ["rest", {"root": name, "list": name}]


ODD = (
    "photos (1)",
    "josé",
    "it's",
    'q"q',
    "a=b",
    "a#b",
    "~x",
    "{a}",
    "a[1]",
    "照片",
    "back\\\\'s",
    "'half",
)


@pytest.mark.parametrize("name", ODD)
def test_names_that_hydra_would_not_read_stay_what_was_typed(name):
    parser = OverridesParser.create()
    argument = quote_names(f"dataset.root=data/{name}")
    assert parser.parse_override(argument).value() == f"data/{name}"
    assert quote_names(argument) == quote_numbers(argument) == argument
    swept = parser.parse_override(quote_names(f"dataset.root=data/{name},other", sweep=True)).sweep_string_iterator()
    assert [parser.parse_override(f"key={text}").value() for text in swept] == [f"data/{name}", "other"]


def test_names_with_commas_and_blanks_at_their_end_are_known_by_their_being_there(tmp_path):
    assert quote_names(f"input={tmp_path}/a,b") == f"input={tmp_path}/a,b"
    for name in ("a,b", "end "):
        (tmp_path / name).touch()
        assert quote_names(f"input={tmp_path}/{name}") == f"input='{tmp_path}/{name}'"
    assert quote_names(f"input={tmp_path}/a,b", sweep=True) == f"input={tmp_path}/a,b"


@pytest.mark.parametrize("given", ["dataset.root=", "output= ", "hydra.run.dir=", "+dataset.labeled_list="])
def test_a_name_that_is_empty_is_refused(given):
    with pytest.raises(ConfigError, match=re.escape(f"{given}: the name is empty")):
        refuse_empty(["dataset=folder", given])
    refuse_empty(["dataset.split=", "~dataset.root=", "--config-dir=x", "seed=0"])


def test_several_values_of_one_run_are_refused_with_what_might_be_meant():
    with pytest.raises(ConfigError, match=r"method.tau=0,95: several values are several runs, .* with a point"):
        refuse_several(["method.tau=0,95"])
    refuse_several(["-m", "method.tau=0,1"])
