import subprocess
import sys
from configparser import ConfigParser
from importlib import import_module
from importlib.util import find_spec

import pytest

from helpers.places import ROOT
from unimatch.__main__ import COMMANDS, main


@pytest.fixture
def unimatch_command(monkeypatch, capsys):
    def call(*arguments, line=None):
        monkeypatch.setattr(sys, "argv", ["unimatch", *arguments])
        if line is not None:
            monkeypatch.setenv("COMP_LINE", line)
        return main(), *capsys.readouterr()

    return call


def test_every_command_is_a_module_and_every_modules_command_is_listed():
    assert all(find_spec(f"unimatch.{name}") for name in COMMANDS)
    package = ROOT / "src" / "unimatch"
    files = [*package.glob("*.py"), *package.glob("*/__main__.py")]
    runnable = {path.stem for path in files if 'if __name__ == "__main__"' in path.read_text()} - {"__main__"}
    runnable |= {path.parent.name for path in package.glob("*/__main__.py")}
    assert runnable == set(COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_commands_are_listed_with_a_line_each(arguments, unimatch_command):
    status, out, _ = unimatch_command(*arguments)
    assert status == 0
    assert all(f"  {name:10}{purpose}\n" in out for name, purpose in COMMANDS.items())


def test_the_list_needs_no_torch():
    program = (
        "import sys; sys.argv = ['unimatch']; from unimatch.__main__ import main; main(); print(sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert "train a method" in done.stdout
    assert "torch" not in done.stdout.split()


def test_an_unknown_command_suggests_the_closest(unimatch_command):
    status, _, error = unimatch_command("predct", "checkpoint=a")
    assert status == 2
    assert "unimatch: predct: no such command; did you mean predict?" in error


def test_a_command_does_what_its_module_does(unimatch_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        unimatch_command("compare", "no/such/place")
    assert stopped.value.code == 2
    ours = capsys.readouterr()
    assert import_module("unimatch.compare").main(["no/such/place"]) == 2
    direct = capsys.readouterr()
    assert direct.out == ours.out
    assert direct.err.splitlines() == [line for line in ours.err.splitlines() if "so far" not in line]  # a busy machine
    with pytest.raises(SystemExit) as stopped:
        unimatch_command("app", "port=1234", "checkpoint=a", "--cfg", "job", "-p", "port")
    assert not stopped.value.code
    assert capsys.readouterr().out == "1234\n"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("unimatch ev", " ".join(COMMANDS)),
        ("unimatch predict dev", "device="),
        ("unimatch evaluate dataset=cam", "dataset=camvid"),
        ("unimatch compare ru", ""),
        ("unimatch prdict ", ""),
    ],
)
def test_tab_offers_commands_and_then_their_keys(line, offered, unimatch_command):
    status, out, _ = unimatch_command("-sc", "query=bash", line=line)
    assert (status, out.strip()) == (0, offered)


def test_what_is_installed_completes_the_command(unimatch_command):
    for arguments in (("-sc", "install=bash"), ("run", "--shell-completion", "install=bash")):
        assert unimatch_command(*arguments)[1].rstrip().endswith("hydra_bash_completion unimatch")


def test_installing_the_package_makes_the_command():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "unimatch = unimatch.__main__:main" in setup["options.entry_points"]["console_scripts"]
