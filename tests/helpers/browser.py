"""A headless browser without network access, and what every page has to pass in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.places import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = (1280, 900), (360, 740)


@contextmanager
def headless() -> Iterator[Any]:
    """Chromium behind selenium; the test is skipped where one of them is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # it does not run as root with one
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(300)  # axe-core on a busy machine
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser: Any, size: tuple[int, int]) -> None:
    """Make the page's window this large; browsers' own windows do not become as small as a phone's."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def check_page(browser: Any) -> None:
    """Nothing in the console, nothing wider than a phone, no text of less than 10 pixels there."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    resize(browser, PHONE)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    small = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType == 3 && "
        "n.data.trim()) && e.getClientRects().length && !e.closest('title, desc')).filter(e => parseFloat("
        "getComputedStyle(e).fontSize) * (e.ownerSVGElement && e.ownerSVGElement.viewBox.baseVal.width ? "
        "e.ownerSVGElement.clientWidth / e.ownerSVGElement.viewBox.baseVal.width : 1) < 10).map(e => e.outerHTML)"
    )
    assert small == []
    resize(browser, DESKTOP)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= DESKTOP[0]


def unreached(browser: Any) -> list[str]:
    """The controls in sight that Tab does not come to; of a group of round switches the chosen one is enough."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    count = browser.execute_script(
        "window.wanted = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility() && !e.disabled && (e.type != 'radio' || e.checked));"
        "window.reached = new Set(); document.addEventListener('focusin', e => reached.add(e.target));"
        "wanted[0].focus(); return wanted.length"
    )
    ActionChains(browser).send_keys(Keys.TAB * count).perform()
    left: list[str] = browser.execute_script("return wanted.filter(e => !reached.has(e)).map(e => e.outerHTML)")
    return left


def violations(browser: Any) -> list[str]:
    """What axe-core finds, at both sizes; the test is skipped where it is missing."""
    if not AXE.is_file():
        pytest.skip("no axe-core here: npm install --no-save axe-core")
    found = []
    for size in (PHONE, DESKTOP):
        resize(browser, size)
        browser.execute_script(AXE.read_text(encoding="utf-8"))
        # Colours on their way from one size's to the other's are nobody's.
        browser.execute_script("document.getAnimations().filter(e => e instanceof CSSTransition).map(e => e.finish())")
        result = browser.execute_async_script("axe.run().then(arguments[0], e => arguments[0]({violations: [e]}))")
        found += [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in result["violations"]]
    return found
