"""The local page's server: what it answers, and what it refuses."""

import http.client
import io
import json
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from helpers.served import BINARY, ask, from_url, noise, png, serving
from helpers.support import save_run
from unimatch import ConfigError, Inference
from unimatch.app import masks, pictures
from unimatch.app import server as app
from unimatch.app.opened import open_model
from unimatch.images.rasters import read_bands


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_model(str(save_run(tmp_path_factory.mktemp("app") / "best.ckpt", tmp_path_factory.mktemp("data"))))


@pytest.fixture(scope="module")
def server(opened):
    with serving(opened) as server:
        yield server


@pytest.fixture
def photo():
    return noise()


def wait_until(holds):
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_large_images_are_shown_smaller(server, monkeypatch, photo):
    monkeypatch.setattr(pictures, "SHOWN_SIDE", 30)
    answer = json.loads(ask(server, body=png(photo))[1])
    assert [from_url(url).size for url in (*answer["photos"], answer["prediction"])] == [(27, 20)] * 2
    assert from_url(answer["mask"]).size == (80, 60)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"headers": {**BINARY, "Host": "evil.example"}}, 403),
        ({"headers": {**BINARY, "Origin": "http://evil.example"}}, 403),
        ({"headers": {"Content-Type": "text/plain"}}, 403),
        ({"headers": {**BINARY, "Content-Length": "999999999"}}, 413),
        ({"headers": {**BINARY, "Content-Length": "-1"}}, 413),
        ({"headers": {**BINARY, "Content-Length": "1" * 5000}}, 413),
        ({"path": "/other"}, 404),
        ({"path": "/predict?image=7&other=1", "body": b"no image"}, 422),
        ({"path": "/predict?truth=8", "body": b"no image"}, 422),
        ({"path": "/predict?image=9", "body": b"no image"}, 422),
        ({"path": "/predict?image=-8", "body": b"no image"}, 422),
        ({"path": "/coco?name=a", "body": b"no image"}, 422),
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
def test_seconds_must_be_above_0(opened, seconds):
    with pytest.raises(ConfigError, match=r"^seconds="):
        app.AppServer(opened, 0, seconds=seconds)


def test_only_this_machine_is_served(server):
    assert server.server_address[0] == "127.0.0.1"


def flat_png(side, mode="1") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, "PNG", optimize=True)
    return file.getvalue()


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(server, monkeypatch):
    monkeypatch.setattr(masks, "read_bands", lambda *_: pytest.fail("it was decoded"))
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

    monkeypatch.setattr(masks, "read_bands", read)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: ask(server, body=png(photo))[0], range(6)))
    assert found == [200] * 6
    assert most == [1] * 6


def test_an_image_that_takes_too_long_is_given_up_with_the_figure(server, monkeypatch, photo):
    engine = server.model.engine
    monkeypatch.setattr(server.time_limit, "seconds", 0.2)
    monkeypatch.setattr(server.model.predictor, "inference", Inference("sliding", window=20, stride=20))
    slow = engine.engine.logits

    def logits(*arguments, **options):
        time.sleep(0.15)
        return slow(*arguments, **options)

    monkeypatch.setattr(engine.engine, "logits", logits)
    status, content = ask(server, body=png(photo))
    assert status == 422
    assert "given up after 0.2 s, in which the model saw 0.0 million pixels" in json.loads(content)["error"]


def test_connections_and_bodies_are_bounded(server, monkeypatch):
    held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(app.CONNECTIONS)]
    try:
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(server, "GET", "/")
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: server.connections._value == app.CONNECTIONS)
    monkeypatch.setattr(app, "LONGEST_WAIT", 0.1)
    for _ in range(app.BODIES):
        server.bodies.acquire()
    try:
        assert ask(server, body=b"x")[0] == 503
    finally:
        for _ in range(app.BODIES):
            server.bodies.release()
    assert ask(server, "GET", "/")[0] == 200


def test_a_body_that_trickles_in_does_not_hold_its_place(server, monkeypatch):
    monkeypatch.setattr(app, "LONGEST_WAIT", 0.1)
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        head = f"POST /predict HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
        while not select.select([connection], [], [], 0.06)[0]:  # until it answers
            connection.sendall(b"x")
        assert b" 408 " in connection.recv(100)


@pytest.mark.parametrize("sent", ["half", "whole"])
def test_a_page_that_is_closed_meanwhile_is_no_error(sent, server, monkeypatch, photo, capfd, caplog):
    ended, shutdown = threading.Event(), server.shutdown_request
    monkeypatch.setattr(server, "shutdown_request", lambda request: (shutdown(request), ended.set()))
    began, closed = threading.Event(), threading.Event()
    answer = server.model.answer
    monkeypatch.setattr(server.model, "answer", lambda files: (began.set(), closed.wait(10), answer(files))[-1])
    body = png(photo)
    head = f"POST /predict HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port)) as browser:
        browser.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
        browser.sendall(body if sent == "whole" else body[:20])
        assert sent == "half" or began.wait(10)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes it with a reset
    closed.set()
    assert ended.wait(10)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_fault_of_the_program_is_logged_and_the_server_goes_on(server, monkeypatch, photo, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(server.model, "answer", lambda files: 1 / 0)
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, body=png(photo))
    assert "ZeroDivisionError" in caplog.text
    assert ask(server, body=png(photo))[0] == 200


def test_no_other_site_may_frame_the_page(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().headers["Content-Security-Policy"] == "frame-ancestors 'none'"
