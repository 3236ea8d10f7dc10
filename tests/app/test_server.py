"""The local page: what its server answers, and the page in a real browser."""

import base64
import http.client
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from helpers.browser import check_page, headless, resize, violations
from helpers.support import save_run
from unimatch import Predictor
from unimatch.app import server as app

BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("app") / "best.ckpt", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def server(checkpoint):
    server = app.AppServer(Predictor(checkpoint), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def ask(server, method="POST", path="/predict", body=b"", headers=BINARY):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_the_answer_is_the_predictors(server, photo):
    status, content = ask(server, body=png(photo))
    assert status == 200
    answer = json.loads(content)
    prediction = server.predictor(photo, confidence=True)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["prediction"].partition(",")[2]))))
    assert np.array_equal(shown[..., 0], prediction.mask)
    assert np.abs(shown[..., 1] / 255 - prediction.confidence).max() <= 0.5 / 255 + 1e-6
    assert sum(found["share"] for found in answer["classes"]) == pytest.approx(100)
    for found in answer["classes"]:
        inside = prediction.mask == found["index"]
        assert found["share"] == pytest.approx(100 * inside.mean())
        assert found["confidence"] == pytest.approx(100 * prediction.confidence[inside].mean(), rel=1e-4)
    assert [found["share"] for found in answer["classes"]] == sorted(
        (found["share"] for found in answer["classes"]), reverse=True
    )


def test_large_images_are_shown_smaller(server, monkeypatch, photo):
    monkeypatch.setattr(app, "SHOWN_SIDE", 30)
    answer = json.loads(ask(server, body=png(photo))[1])
    for key in ("photo", "prediction"):
        assert Image.open(io.BytesIO(base64.b64decode(answer[key].partition(",")[2]))).size == (27, 20)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"headers": {**BINARY, "Host": "evil.example"}}, 403),
        ({"headers": {**BINARY, "Origin": "http://evil.example"}}, 403),
        ({"headers": {"Content-Type": "text/plain"}}, 403),
        ({"headers": {**BINARY, "Content-Length": "999999999"}}, 413),
        ({"headers": {**BINARY, "Content-Length": "-1"}}, 413),
        ({"path": "/other"}, 404),
        ({"body": b"no image"}, 422),
        ({"method": "GET", "path": "/../../etc/passwd"}, 404),
        ({"method": "GET", "path": "/", "headers": {"Host": "evil.example"}}, 403),
    ],
)
def test_others_and_what_is_no_image_are_refused(server, changes, status):
    assert ask(server, **changes)[0] == status


def test_messages_name_no_passing_file(server):
    assert json.loads(ask(server, body=b"no image")[1])["error"].startswith("the file: cannot be read")


def test_only_this_machine_is_served(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.slow
def test_the_page_in_a_browser(server, tmp_path, photo):
    from selenium.webdriver.support.wait import WebDriverWait

    Image.fromarray(photo).save(tmp_path / "<b>photo.png")
    prediction = server.predictor(photo, confidence=True)
    with headless() as browser:
        browser.get(server.url)
        check_page(browser)
        browser.find_element("id", "file").send_keys(str(tmp_path / "<b>photo.png"))
        result = browser.find_element("id", "result")
        WebDriverWait(browser, 120).until(lambda _: result.is_displayed())
        assert browser.find_element("id", "status").text.startswith("<b>photo.png: ")
        found = browser.find_elements("css selector", "#classes tr")
        assert len(found) == len(np.unique(prediction.mask))

        def drawn(script="") -> np.ndarray:
            url = browser.execute_script(script + "return document.getElementById('overlay').toDataURL()")
            return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).astype(int)

        overlay = drawn()
        palette = np.array(server.predictor.facts.palette)
        assert (overlay[..., 3] == 140).all()  # 55% of 255
        assert np.abs(overlay[..., :3] - palette[prediction.mask]).max() <= 2  # alpha rounds colours
        moved = "const t = document.getElementById('threshold'); t.value = 50; t.dispatchEvent(new Event('input'));"
        levels = np.rint(prediction.confidence * np.float32(255))
        assert np.array_equal(drawn(moved)[..., 3] > 0, levels >= 127.5)
        check_page(browser)
        assert violations(browser) == []
        # With the keyboard: the file, the view, the sliders.
        resize(browser, (1280, 900))
        browser.execute_script("document.getElementById('file').focus()")
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        reached = []
        for _ in range(3):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            reached.append(browser.switch_to.active_element.get_attribute("id") or "view")
        assert reached == ["view", "opacity", "threshold"]
        ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
        assert browser.find_element("id", "threshold_value").text == "51%"

        (tmp_path / "text.png").write_text("no image")
        browser.find_element("id", "file").send_keys(str(tmp_path / "text.png"))
        WebDriverWait(browser, 60).until(lambda _: not result.is_displayed())
        assert "cannot be read" in browser.find_element("id", "status").text
