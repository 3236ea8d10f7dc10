"""The local page: what its server answers, and the page in a real browser."""

import base64
import http.client
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from helpers.browser import check_page, headless, resize, violations
from helpers.support import save_run
from unimatch import ConfigError, DataError, Inference, Predictor
from unimatch.app import server as app
from unimatch.rasters import read_bands

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


def wait_until(holds):
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def ask(server, method="POST", path="/predict", body=b"", headers=BINARY):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_the_answer_is_the_predictors(server, photo):
    status, content = ask(server, body=png(photo))
    assert status == 200
    answer = json.loads(content)
    server.engine.begin()  # what came before took its time
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


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "soon"])
def test_seconds_must_be_above_0(server, seconds):
    with pytest.raises(ConfigError, match=r"^seconds="):
        app.AppServer(server.predictor, 0, seconds=seconds)


def test_only_this_machine_is_served(server):
    assert server.server_address[0] == "127.0.0.1"


def flat_png(side, mode="1") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, "PNG", optimize=True)
    return file.getvalue()


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(server, monkeypatch):
    monkeypatch.setattr(app, "read_bands", lambda *_: pytest.fail("it was decoded"))
    body = flat_png(13_000)
    assert len(body) < 35_000
    status, content = ask(server, body=body)
    assert status == 422
    assert "the file: has 169.0 million pixels, and this page takes up to 25" in json.loads(content)["error"]


def test_images_are_decoded_one_at_a_time(server, monkeypatch, photo):
    within, most = [], []

    def read(path, bands):
        within.append(path)
        most.append(len(within))
        time.sleep(0.05)
        image = read_bands(path, bands)
        within.pop()
        return image

    monkeypatch.setattr(app, "read_bands", read)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: ask(server, body=png(photo))[0], range(6)))
    assert found == [200] * 6
    assert most == [1] * 6


def test_an_image_that_takes_too_long_is_given_up_with_the_figure(server, monkeypatch, photo):
    engine = server.engine
    monkeypatch.setattr(engine, "seconds", 0.2)
    monkeypatch.setattr(server.predictor, "inference", Inference("sliding", window=20, stride=20))
    slow = engine.engine.logits

    def logits(*arguments, **options):
        time.sleep(0.15)
        return slow(*arguments, **options)

    monkeypatch.setattr(engine.engine, "logits", logits)
    status, content = ask(server, body=png(photo))
    assert status == 422
    assert "given up after 0.2 s, in which the model saw 0.0 million pixels" in json.loads(content)["error"]


def test_the_model_sees_windows_of_a_bounded_size():
    assert app.in_windows(Inference()) == Inference(large=1_000_000)
    assert app.in_windows(Inference(large=500)) == Inference(large=500)
    assert app.in_windows(Inference("sliding", window=8000, stride=10)) == Inference(
        "sliding", window=1000, large=1_000_000
    )
    with pytest.raises(DataError, match=r"at scale 3 the model would see 9\.0 million pixels at once"):
        app.Impatient(None, 1).logits(np.zeros((1, 3, 1000, 1000), np.uint8), 3.0)


def test_connections_and_bodies_are_bounded(server, monkeypatch):
    held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(app.CONNECTIONS)]
    try:
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(server, "GET", "/")
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: server.connections._value == app.CONNECTIONS)
    monkeypatch.setattr(app, "PATIENCE", 0.1)
    for _ in range(app.BODIES):
        server.bodies.acquire()
    try:
        assert ask(server, body=b"x")[0] == 503
    finally:
        for _ in range(app.BODIES):
            server.bodies.release()
    assert ask(server, "GET", "/")[0] == 200


def test_a_body_that_trickles_in_does_not_hold_its_place(server, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.1)
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        head = f"POST /predict HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
        for _ in range(4):
            connection.sendall(b"x")
            time.sleep(0.06)
        assert b" 408 " in connection.recv(100)


def test_no_other_site_may_frame_the_page(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().headers["Content-Security-Policy"] == "frame-ancestors 'none'"


@pytest.mark.slow
def test_the_page_in_a_browser(server, tmp_path, photo):
    from selenium.webdriver.support.wait import WebDriverWait

    Image.fromarray(photo).save(tmp_path / "<b>photo.png")
    server.engine.begin()  # what came before took its time
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
