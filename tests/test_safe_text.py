"""What strangers write reaches no terminal and no spreadsheet as more than text."""

import csv
import io
import logging
import unicodedata

import pytest

from unimatch.checkpoints.resume import Change
from unimatch.errors import DataError
from unimatch.safe_text import csv_text, from_cell, one_line, printable
from unimatch.terminal import progress_bar, text_table

HOSTILE = "\x1b]0;title\x07\x1b[2J\r\x9b31m\u202eevil"


def is_harmless(text):
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text.replace("\n", ""))


def test_no_control_character_passes_and_all_else_does():
    for code in range(0x11000):
        character = chr(code)
        harmful = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t"
        turning = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
        assert (printable(character) != character) == (harmful or turning), hex(code)
    assert one_line("a\n\tb") == "a\\n\\tb"


def test_errors_logs_tables_bars_and_changes_are_harmless(capsys, caplog):
    assert is_harmless(str(DataError(f"{HOSTILE}: gone\nnext")))
    assert str(DataError("first\nnext")) == "first\nnext"
    with caplog.at_level(logging.WARNING, "unimatch"):
        logging.getLogger("unimatch").warning("%s: %d", HOSTILE, 3)
    assert is_harmless(caplog.records[0].getMessage())
    assert caplog.records[0].getMessage().endswith("evil: 3")
    lines = text_table([["class", "IoU"], [f"a\nb{HOSTILE}", "1"]])
    assert len(lines) == 2
    assert all(map(is_harmless, lines))
    change = str(Change("method.tau", f"0.8\n  all is well{HOSTILE}", 1))
    assert "\n" not in change
    assert is_harmless(change)
    progress_bar(3, f"writing\n{HOSTILE}", "file").close()
    assert is_harmless(capsys.readouterr().err.replace("\r", ""))


CELLS = ["=1+1", "+a", "-b", "@c", "\tx", "'=z", "''=z", "'quoted", "plain", "", "a=b", "a,b"]


@pytest.mark.parametrize("cell", CELLS)
def test_no_cell_of_text_is_a_formula_and_each_is_read_back(cell):
    (found,) = csv.reader(io.StringIO(csv_text([[cell, -1, 0.5]]), newline=""))
    assert found[0][:1] not in set("=+-@\t\r")
    assert found[1:] == ["-1", "0.5"]
    assert from_cell(found[0]) == cell


def test_a_carriage_return_ends_no_cell():
    assert next(csv.reader(io.StringIO(csv_text([["\r=y", "z"]]), newline=""))) == [r"\r=y", "z"]
