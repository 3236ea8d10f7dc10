import time

import pytest

from unimatch import untrusted


def test_values_are_counted_wherever_they_stand():
    shared = [1, 2]
    assert untrusted.count({"a": shared, "b": (shared, shared)}) == 1 + 2 + 3 + 1 + 2 * 3


def laughs(levels):
    """Ten references to one list in each level: 10 ** levels values in a few bytes."""
    value = ["ha"]
    for _ in range(levels):
        value = [value] * 10
    return value


def nested(levels):
    value = []
    for _ in range(levels):
        value = {"inner": value}
    return value


def around_itself():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [laughs(30), nested(100), around_itself()], ids=["laughs", "nested", "cycle"])
def test_values_without_end_are_refused(value):
    with pytest.raises(ValueError, match=r"nested too deeply|more than 4,000,000 values"):
        untrusted.count(value)


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, "[" * 10**5, '{"a":' * 10**5, "{", "\0"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\w"):
        untrusted.parse_json(text)
    assert untrusted.parse_json('{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize(
    "number", [5, -1, float("nan"), float("inf"), 10**400, -(10**400)], ids=lambda n: f"{str(n)[:5]}"
)
def test_a_number_out_of_bounds_is_named(number):
    untrusted.bound({"b": [0, 4, 2.5], "c": "text"}, "a", 4, 0)
    with pytest.raises(ValueError, match=r"^a\.b is .*, and must be from 0 to 4$"):
        untrusted.bound({"b": [1, number]}, "a", 4, 0)


def test_long_names_around_many_values_cost_no_time():
    """Pickles, as checkpoints hold them, write one long name once, wherever it stands."""
    name, options = "x" * 500_000, {"depth": [10**9], **{f"{i}": 0 for i in range(20_000)}}
    for _ in range(60):
        options = {name: options}
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"^x+\.depth is 1000000000, and must be at most 4,096$") as caught:
        untrusted.bound(options, "options", 4096)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - begun < 5
