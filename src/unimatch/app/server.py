"""Serves the page, and predicts the images that it sends. Only browsers on this machine are answered."""

import base64
import io
import json
import logging
import threading
import time
from copy import copy
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from unimatch.app.page import app_page
from unimatch.engines.test_time import Inference
from unimatch.errors import ConfigError, DataError, UnimatchError, first_line
from unimatch.images import ImageArray
from unimatch.inference.predictor import Predictor
from unimatch.rasters import pixel_count, read_bands
from unimatch.types import IGNORE_INDEX

log = logging.getLogger("unimatch")

ADDRESS = "127.0.0.1"
LARGEST_FILE = 100 * 2**20
"""How many bytes an image may have."""
LARGEST_IMAGE = 25_000_000
"""How many pixels."""
SIDE = 1000
"""Images of more than the square of this are predicted in windows of at most this side: one cannot be given up."""
LARGEST_SEEN = 4 * SIDE**2
"""How many pixels of them a scale may make."""
CONNECTIONS = 16
"""How many are answered at once; further ones are closed."""
BODIES = 2
"""How many images are held at once: one that is predicted, and the next."""
PATIENCE = 60.0
"""How many seconds a connection may be silent, an image may take to arrive, and the next one waits for its turn."""
SHOWN_SIDE = 1600
"""Larger images are shown at about this size, but predicted and counted at their own."""


class AppServer(ThreadingHTTPServer):
    """Serves the page of one model on 127.0.0.1, on a port or, for 0, on any free one.

    Args:
        predictor: of the model.
        port: of this machine.
        seconds: how long an image may be predicted; then it is given up, after the window that the model sees.

    Raises:
        ConfigError: ``seconds`` is not above 0.
        OSError: the port is taken.
        OverflowError: it is no port.
    """

    daemon_threads = True

    def __init__(self, predictor: Predictor, port: int, *, seconds: float = 20.0) -> None:
        if not isinstance(seconds, (int, float)) or not seconds > 0:
            raise ConfigError(f"seconds={seconds}: must be above 0")
        super().__init__((ADDRESS, port), Handler)
        self.predictor, self.page = copy(predictor), app_page(predictor.facts).encode()
        self.predictor.engine = self.engine = Impatient(predictor.engine, seconds)
        self.predictor.inference = in_windows(predictor.inference)
        self.lock = threading.Lock()  # one image at a time, from its header to its answer
        self.connections, self.bodies = threading.Semaphore(CONNECTIONS), threading.Semaphore(BODIES)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which a browser on this machine may call this server."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"


def in_windows(rule: Inference) -> Inference:
    """Returns a rule by which the model sees no more at once than :data:`SIDE` squared, but for its scales."""
    large = min(rule.large or SIDE**2, SIDE**2)
    return replace(rule, large=large) if rule.window <= SIDE else replace(rule, large=large, window=SIDE, stride=None)


class Impatient:
    """An engine that gives up when :meth:`begin` was longer ago than some seconds; else the engine that it is given."""

    def __init__(self, engine: Any, seconds: float) -> None:
        self.engine, self.seconds = engine, seconds
        self.begin()

    def begin(self) -> None:
        """Begins to count."""
        self.until, self.pixels = time.monotonic() + self.seconds, 0.0

    def logits(self, images: Any, scale: float = 1.0, **options: Any) -> Any:
        """Returns the engine's logits, or raises a DataError."""
        pixels = images.shape[-1] * images.shape[-2] * scale**2
        if pixels > LARGEST_SEEN:
            raise DataError(
                f"the file: at scale {scale:g} the model would see {pixels / 1e6:.1f} million pixels at once"
            )
        if time.monotonic() > self.until:
            raise DataError(
                f"the file: given up after {self.seconds:g} s, in which the model saw {self.pixels / 1e6:.1f} million "
                "pixels, windows and scales counted each; make it smaller, start the app with larger seconds, or use "
                "python -m unimatch.predict"
            )
        self.pixels += pixels
        return self.engine.logits(images, scale, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: AppServer
    timeout = PATIENCE

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
        elif not self.server.bodies.acquire(timeout=PATIENCE):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "other images are being predicted; try again")
        else:
            try:
                self.answer_image(int(length))
            finally:
                self.server.bodies.release()

    def answer_image(self, length: int) -> None:
        """Reads an image of that many bytes and sends what is predicted for it."""
        until, content = time.monotonic() + PATIENCE, bytearray()
        try:
            while len(content) < length and (part := self.rfile.read1(min(length - len(content), 2**20))):
                content += part
                if time.monotonic() > until:
                    raise TimeoutError
        except TimeoutError:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"the image did not arrive within {PATIENCE:g} s")
            return
        try:
            with self.server.lock:
                self.server.engine.begin()
                result = predict(self.server.predictor, bytes(content))
        except UnimatchError as error:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except MemoryError:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the file: this machine's memory does not suffice for it")
        except (OSError, RuntimeError) as error:  # such as a full disk, or a GPU without memory
            log.exception("an image was not predicted")
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the file: was not predicted ({first_line(error)})")
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
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself says the rest
        }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass  # no line for each request


def predict(predictor: Predictor, content: bytes) -> dict[str, Any]:
    """Predicts the image in a file's content and returns what the page shows of it.

    Returns:
        ``photo``, a JPEG; ``prediction``, a PNG of the same size whose red is the class and whose green is the
        confidence, 0-255 for 0-1, both as data URLs; ``classes``: index, share and mean confidence of those found,
        the largest first, in percent.

    Raises:
        UnimatchError: it is no image that can be read, or has more than :data:`LARGEST_IMAGE` pixels.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(content)
        try:
            if (pixels := pixel_count(path)) > LARGEST_IMAGE:
                raise DataError(
                    f"{path}: has {pixels / 1e6:.1f} million pixels, and this page takes up to "
                    f"{LARGEST_IMAGE / 1e6:g}; python -m unimatch.predict takes more"
                )
            image = read_bands(path, predictor.facts.bands)
        except UnimatchError as error:
            raise type(error)(str(error).replace(str(path), "the file")) from error
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
