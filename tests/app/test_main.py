import socket

import pytest

from helpers.support import save_run
from unimatch import ConfigError
from unimatch.app import __main__ as app


def ask(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["app", *arguments])
    app.main()


@pytest.fixture
def checkpoint(tmp_path):
    return save_run(tmp_path / "best.ckpt", tmp_path)


def test_the_address_is_printed_and_ctrl_c_ends_it(checkpoint, monkeypatch, capsys):
    def interrupt(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(app.AppServer, "serve_forever", interrupt)
    ask(monkeypatch, f"checkpoint={checkpoint}", "port=0", "device=cpu")
    assert f"{checkpoint}: open http://127.0.0.1:" in capsys.readouterr().out


def test_a_port_that_is_taken_is_one_message(checkpoint, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            ask(monkeypatch, f"checkpoint={checkpoint}", f"port={port}", "device=cpu")
    assert ended.value.code == ConfigError.status
    assert f"port={port}: cannot be used" in capsys.readouterr().err
