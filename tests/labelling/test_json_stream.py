import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimatch.data.prepare.archives import Member
from unimatch.errors import DataError
from unimatch.labelling import json_stream
from unimatch.labelling.json_stream import elements

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=9,
)


def read(folder, text, piece=None):
    (folder / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        if piece:
            patch.setattr(json_stream, "PIECE", piece)
        return list(elements(Member(folder, "a.json", (folder / "a.json").stat().st_size)))


@pytest.mark.nightly
@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4) | st.lists(values, max_size=5), st.integers(1, 20))
def test_pieces_of_any_length_hold_what_the_file_does(tmp_path_factory, content, piece):
    folder = tmp_path_factory.getbasetemp()
    pairs = content.items() if isinstance(content, dict) else [("", content)]
    expected = [(key, item) for key, value in pairs for item in (value if isinstance(value, list) else [value])]
    for style in ({"ensure_ascii": False}, {"indent": 2}):
        assert read(folder, json.dumps(content, **style), piece) == expected


def test_a_byte_order_mark_is_passed_over(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf[1]") == [("", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2', r"a\.json: is cut short"),
        ('{"a": [{"b": 1}, {"b', r"a\.json: is cut short or no JSON"),
        ("", r"a\.json: is cut short"),
        ("<xml/>", "begins with neither"),
        ('{"a": nul}', "no JSON"),
        (b'{"a": "\xff"}', "no UTF-8"),
        ("[" * 100_000, "no JSON"),
        ("[" + "9" * 5000 + "]", "no JSON .*4300 digits"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    for piece in (7, None):
        with pytest.raises(DataError, match=message):
            read(tmp_path, text, piece)


def test_an_element_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST_ELEMENT", 1000)
    with pytest.raises(DataError, match="more than 1000 characters"):
        read(tmp_path, "[" + '"' + "x" * 9000, 100)
