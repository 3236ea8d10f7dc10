"""Serves the app's page, and predicts the images that the page sends, to browsers on this machine only."""

import json
import logging
import sys
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
from unimatch.app.time_limit import TimeLimit
from unimatch.errors import UnimatchError, first_line
from unimatch.inference.predictor import Predictor

log = logging.getLogger("unimatch")

ADDRESS = "127.0.0.1"
LARGEST_BODY = 100 * 2**20
"""The most bytes of a request's body: an image with its second date and its mask."""
DIGITS = 20
"""The most digits of a body's length: Python refuses to read a number of thousands."""
CONNECTIONS = 16
"""How many connections are answered at once; further ones are closed."""
BODIES = 2
"""How many images are in memory at once: the one that is being predicted, and the next."""
LONGEST_WAIT = 60.0
"""The most seconds that a connection may be silent, that an image may take to arrive and that it waits for its turn."""


class AppServer(ThreadingHTTPServer):
    """Serves the page of one model on 127.0.0.1.

    Args:
        opened: the model.
        port: the port; 0 for any free one.
        seconds: how long the prediction of an image may take; it is given up at the next window.

    Raises:
        ConfigError: ``seconds`` is not above 0.
        OSError: the port is in use.
        OverflowError: the number is no port.
    """

    daemon_threads = True

    def __init__(self, opened: Opened, port: int, *, seconds: float = 20.0) -> None:
        self.time_limit = TimeLimit(seconds)
        super().__init__((ADDRESS, port), Handler)
        self.model: Masks | Classes
        if isinstance(opened.model, Predictor):
            self.model = Masks(opened.model, self.time_limit, opened.dataset)
            self.page = app_page(opened.about, self.model.parts, opened.model.facts).encode()
        else:
            self.model = Classes(opened.model)
            self.page = app_page(opened.about, self.model.parts, classes=opened.model.classes).encode()
        self.lock = threading.Lock()  # one image at a time is read and predicted
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

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs the error that ended a connection, unless the browser has gone, as when its page is closed."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            log.exception("a request was not answered")

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The values of the header ``Host`` with which browsers on this machine may ask."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: AppServer
    timeout = LONGEST_WAIT

    def do_GET(self) -> None:
        """Sends the page."""
        if self.is_foreign():
            self.answer(HTTPStatus.FORBIDDEN, "text/plain", b"not for other sites")
        elif self.path == "/":
            self.answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"this server has only the page /")

    def do_POST(self) -> None:
        """Sends the prediction for the files in the request's body, or the COCO JSON of the mask in it."""
        length = self.headers.get("Content-Length", "")
        path, _, query = self.path.partition("?")
        work = {"/predict": self.predict, "/coco": self.outline}.get(path)
        if self.is_foreign() or self.headers.get("Content-Type") != "application/octet-stream":
            self.refuse(HTTPStatus.FORBIDDEN, "not for other sites")
        elif work is None or (path == "/coco" and not isinstance(self.server.model, Masks)):
            self.refuse(HTTPStatus.NOT_FOUND, "this server has only /predict, and /coco for masks")
        elif not length.isdecimal() or len(length) > DIGITS or int(length) > LARGEST_BODY:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"images of up to {LARGEST_BODY // 2**20} MB are taken")
        elif not self.server.bodies.acquire(timeout=LONGEST_WAIT):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "other images are being predicted; try again")
        else:
            try:
                self.answer_body(int(length), lambda content: work(query, content))
            finally:
                self.server.bodies.release()

    def answer_body(self, length: int, work: Callable[[bytes], bytes]) -> None:
        """Reads a body of ``length`` bytes and sends the JSON that ``work`` makes of it."""
        until, content = time.monotonic() + LONGEST_WAIT, bytearray()
        try:
            while len(content) < length and (part := self.rfile.read1(min(length - len(content), 2**20))):
                content += part
                if time.monotonic() > until:
                    raise TimeoutError
        except TimeoutError:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"the image did not arrive within {LONGEST_WAIT:g} s")
            return
        try:
            with self.server.lock:
                result = work(bytes(content))
        except UnimatchError as error:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except MemoryError:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the file: needs more memory than this machine has")
        except (OSError, RuntimeError) as error:  # such as a full disk, or a GPU without memory
            log.exception("an image was not predicted")
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the file: was not predicted ({first_line(error)})")
        else:
            self.answer(HTTPStatus.OK, "application/json", result)

    def predict(self, query: str, content: bytes) -> bytes:
        """Returns the prediction for the files in a body, as JSON."""
        model = self.server.model
        return json.dumps(model.answer(parts_of(query, content, model.parts))).encode()

    def outline(self, query: str, content: bytes) -> bytes:
        """Returns the COCO JSON of the mask in a body."""
        model = self.server.model
        assert isinstance(model, Masks)
        name = parse_qs(query).get("name", ["image"])[0][:255]
        return coco_json(content, name, model.facts, self.server.time_limit)

    def is_foreign(self) -> bool:
        """Returns whether a page of another site asks: by its own host name (DNS rebinding), or from its own origin."""
        hosts = self.server.hosts
        origins = (None, *(f"http://{host}" for host in hosts))
        return self.headers.get("Host") not in hosts or self.headers.get("Origin") not in origins

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Sends an error as JSON and closes the connection."""
        self.close_connection = True
        self.answer(status, "application/json", json.dumps({"error": why}).encode())

    def answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        """Sends a response."""
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself holds the rest of the policy
        }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass  # requests are not logged
