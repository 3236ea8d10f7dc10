"""The pages in a real browser: what they show, and every control by pointer and keyboard."""

from pathlib import Path

import pytest

from helpers.browser import DESKTOP, PHONE, check_page, headless, resize, unreached, violations
from helpers.runs import HOSTILE, make_run
from unimatch.compare import main as compare
from unimatch.report import write_report

pytestmark = pytest.mark.slow

THEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def browser():
    with headless() as driver:
        yield driver


@pytest.fixture(scope="module", params=["few classes", "many classes"])
def report(request, tmp_path_factory) -> Path:
    classes = HOSTILE if request.param == "few classes" else [f"class {i}" for i in range(32)]
    return write_report(make_run(tmp_path_factory.mktemp("report") / "run", classes=classes))


@pytest.fixture(scope="module")
def plain_report(tmp_path_factory) -> Path:
    """Of a run whose classes have harmless names."""
    place = tmp_path_factory.mktemp("report") / "run"
    return write_report(make_run(place, classes=["ground", "road", "car"]))


def look(browser, page: Path, theme: str = "light", size=DESKTOP) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    resize(browser, size)
    browser.get(page.as_uri())


def seen(browser, card, selector: str) -> bool:
    return browser.execute_script(
        "const e = arguments[0].querySelector(arguments[1]); return Boolean(e && e.getClientRects().length)",
        card,
        selector,
    )


def pixel(browser, card, layer: str) -> list[int]:
    """The colour and opacity of a layer's first pixel, as it is drawn now."""
    return browser.execute_script(
        "const image = arguments[0].querySelector('img.' + arguments[1]), next = image.nextElementSibling;"
        "const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;"
        "const context = canvas.getContext('2d'); context.drawImage(next?.tagName == 'CANVAS' ? next : image, 0, 0);"
        "return [...context.getImageData(0, 0, 1, 1).data]",
        card,
        layer,
    )


def press(browser, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


@pytest.mark.nightly  # the suite drives every control of one page at one size
def test_a_report_is_drawn_and_read_at_any_width(browser, report):
    browser.get(report.as_uri())
    assert browser.title == "unimatch_v2 on folder"  # no name of a class has run
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.plot > svg')].map(e => e.querySelectorAll('polyline').length && "
        "e.getBoundingClientRect().height)"
    )
    assert len(drawn) >= 4 + 4
    assert min(drawn) > 80
    assert browser.execute_script("return [...document.images].filter(e => !e.naturalWidth).length") == 0
    check_page(browser)
    assert unreached(browser) == []


@pytest.mark.nightly
@pytest.mark.parametrize("theme", THEMES)
def test_a_report_has_no_fault_of_access(browser, report, theme):
    look(browser, report, theme)
    if len(browser.find_elements("css selector", ".small .chart")) < 10:  # it takes long
        browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert violations(browser) == []


@pytest.mark.nightly
@pytest.mark.parametrize("theme", THEMES)
def test_an_enlarged_picture_has_no_fault_of_access(browser, plain_report, theme):
    look(browser, plain_report, theme)
    browser.find_element("css selector", "article .enlarge").click()
    assert violations(browser) == []


@pytest.mark.nightly
def test_tables_that_are_folded_open_with_the_keyboard(browser, report):
    from selenium.webdriver.common.keys import Keys

    browser.get(report.as_uri())
    first = browser.find_element("css selector", "summary")
    first.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", first)
    assert first.find_element("xpath", "..").find_element("tag name", "table").is_displayed()


