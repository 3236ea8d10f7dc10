import statistics
from urllib.parse import unquote

import pytest

from helpers.runs import HOSTILE, make_run
from unimatch.compare import main
from unimatch.report import write_report


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1, 2):
        make_run(tmp_path / f"v2_{seed}", seed=seed, offset=seed**2, examples=False)
    make_run(tmp_path / "javascript:alert(1)", method="supervised", examples=False)
    return tmp_path


def test_the_page_has_means_over_seeds_and_links_to_reports(runs, capsys):
    write_report(runs / "javascript:alert(1)")
    assert main([str(runs), "--html", str(runs / "pages" / "all.html")]) == 0
    assert "page: " in capsys.readouterr().out
    text = (runs / "pages" / "all.html").read_text()
    assert "<h1>4 runs compared</h1>" in text
    assert unquote('href="../javascript%3Aalert%281%29/report.html"') == unquote(
        text[text.index('href="..') :].split(">")[0]
    )
    # Class "a&b" has 10 * evaluations + 2 + offset; offsets are 0, 1 and 4.
    values = [32.0, 33.0, 36.0]
    assert f"<strong>{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}</strong>" in text
    assert HOSTILE[0] not in text
    assert text.count("<polygon") == 6  # bands of the three seeds, in each chart
    for title in (
        "mIoU of the teacher",
        "mIoU of the student",
        "Loss on labelled images",
        "Mask ratio: confident pixels",
    ):
        assert f"<figcaption>{title}</figcaption>" in text


def test_groups_are_called_by_what_tells_them_apart(runs):
    assert main([str(runs), "--html", str(runs / "all.html")]) == 0
    text = (runs / "all.html").read_text()
    assert '<th scope="col">unimatch_v2</th><th scope="col">supervised</th>' in text or (
        '<th scope="col">supervised</th><th scope="col">unimatch_v2</th>' in text
    )


def test_a_page_that_cannot_be_written_is_named(runs, capsys):
    (runs / "file").touch()
    assert main([str(runs), "--html", str(runs / "file" / "all.html")]) == 2
    assert str(runs / "file" / "all.html") in capsys.readouterr().err


def test_the_differences_say_of_which_rows_they_are(tmp_path):
    for method in ("unimatch_v2", "fixmatch", "supervised"):
        for seed in (0, 1):
            make_run(tmp_path / f"{method}{seed}", method=method, seed=seed, examples=False)
    assert main([str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    _, _, pairs = (tmp_path / "all.html").read_text().partition("<h2>Seed by seed</h2>")
    first = pairs.partition('<th scope="col">')[2].partition(" against<")[0]
    assert f"Only {first}, the first row of several seeds, is set against the others" in pairs
    assert pairs.partition("</table>")[0].count("<tr>") == 1 + 2
