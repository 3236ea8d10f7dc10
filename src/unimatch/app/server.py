"""Serves the page, and predicts the images that it sends. Only browsers on this machine are answered."""

import json
import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from typing_extensions import override

from unimatch.app.classes import Classes
from unimatch.app.coco import coco_json
from unimatch.app.files import parts_of
from unimatch.app.masks import Masks
from unimatch.app.opened import Opened
from unimatch.app.page import app_page
from unimatch.app.patience import Patience
from unimatch.errors import UnimatchError, first_line
from unimatch.inference.predictor import Predictor

log = logging.getLogger("unimatch")

ADDRESS = "127.0.0.1"
LARGEST_FILE = 100 * 2**20
"""How many bytes an image may have, with its second date and its mask."""
CONNECTIONS = 16
"""How many are answered at once; further ones are closed."""
BODIES = 2
"""How many images are held at once: one that is predicted, and the next."""
PATIENCE = 60.0
"""How many seconds a connection may be silent, an image may take to arrive, and the next one waits for its turn."""


class AppServer(ThreadingHTTPServer):
    """Serves the page of one model on 127.0.0.1, on a port or, for 0, on any free one.

    Args:
        opened: the model.
        port: of this machine.
        seconds: how long an image may be predicted; it is given up after the window that the model then sees.

    Raises:
        ConfigError: ``seconds`` is not above 0.
        OSError: the port is taken.
        OverflowError: it is no port.
    """

    daemon_threads = True

    def __init__(self, opened: Opened, port: int, *, seconds: float = 20.0) -> None:
        self.patience = Patience(seconds)
        super().__init__((ADDRESS, port), Handler)
        self.model: Masks | Classes
        if isinstance(opened.model, Predictor):
            self.model = Masks(opened.model, self.patience, opened.dataset)
            self.page = app_page(opened.about, self.model.parts, opened.model.facts).encode()
        else:
            self.model = Classes(opened.model)
            self.page = app_page(opened.about, self.model.parts, classes=opened.model.classes).encode()
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
        """Sends what is predicted for the files in the request's body, or the COCO JSON of a mask."""
        length = self.headers.get("Content-Length", "")
        path, _, query = self.path.partition("?")
        work = {"/predict": self.predict, "/coco": self.outline}.get(path)
        if self.is_foreign() or self.headers.get("Content-Type") != "application/octet-stream":
            self.refuse(HTTPStatus.FORBIDDEN, "not for other sites")
        elif work is None or (path == "/coco" and not isinstance(self.server.model, Masks)):
            self.refuse(HTTPStatus.NOT_FOUND, "only /predict is here, and /coco for masks")
        elif not length.isdecimal() or int(length) > LARGEST_FILE:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"images of up to {LARGEST_FILE // 2**20} MB are taken")
        elif not self.server.bodies.acquire(timeout=PATIENCE):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "other images are being predicted; try again")
        else:
            try:
                self.answer_body(int(length), lambda content: work(query, content))
            finally:
                self.server.bodies.release()

    def answer_body(self, length: int, work: Callable[[bytes], bytes]) -> None:
        """Reads a body of that many bytes and sends the JSON that is made of it."""
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
                result = work(bytes(content))
        except UnimatchError as error:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except MemoryError:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the file: this machine's memory does not suffice for it")
        except (OSError, RuntimeError) as error:  # such as a full disk, or a GPU without memory
            log.exception("an image was not predicted")
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the file: was not predicted ({first_line(error)})")
        else:
            self.answer(HTTPStatus.OK, "application/json", result)

    def predict(self, query: str, content: bytes) -> bytes:
        """Returns what is predicted for the files in a body."""
        model = self.server.model
        return json.dumps(model.answer(parts_of(query, content, model.parts))).encode()

    def outline(self, query: str, content: bytes) -> bytes:
        """Returns the COCO JSON of the mask in a body."""
        model = self.server.model
        assert isinstance(model, Masks)
        name = parse_qs(query).get("name", ["image"])[0][:255]
        return coco_json(content, name, model.facts, self.server.patience)

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
