import errno
import inspect

import pytest

from unimatch.data.loading.lost_workers import lost_workers_explained
from unimatch.errors import ConfigError, ProcessError

DEAD = "DataLoader worker (pid 7) is killed by signal: Killed. "


class Interrupted:
    """Is interrupted by PyTorch's handler of SIGCHLD wherever it is listed."""

    def __iter__(self):
        raise RuntimeError(DEAD)


def closing():
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__context__ = RuntimeError(DEAD)
    raise error


def inspected():
    def hook(batch):
        return batch

    hook.__signature__ = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "_signature_from_callable", lambda *_, **__: list(Interrupted()))
        inspect.getfullargspec(hook)


def looked_up():
    try:
        list(Interrupted())
    except RuntimeError:
        raise KeyError("no such entry") from None  # hides its cause, and still has it


@pytest.mark.parametrize(("fails", "kind"), [(closing, RuntimeError), (inspected, TypeError), (looked_up, KeyError)])
def test_a_dead_loading_process_is_named_behind_the_error_that_it_led_to(fails, kind):
    with pytest.raises(kind):
        fails()
    with (
        pytest.raises(
            ProcessError, match=r"has died \(DataLoader worker \(pid 7\) is killed.*fewer datamodule\.workers"
        ),
        lost_workers_explained("datamodule.workers"),
    ):
        fails()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("out of memory"),
        TypeError("unsupported callable"),
        ValueError("open files"),
        ConfigError("Too many open files"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, lost_workers_explained():
        raise error
    assert caught.value is error


def test_an_error_of_ours_that_a_dead_process_led_to_is_told_as_it_is():
    with pytest.raises(ConfigError, match="own"), lost_workers_explained():
        raise ConfigError("own") from RuntimeError(DEAD)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Too many open files. Communication with the workers is no longer possible."),
        OSError(errno.EMFILE, "Too many open files"),
    ],
)
def test_too_many_open_files_are_named_with_the_remedy(error):
    with (
        pytest.raises(ProcessError, match=r"more files are open.*ulimit -n.*resume=auto goes on"),
        lost_workers_explained(afterwards="resume=auto goes on"),
    ):
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError(f"{DEAD}Bus error")])
def test_full_shared_memory_is_named_with_the_remedy(error):
    with pytest.raises(ProcessError, match=r"--shm-size=8g\), or set workers=0$"), lost_workers_explained():
        raise error
