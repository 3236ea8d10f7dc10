"""The local page in a real browser: every control is driven."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from helpers.browser import check_page, headless, resize, unreached, violations
from helpers.served import from_url, noise, serving
from helpers.support import save_run
from unimatch import ChangeModel, ClassificationModel, Classifier, Predictor
from unimatch.app.opened import Opened, open_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_model(str(save_run(tmp_path_factory.mktemp("app") / "best.ckpt", tmp_path_factory.mktemp("data"))))


def choose(browser, part, *paths):
    field = browser.find_element("id", part)
    browser.execute_script("arguments[0].value = ''", field)  # selenium adds to what is chosen, as nobody can
    field.send_keys("\n".join(map(str, paths)))


def wait(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 120, poll_frequency=0.05).until(lambda _: condition())


def says(browser, text):
    wait(browser, lambda: browser.find_element("id", "status").text.startswith(text))


def drawn(browser) -> np.ndarray:
    return np.asarray(from_url(browser.execute_script("return document.getElementById('overlay').toDataURL()"))).astype(
        int
    )


def pick(browser, name, value):
    browser.find_element("css selector", f"input[name={name}][value={value}]").click()


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def scale(browser) -> int:
    return int(browser.find_element("id", "zoom_value").text.rstrip("%"))


def downloads(browser, folder) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})


def whole(path) -> bytes:
    """The content of a file that a browser downloads, once it is there."""
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    return path.read_bytes()


def look(browser, mode):
    features = [{"name": "prefers-color-scheme", "value": mode}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_the_page_in_a_browser(opened, tmp_path):
    photo = noise()
    Image.fromarray(photo).save(tmp_path / "<b>photo.png")
    prediction = opened.model(photo, confidence=True)
    with serving(opened) as server, headless() as browser:
        browser.get(server.url)
        check_page(browser)
        choose(browser, "image", tmp_path / "<b>photo.png")
        says(browser, "<b>photo.png: ")
        assert len(browser.find_elements("css selector", "#classes tr")) == len(np.unique(prediction.mask))
        overlay = drawn(browser)
        palette = np.array(opened.model.facts.colors)
        assert (overlay[..., 3] == 140).all()  # 55% of 255
        assert np.abs(overlay[..., :3] - palette[prediction.mask]).max() <= 2  # alpha rounds colours
        check_page(browser)
        assert violations(browser) == []

        (tmp_path / "text.png").write_text("no image")
        choose(browser, "image", tmp_path / "text.png")
        says(browser, "text.png: the file: cannot be read")
        assert not browser.find_element("id", "result").is_displayed()


@pytest.mark.nightly  # the suite opens the page and draws a mask
def test_every_control_of_masks(opened, tmp_path):
    from selenium.webdriver.common.keys import Keys

    photos = {f"{name}.png": noise(i) for i, name in enumerate("abc")}
    for name, photo in photos.items():
        Image.fromarray(photo).save(tmp_path / name)
    truth = np.zeros((60, 80), np.uint8)
    truth[:10] = 255
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "b_mask.png"):
        Image.fromarray(truth).save(tmp_path / "masks" / name)
    expected = {name: opened.model(photo, confidence=True) for name, photo in photos.items()}
    with serving(opened) as server, headless() as browser:
        downloads(browser, tmp_path / "saved")
        browser.get(server.url)
        resize(browser, (1280, 900))
        choose(browser, "image", *(tmp_path / name for name in photos))
        says(browser, "a.png: ")

        # Stepping: buttons, the list, and keys.
        browser.find_element("id", "next").click()
        says(browser, "b.png: ")
        browser.find_element("css selector", "#files li:nth-child(3) button").click()
        says(browser, "c.png: ")
        press(browser, Keys.ARROW_UP)
        says(browser, "b.png: ")
        browser.find_element("id", "stage").click()
        press(browser, "n")
        says(browser, "c.png: ")
        press(browser, "p", "p")
        says(browser, "a.png: ")
        assert not browser.find_element("id", "previous").is_enabled()

        # Truth: by the names of the files.
        choose(browser, "truth", tmp_path / "masks" / "a.png", tmp_path / "masks" / "b_mask.png")
        says(browser, "a.png: ")
        wait(browser, lambda: "mIoU of this image" in browser.find_element("id", "scores").text)
        seen = expected["a.png"].mask
        iou = 100 * (seen[10:] == 0).sum() / truth[10:].size
        rows = [row.text.split() for row in browser.find_elements("css selector", "#classes tr")]
        assert f"{iou:.1f}" in next(row for row in rows if row[0] == "sky")
        pick(browser, "view", "errors")
        assert np.array_equal(drawn(browser)[..., 3] > 0, (seen != truth) & (truth != 255))
        pick(browser, "view", "truth")
        assert np.array_equal(drawn(browser)[..., 3] > 0, truth != 255)
        browser.find_element("id", "next").click()
        says(browser, "b.png: ")
        assert "2 images together" in browser.find_element("id", "scores").text
        browser.find_element("id", "next").click()
        says(browser, "c.png: ")
        assert not browser.find_element("css selector", "input[value=errors]").is_enabled()
        assert browser.find_element("css selector", "input[value=classes]").is_selected()

        # Classes by the table, sliders, and the scale of confidence.
        seen = expected["c.png"]
        box = browser.find_element("css selector", "#classes input")
        shown = int(box.get_attribute("data-index"))
        box.click()
        assert np.array_equal(drawn(browser)[..., 3] > 0, seen.mask != shown)
        browser.find_element("id", "all").click()
        browser.find_element("id", "all").click()
        assert not drawn(browser)[..., 3].any()
        browser.find_element("id", "all").click()
        assert drawn(browser)[..., 3].all()
        browser.execute_script("document.getElementById('threshold').focus()")
        press(browser, *[Keys.ARROW_RIGHT] * 20)
        assert browser.find_element("id", "threshold_value").text == "20%"
        assert np.array_equal(drawn(browser)[..., 3] > 0, np.rint(seen.confidence * 255) >= 51)
        press(browser, *[Keys.ARROW_LEFT] * 20)
        pick(browser, "view", "confidence")
        assert browser.find_element("id", "scale").is_displayed()
        green = drawn(browser)[..., 1]
        assert green[np.unravel_index(seen.confidence.argmax(), green.shape)] == green.max()

        # Zoom and pan: buttons, wheel, keys.
        browser.find_element("id", "zoom_in").click()
        assert scale(browser) == 150
        browser.find_element("id", "zoom_out").click()
        assert scale(browser) == 100
        browser.find_element("id", "stage").click()
        press(browser, "+", "+")
        assert scale(browser) == 156
        before = browser.find_element("id", "layers").get_attribute("style")
        press(browser, Keys.ARROW_RIGHT)
        assert browser.find_element("id", "layers").get_attribute("style") != before
        assert browser.find_element("id", "pointed").text.startswith("In the middle: ")
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        origin = ScrollOrigin.from_element(browser.find_element("id", "stage"))
        ActionChains(browser).scroll_from_origin(origin, 0, -100).perform()
        wait(browser, lambda: scale(browser) == 195)
        browser.find_element("id", "fit").click()
        assert scale(browser) == 100

        # Downloads.
        for kind in ("mask", "overlay", "coco"):
            browser.find_element("id", f"save_{kind}").click()
        whole(tmp_path / "saved" / "c_mask.png")
        assert np.array_equal(np.asarray(Image.open(tmp_path / "saved" / "c_mask.png")), seen.mask)
        content = json.loads(whole(tmp_path / "saved" / "c.json"))
        assert sum(note["area"] for note in content["annotations"]) == seen.mask.size
        whole(tmp_path / "saved" / "c_overlay.png")
        assert Image.open(tmp_path / "saved" / "c_overlay.png").size == (80, 60)

        assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
        assert unreached(browser) == []
        for mode in ("light", "dark"):
            look(browser, mode)
            assert violations(browser) == []
        resize(browser, (390, 844))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.nightly  # the suite opens the page of a model of masks
def test_pairs_and_classes(tmp_path):
    from unimatch.inference.load import Trained, facts_from, facts_values

    for name, seed in (("A", 1), ("B", 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(noise(seed)).save(tmp_path / name / "place.png")
    pairs = Predictor(ChangeModel("tiny", 2, features=8, out_channels=(8,) * 4), device="cpu")
    with serving(Opened(pairs)) as server, headless() as browser:
        browser.get(server.url)
        check_page(browser)
        choose(browser, "image", tmp_path / "A" / "place.png")
        says(browser, "place.png: its second date is missing")
        choose(browser, "second", tmp_path / "B" / "place.png")
        wait(browser, lambda: browser.find_element("id", "result").is_displayed())
        first = browser.find_element("id", "photo").get_attribute("src")
        pick(browser, "date", "second")
        assert browser.find_element("id", "photo").get_attribute("src") != first
        check_page(browser)
        assert unreached(browser) == []
        name = "const e = document.querySelector('#classes th span:last-child'); e.textContent = 'unchanged'; "
        for mode in ("light", "dark"):
            look(browser, mode)
            assert violations(browser) == []
        for size in ((1280, 900), (390, 844)):
            resize(browser, size)
            assert browser.execute_script(f"{name}return e.offsetHeight") < 30  # of one line

    model = ClassificationModel("tiny", 12, image_size=32).eval()
    facts = facts_from(facts_values(model, [f"kind {i}" for i in range(12)], ()) | {"inference": {}}, "the test")
    with serving(Opened(Classifier(Trained(model, facts), device="cpu"))) as server, headless() as browser:
        browser.get(server.url)
        choose(browser, "image", tmp_path / "A" / "place.png", tmp_path / "B" / "place.png")
        says(browser, "place.png: kind ")
        assert len(browser.find_elements("css selector", "#classes tr")) == 10
        assert unreached(browser) == []
        check_page(browser)
        for mode in ("light", "dark"):
            look(browser, mode)
            assert violations(browser) == []
