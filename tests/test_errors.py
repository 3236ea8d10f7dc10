import errno
import json

import pytest

import unimatch
from unimatch import errors

OURS = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]


@pytest.mark.parametrize("error", OURS)
def test_every_error_of_ours_is_caught_as_one_and_has_a_status(error):
    assert issubclass(error, unimatch.UnimatchError)
    assert issubclass(error, ValueError)
    assert error("x").status == {errors.ProcessError: 75, errors.WriteError: 74}.get(error, 2)


def test_a_dead_worker_is_told_from_other_errors():
    assert errors.is_of_a_worker(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert not errors.is_of_a_worker(RuntimeError("out of memory"))
    assert not errors.is_of_a_worker(OSError("DataLoader worker (pid 7)"))
    raised_within = RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...")
    assert not errors.is_of_a_worker(raised_within)
    assert errors.worker_behind(raised_within) is None


@pytest.mark.parametrize(
    "end", [RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), KeyboardInterrupt(), SystemExit(1)]
)
def test_what_ends_a_run_is_found_behind_the_errors_that_it_led_to(end):
    closing, later = RuntimeError("unexpected pos 64 vs 0"), OSError("of what came after")
    closing.__context__, later.__cause__ = end, closing
    assert list(errors.chain_of(later)) == [later, closing, end]
    assert errors.interruption(end) is errors.interruption(closing) is errors.interruption(later) is end
    assert errors.interruption(closing, end) is None  # it is known, and has led to no more than this
    assert errors.interruption(later, closing) is None


def test_other_errors_end_no_run():
    later = OSError(errno.ENOSPC, "No space left on device")
    later.__context__ = RuntimeError("out of memory")
    assert errors.interruption(later) is None


SHM = "unable to allocate shared memory(shm) for file </torch_1>: Success (0)"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(SHM), True),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible ..."), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),  # of a semaphore, which has no name
        (OSError(errno.ENOSPC, "No space left on device", "last.ckpt"), False),
        (RuntimeError("out of memory"), False),
    ],
)
def test_full_shared_memory_is_told_from_other_errors(error, expected):
    assert errors.lacks_shared_memory(error) == expected
    later = RuntimeError("Please call `iter(combined_loader)` first.")
    later.__context__ = error
    assert errors.lacks_shared_memory(later) == expected


@pytest.mark.parametrize(
    ("raised", "kind", "told"),
    [
        (KeyError("a"), errors.ConfigError, "photo 3: KeyError: 'a' (test_errors.py, line "),
        (
            FileNotFoundError(2, "No such file", "x"),
            errors.DataError,
            "photo 3: FileNotFoundError: [Errno 2] No such file",
        ),
        (AssertionError(), errors.ConfigError, "photo 3: AssertionError (test_errors.py, line "),
    ],
)
def test_what_own_code_raises_is_told_with_its_place(raised, kind, told):
    with pytest.raises(kind) as caught, errors.own_errors_explained(lambda: "photo 3"):
        raise raised
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("; HYDRA_FULL_ERROR=1 before the command shows the traceback")


def test_what_a_library_raises_is_told_where_that_is_asked_for():
    library_alone = errors.own_errors_explained(lambda: "photo 3")(json.loads)  # no frame of this file lies between
    with pytest.raises(json.JSONDecodeError, match="Expecting value"):
        library_alone("")
    assert errors.own_place(json_error()) is None
    with (
        pytest.raises(errors.ConfigError, match="photo 3: JSON"),
        errors.own_errors_explained(lambda: "photo 3", foreign=True),
    ):
        raise json_error()


def test_a_dead_loading_process_is_no_fault_of_own_code():
    dead = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    for foreign in (False, True):
        with pytest.raises(RuntimeError) as caught, errors.own_errors_explained(lambda: "photo 3", foreign=foreign):
            raise dead
        assert caught.value is dead
        with pytest.raises(TypeError), errors.own_errors_explained(lambda: "photo 3", foreign=foreign):
            raise TypeError("unsupported callable") from dead


def json_error():
    try:
        json.loads("")
    except ValueError as error:
        return error.with_traceback(error.__traceback__.tb_next)  # without this file
