import os
import signal
import sys

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from unimatch.callbacks.signals import NAMES, Signals, Stopped, status_of_signals


@pytest.fixture
def signals():
    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    taken = Signals()
    taken.install()
    yield taken
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_is_noted_and_said_and_interrupts_nothing(name, signals, capfd):
    os.kill(os.getpid(), getattr(signal, name))
    assert signals.received == getattr(signal, name)
    assert f"unimatch: {name}: ending after this step" in capfd.readouterr().err


def test_the_first_signal_counts(signals):
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received == signal.SIGUSR1


def test_a_second_ctrl_c_ends_at_once(signals):
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_what_has_a_submitit_job_run_again_is_kept(monkeypatch):
    def handler(signum, frame):
        raise AssertionError("only after the checkpoint")

    handler.__module__ = "submitit.core.job_environment"
    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    signal.signal(signal.SIGUSR2, handler)
    taken = Signals()
    try:
        taken.install()
        os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        for name, old in before.items():
            signal.signal(getattr(signal, name), old)
    assert taken.received == signal.SIGUSR2
    assert taken.submitit_handlers == {signal.SIGUSR2: handler}


def test_what_lightning_ends_after_a_signal_has_the_signals_status(capfd):
    def interrupted():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does

    def terminated():
        raise SIGTERMException

    for act, status, name in ((interrupted, 130, "SIGINT"), (terminated, 143, "SIGTERM")):
        with pytest.raises(Stopped) as stopped, status_of_signals():
            act()
        assert stopped.value.code == status
        assert capfd.readouterr().err == f"\nunimatch: {name}: ended, and nothing was written\n"
    for code in (0, 2):
        with pytest.raises(SystemExit, match=str(code)), status_of_signals():
            sys.exit(code)


def test_the_status_is_what_a_shell_reports():
    assert [Stopped(number).code for number in (signal.SIGTERM, signal.SIGINT)] == [143, 130]
