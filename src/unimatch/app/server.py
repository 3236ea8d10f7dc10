"""Serves the page, and predicts the images that it sends. Only browsers on this machine are answered."""

import base64
import io
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from unimatch.app.page import app_page
from unimatch.errors import UnimatchError
from unimatch.images import ImageArray
from unimatch.inference.predictor import Predictor
from unimatch.rasters import read_bands
from unimatch.types import IGNORE_INDEX

ADDRESS = "127.0.0.1"
LARGEST_FILE = 100 * 2**20
"""How many bytes an image may have."""
SHOWN_SIDE = 1600
"""Larger images are shown at about this size, but predicted and counted at their own."""


class AppServer(ThreadingHTTPServer):
    """Serves the page of one model on 127.0.0.1, on a port or, for 0, on any free one.

    Raises:
        OSError: the port is taken.
        OverflowError: it is no port.
    """

    daemon_threads = True

    def __init__(self, predictor: Predictor, port: int) -> None:
        super().__init__((ADDRESS, port), Handler)
        self.predictor, self.page = predictor, app_page(predictor.facts).encode()
        self.lock = threading.Lock()  # one image at a time

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which a browser on this machine may call this server."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: AppServer
    timeout = 60

    def do_GET(self) -> None:
        """Sends the page."""
        if self.is_foreign():
            self.answer(HTTPStatus.FORBIDDEN, "text/plain", b"not for other sites")
        elif self.path == "/":
            self.answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"only / is here")

    def do_POST(self) -> None:
        """Predicts the image in the request's body and sends the result."""
        length = self.headers.get("Content-Length", "")
        if self.is_foreign() or self.headers.get("Content-Type") != "application/octet-stream":
            self.refuse(HTTPStatus.FORBIDDEN, "not for other sites")
        elif self.path != "/predict":
            self.refuse(HTTPStatus.NOT_FOUND, "only /predict is here")
        elif not length.isdecimal() or int(length) > LARGEST_FILE:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"images of up to {LARGEST_FILE // 2**20} MB are taken")
        else:
            try:
                result = predict(self.server.predictor, self.rfile.read(int(length)), self.server.lock)
            except UnimatchError as error:
                self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            else:
                self.answer(HTTPStatus.OK, "application/json", json.dumps(result).encode())

    def is_foreign(self) -> bool:
        """Returns whether a page of another site asks: under its own name (DNS rebinding), or from its own origin."""
        hosts = self.server.hosts
        origins = (None, *(f"http://{host}" for host in hosts))
        return self.headers.get("Host") not in hosts or self.headers.get("Origin") not in origins

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Sends an error and closes the connection."""
        self.close_connection = True
        self.answer(status, "application/json", json.dumps({"error": why}).encode())

    def answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        """Sends a response."""
        headers = {"Content-Type": kind, "Content-Length": str(len(content))}
        self.send_response(status)
        for name, value in (headers | {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass  # no line for each request


def predict(predictor: Predictor, content: bytes, lock: threading.Lock) -> dict[str, Any]:
    """Predicts the image in a file's content, holding the lock meanwhile, and returns what the page shows of it.

    Returns:
        ``photo``, a JPEG; ``prediction``, a PNG of the same size whose red is the class and whose green is the
        confidence, 0-255 for 0-1, both as data URLs; ``classes``: index, share and mean confidence of those found,
        the largest first, in percent.

    Raises:
        UnimatchError: it is no image that can be read.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(content)
        try:
            image = read_bands(path, predictor.facts.bands)
        except UnimatchError as error:
            raise type(error)(str(error).replace(str(path), "the file")) from error
    with lock:
        prediction = predictor.predict_batch([image], confidence=True)[0]
    sure = prediction.confidence
    assert sure is not None
    counts = np.bincount(prediction.mask.ravel(), minlength=IGNORE_INDEX + 1)
    sums = np.bincount(prediction.mask.ravel(), weights=sure.ravel(), minlength=IGNORE_INDEX + 1)
    found = sorted(np.flatnonzero(counts), key=lambda i: -counts[i])
    step = -(-max(image.shape[:2]) // SHOWN_SIDE)
    ids, levels = prediction.mask[::step, ::step], np.rint(sure[::step, ::step] * 255).astype(np.uint8)
    return {
        "photo": data_url(predictor.facts.bands.picture(image[::step, ::step]), "JPEG"),
        "prediction": data_url(np.stack([ids, levels, np.zeros_like(ids)], axis=-1), "PNG"),
        "classes": [
            {"index": int(i), "share": 100 * counts[i] / counts.sum(), "confidence": 100 * sums[i] / counts[i]}
            for i in found
        ],
    }


def data_url(picture: ImageArray, kind: str) -> str:
    """Returns a picture (H, W, 3) as a data URL."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