@pytest.mark.nightly
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_every_control_of_a_report_does_what_it_says(browser, plain_report, size):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    look(browser, plain_report, size=size)
    # Values of each point, by the keyboard and under the pointer.
    chart = browser.find_element("css selector", "figure.chart")
    plot = chart.find_element("css selector", ".plot")
    assert plot.get_attribute("role") == "slider"
    browser.execute_script("arguments[0].focus()", plot)
    said = []
    for _ in range(3):
        said.append(plot.get_attribute("aria-valuetext"))
        press(browser, Keys.ARROW_LEFT)
    miou = [(10 * i + 10 * i + 2) / 2 for i in (3, 2, 1)]  # the second class has no score
    assert said == [f"step {100 * i}: teacher {m:.3g}%, student {m:.3g}%" for i, m in zip((3, 2, 1), miou, strict=True)]
    tip = chart.find_element("css selector", ".tip")
    assert tip.is_displayed()
    assert "step 100" in tip.text
    press(browser, Keys.ESCAPE)
    assert not tip.is_displayed()
    # A legend's entry hides its line, also from the values.
    chart.find_element("css selector", ".legend button").send_keys(Keys.SPACE)
    assert not seen(browser, chart, "g[data-line='0'] polyline")
    browser.execute_script("arguments[0].focus()", plot)
    assert "teacher" not in tip.text
    # A table is sorted by a column, what is unknown last, and as it was at the third press.
    table = browser.find_element("css selector", "table.bars")
    head = table.find_element("xpath", ".//th[.='teacher, IoU %']")
    names = "return [...arguments[0].querySelectorAll('tbody th')].map(e => e.textContent)"
    for order, said in (("car ground road", "descending"), ("ground car road", "ascending"), ("ground road car", None)):
        head.find_element("css selector", "button").send_keys(Keys.ENTER)
        assert browser.execute_script(names, table) == order.split()
        assert head.get_attribute("aria-sort") == said
    # What is shown of a picture: by its buttons, by keys, for all at once.
    first, second = browser.find_elements("css selector", "article.example")[:2]
    assert [seen(browser, first, f".{name}") for name in ("teacher", "truth", "errors")] == [True, False, False]
    switch = first.find_element("css selector", "input:checked")
    switch.send_keys("4")
    assert [seen(browser, first, f".{name}") for name in ("teacher", "errors")] == [False, True]
    switch.send_keys("1")
    assert not any(seen(browser, first, f".{name}") for name in ("teacher", "truth", "errors", "confidence"))
    every = Select(browser.find_element("css selector", ".switches select"))
    every.select_by_value("confidence")
    assert seen(browser, first, ".confidence")
    assert seen(browser, second, ".confidence")
    every.select_by_value("truth")
    # Classes hide in all pictures at once.
    shown = pixel(browser, first, "truth")
    assert shown[3] > 0
    browser.execute_script("arguments[0].focus()", box := browser.find_element("css selector", ".classes input"))
    box.send_keys(Keys.SPACE)
    await_(lambda: [pixel(browser, card, "truth")[3] for card in (first, second)] == [0, 0])
    box.send_keys(Keys.SPACE)
    await_(lambda: pixel(browser, second, "truth") == shown)
    for name, opacity in (("none", 0), ("all", shown[3])):
        browser.find_element("xpath", f"//*[@class='classes']//button[.='{name}']").send_keys(Keys.ENTER)
        await_(lambda wanted=opacity: pixel(browser, second, "truth")[3] == wanted)
    # Enlarged, stepped through, closed.
    first.find_element("css selector", ".enlarge").send_keys(Keys.ENTER)
    viewer = browser.find_element("css selector", "dialog.viewer")
    title = "dialog h3"
    titles = [browser.find_element("css selector", title).text]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        press(browser, key)
        titles.append(browser.find_element("css selector", title).text)
    assert titles == [HOSTILE[1], "worst", "least certain", HOSTILE[1], "least certain"]
    assert seen(browser, viewer, ".truth")  # what was shown stays
    viewer.find_element("css selector", "button[value=next]").click()
    assert browser.find_element("css selector", title).text == HOSTILE[1]
    press(browser, "3")
    assert seen(browser, viewer, ".errors") or seen(browser, viewer, ".teacher")
    press(browser, Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert len(browser.find_elements("css selector", "section article.example")) == 3
    assert browser.execute_script("return document.activeElement.className") == "enlarge"


def await_(condition, seconds: float = 10) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(None, seconds).until(lambda _: condition())


@pytest.mark.nightly
def test_the_pointer_finds_values_and_classes(browser, plain_report):
    from selenium.webdriver.common.action_chains import ActionChains

    look(browser, plain_report)
    chart = browser.find_element("css selector", "figure.chart")
    ActionChains(browser).move_to_element(chart.find_element("css selector", ".plot")).perform()
    assert "step 100" in chart.find_element("css selector", ".tip").text
    card = browser.find_element("css selector", "article.example")
    ActionChains(browser).move_to_element_with_offset(card.find_element("css selector", ".stage"), -20, -20).perform()
    await_(lambda: "truth: ground" in card.find_element("css selector", ".pointed").text)
    assert "confident" in card.find_element("css selector", ".pointed").text


@pytest.mark.nightly
def test_a_report_is_read_without_script(browser, plain_report):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        look(browser, plain_report)
        card = browser.find_element("css selector", "article.example")
        assert card.find_element("css selector", ".teacher").is_displayed()
        card.find_element("css selector", "input[value=truth]").click()
        assert card.find_element("css selector", ".truth").is_displayed()
        assert not card.find_element("css selector", ".teacher").is_displayed()
        assert not [e for e in browser.find_elements("css selector", ".live, .enlarge") if e.is_displayed()]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.nightly
@pytest.mark.parametrize("theme", THEMES)
def test_a_comparison_has_no_fault_either(browser, tmp_path, theme):
    for seed in (0, 1):
        write_report(make_run(tmp_path / f"v2_{seed}", seed=seed, offset=seed, examples=False))
        make_run(tmp_path / f"supervised_{seed}", method="supervised", seed=seed, examples=False)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "failed.json").write_text('{"why": "<b>no</b>"}')
    assert compare([str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    look(browser, tmp_path / "all.html", theme)
    assert browser.title == "4 runs compared"
    check_page(browser)
    assert unreached(browser) == []
    assert violations(browser) == []
    first = browser.find_element("css selector", "section > ul.legend button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", first)  # the links lie over the top
    first.click()
    hidden = browser.find_elements("css selector", "g[data-line='0']")
    assert len(hidden) >= 4
    assert not [line for line in hidden if line.is_displayed()]
    report = browser.find_element("link text", str(tmp_path / "v2_1"))
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", report)
    report.click()
    assert browser.current_url == (tmp_path / "v2_1" / "report.html").as_uri()
