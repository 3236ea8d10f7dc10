"""The pages in a real browser."""

from pathlib import Path

import pytest

from helpers.browser import check_page, headless, violations
from helpers.runs import HOSTILE, make_run
from unimatch.compare import main as compare
from unimatch.report import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with headless() as driver:
        yield driver


@pytest.fixture(scope="module", params=["few classes", "many classes"])
def report(request, tmp_path_factory) -> Path:
    classes = HOSTILE if request.param == "few classes" else [f"class {i}" for i in range(32)]
    return write_report(make_run(tmp_path_factory.mktemp("report") / "run", classes=classes))


def test_a_report_is_drawn_and_read_at_any_width(browser, report):
    browser.get(report.as_uri())
    assert browser.title == "unimatch_v2 on folder"  # no name of a class has run
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.chart > svg')].map(e => e.querySelectorAll('polyline').length && "
        "e.getBoundingClientRect().height)"
    )
    assert len(drawn) >= 4 + 4
    assert min(drawn) > 80
    assert (
        browser.execute_script("return [...document.images].filter(e => !e.naturalWidth && e.loading != 'lazy').length")
        == 0
    )
    check_page(browser)


def test_a_report_has_no_fault_of_access(browser, report):
    browser.get(report.as_uri())
    if len(browser.find_elements("css selector", ".small .chart")) < 10:  # it takes long
        browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert violations(browser) == []


def test_tables_that_are_folded_open_with_the_keyboard(browser, report):
    from selenium.webdriver.common.keys import Keys

    browser.get(report.as_uri())
    first = browser.find_element("css selector", "summary")
    first.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", first)
    assert first.find_element("xpath", "..").find_element("tag name", "table").is_displayed()


def test_a_comparison_has_no_fault_either(browser, tmp_path):
    for seed in (0, 1):
        write_report(make_run(tmp_path / f"v2_{seed}", seed=seed, offset=seed, examples=False))
    make_run(tmp_path / "supervised", method="supervised", examples=False)
    assert compare([str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    browser.get((tmp_path / "all.html").as_uri())
    assert browser.title == "3 runs compared"
    check_page(browser)
    assert violations(browser) == []
    browser.find_element("link text", str(tmp_path / "v2_1")).click()
    assert browser.current_url == (tmp_path / "v2_1" / "report.html").as_uri()
