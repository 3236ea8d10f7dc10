import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from unimatch.report.markup import html, page, table, tag


class Read(HTMLParser):
    """What a browser finds: elements with their attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(str(text))
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data):
        self.text += data


plain = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(plain, plain)
def test_any_text_is_read_back_as_text(content, title):
    found = Read(tag("p", content, title=title))
    assert found.elements == [("p", {"title": title})]
    assert found.text == content


def test_nothing_is_left_out_but_none():
    assert html("a", None, [1, [0, None]], tag("b", "<")) == "a10<b>&lt;</b>"
    assert tag("input", value=None, aria_label=0) == '<input aria-label="0">'


def test_a_tables_first_column_names_its_rows():
    found = Read(table(["class", "%"], [["a", 1], ["b", tag("td", 2, class_="best")]], caption="Scores"))
    scopes = [attributes["scope"] for name, attributes in found.elements if name == "th"]
    assert scopes == ["col", "col", "row", "row"]
    assert [attributes for name, attributes in found.elements if name == "td"] == [{}, {"class": "best"}]


def test_a_page_runs_its_own_script_only():
    script = "document.title = 'a < b'"
    with_script, without = page("t", script=script), page("t")
    assert f"<script>{script}</script>" in with_script
    policy = re.search("script-src 'sha256-([^']+)'", unescape(str(with_script)))
    assert policy[1] == base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "script" not in without
