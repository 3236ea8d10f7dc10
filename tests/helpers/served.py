"""The local page: served for a test, and asked."""

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

BINARY = {"Content-Type": "application/octet-stream"}


@contextmanager
def serving(opened: Any) -> Iterator[Any]:
    """The server of a model, on a free port."""
    from unimatch.app.server import AppServer

    server = AppServer(opened, 0, seconds=600)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def ask(server: Any, method="POST", path="/predict", body=b"", headers=BINARY) -> tuple[int, bytes]:
    """The status and the content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def png(array: Any) -> bytes:
    """An array as the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def from_url(url: str) -> Image.Image:
    """The picture in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def noise(seed: int = 0, size: tuple[int, int] = (60, 80)) -> Any:
    """A photo (H, W, 3) of random colours."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def answered(server: Any, **files: bytes) -> Any:
    """What is predicted for files, as the page would ask for it."""
    query = "&".join(f"{name}={len(content)}" for name, content in files.items())
    status, content = ask(server, path=f"/predict?{query}", body=b"".join(files.values()))
    assert status == 200, content
    return json.loads(content)
