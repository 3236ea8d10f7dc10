import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from unimatch.data.prepare import RECIPES, convert_archives, download
from unimatch.data.prepare.archives import Archive
from unimatch.data.prepare.download import fetch
from unimatch.errors import DataError, WriteError

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 17)


class Server(http.server.ThreadingHTTPServer):
    """Serves files from memory and can break connections."""

    files: dict[str, bytes]
    cut_after: list[int | None]
    """Bytes to send of each request, None for all; the last holds for all further ones."""
    ranges: bool = True
    says_length: bool = True
    requests: list[str | None]
    """The Range header of each request."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = server.cut_after[0] if len(server.cut_after) == 1 else server.cut_after.pop(0)
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(**files: bytes) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.files = {f"/{name}": content for name, content in files.items()}
    server.cut_after, server.requests = [None], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with serving(big=CONTENT) as server:
        yield server


def archive(server, name="big", **known):
    return Archive(name, "something big", "page", url=f"http://127.0.0.1:{server.server_address[1]}/{name}", **known)


def checksum(content=CONTENT, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_a_file_is_fetched_and_checked_once(tmp_path, server, kind):
    about = archive(server, size=len(CONTENT), checksum=checksum(kind=kind))
    assert fetch(about, tmp_path / "new") == tmp_path / "new" / "big"
    assert (tmp_path / "new" / "big").read_bytes() == CONTENT
    fetch(about, tmp_path / "new")
    assert server.requests == [None]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["big"]


def test_a_broken_connection_is_resumed_where_it_broke(tmp_path, server):
    server.cut_after = [1_000_000, 500_000, None]
    fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert (tmp_path / "big").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_server_that_knows_no_ranges_sends_the_whole_again(tmp_path, server):
    server.cut_after, server.ranges = [1_000_000, None], False
    fetch(archive(server, checksum=checksum()), tmp_path)
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_an_interrupted_command_continues(tmp_path, server, monkeypatch):
    """Killed at 1,000,000 bytes: the next call asks for the rest."""
    (tmp_path / "big.part").write_bytes(CONTENT[:1_000_000])
    fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert server.requests == ["bytes=1000000-"]
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_a_command_killed_before_its_last_step_needs_no_more_bytes(tmp_path, server):
    (tmp_path / "big.part").write_bytes(CONTENT)
    fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert server.requests == []
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_a_longer_rest_of_another_file_is_thrown_away(tmp_path, server):
    (tmp_path / "big.part").write_bytes(CONTENT + b"more")
    fetch(archive(server, checksum=checksum()), tmp_path)
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_a_connection_that_breaks_again_and_again_says_how_to_go_on(tmp_path, server):
    server.cut_after = [1_000_000, 0]
    with pytest.raises(DataError, match=r"1000000 bytes are in .*big\.part, and the same command continues there"):
        fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert not (tmp_path / "big").exists()
    assert len(server.requests) == 1 + download.ATTEMPTS
    server.cut_after = [None]
    fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_the_file_removed(tmp_path, server):
    with pytest.raises(DataError, match=r"the sha256 checksum is .* it was removed") as caught:
        fetch(archive(server, size=len(CONTENT), checksum=checksum(b"other")), tmp_path)
    assert checksum().partition(":")[2] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_beginning_is_found_by_the_checksum(tmp_path, server):
    (tmp_path / "big.part").write_bytes(b"x" * 1_000_000)
    with pytest.raises(DataError, match="checksum"):
        fetch(archive(server, size=len(CONTENT), checksum=checksum()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_refused_before_it_is_fetched(tmp_path, server):
    with pytest.raises(DataError, match=f"the server offers {len(CONTENT)} bytes, the published file has 99"):
        fetch(archive(server, size=99), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_checksum_and_length_the_size_is_compared(tmp_path, server):
    server.says_length = False
    server.cut_after = [1000]
    with pytest.raises(DataError, match="1000 bytes came"):
        fetch(archive(server, size=len(CONTENT)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_that_no_checksum_is_known_is_said(tmp_path, server, caplog):
    fetch(archive(server, size=len(CONTENT)), tmp_path)
    assert "big: of this file no checksum is known; its size is right" in caplog.text


def test_what_the_server_refuses_is_said(tmp_path, server):
    with pytest.raises(DataError, match=r"/absent: the server says 404"):
        fetch(archive(server, name="absent"), tmp_path)


def test_a_server_that_is_not_there_is_said(tmp_path, server):
    about = archive(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="0 bytes are in"):
        fetch(about, tmp_path)


def test_too_little_room_is_known_before_the_bytes_come(tmp_path, server, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=2**26 + 1000))
    with pytest.raises(WriteError, match="GB are free"):
        fetch(archive(server), tmp_path)


def test_prepare_fetches_what_is_missing_when_told(tmp_path, monkeypatch):
    from helpers.published import make_coco

    expected = make_coco(tmp_path / "there")
    files = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    with serving(**files) as server:
        recipe = RECIPES["coco"]
        archives = tuple(
            Archive(a.name, a.contents, a.page, archive(server, a.name).url, len(files[a.name]), required=a.required)
            for a in recipe.archives
        )
        monkeypatch.setitem(RECIPES, "coco", type(recipe)(archives, recipe.jobs))
        source = tmp_path / "source"
        with pytest.raises(DataError, match="no such folder"):
            convert_archives("coco", source, tmp_path / "root", workers=0)
        convert_archives("coco", source, tmp_path / "root", workers=0, download=True)
        assert {p.name for p in source.iterdir()} == set(files) - {"unlabeled2017.zip"}
        assert all((tmp_path / "root" / name).is_file() for name in expected)
        convert_archives("coco", source, tmp_path / "root", workers=0, download=True, extra=True)
        assert len(server.requests) == 4
        assert (tmp_path / "root" / "unlabeled2017").is_dir()


def test_what_is_known_of_the_published_archives_is_well_formed():
    for name, recipe in RECIPES.items():
        assert any(a.required for a in recipe.archives), name
        for a in recipe.archives:
            assert a.page.startswith("http")
            if a.checksum is not None:
                kind, value = a.checksum.split(":")
                assert len(value) == 2 * hashlib.new(kind).digest_size
            if a.url is not None:
                assert a.url.rpartition("/")[2] == a.name
                assert a.size
    assert all(a.url is None for a in RECIPES["cityscapes"].archives)


def test_a_download_is_written_through_no_link(tmp_path):
    (tmp_path / "victim").write_bytes(b"old")
    (tmp_path / "big.part").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match=r"big\.part: is a link"):
        fetch(Archive("big", "", "", url="http://127.0.0.1:9/big"), tmp_path)
    assert (tmp_path / "victim").read_bytes() == b"old"
