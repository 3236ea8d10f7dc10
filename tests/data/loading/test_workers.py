import resource

import pytest

from unimatch.data.loading.workers import check_open_files, check_sent, report_unless_left
from unimatch.errors import ConfigError


@pytest.mark.parametrize(
    ("allowed", "workers", "refused"),
    [
        (64, 0, False), (95, 2, True), (96, 2, False), (1024, 60, False), (1024, 61, True),
        (resource.RLIM_INFINITY, 500, False),
    ],
)  # fmt: skip
def test_more_workers_than_open_files_bear_are_refused(allowed, workers, refused, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (allowed, allowed))
    monkeypatch.setattr("unimatch.data.loading.workers.get_sharing_strategy", lambda: "file_system")
    check_open_files(workers)  # as on macOS, where tensors are handed over by names
    monkeypatch.setattr("unimatch.data.loading.workers.get_sharing_strategy", lambda: "file_descriptor")
    if not refused:
        check_open_files(workers)
        return
    with pytest.raises(ConfigError, match=rf"workers={workers}: needs about {64 + 16 * workers}.* may have {allowed}"):
        check_open_files(workers)


def test_a_worker_whose_main_process_has_gone_says_nothing(capsys):
    for error in (EOFError(), ConnectionResetError(104, "reset")):
        report_unless_left(type(error), error, None)
    assert capsys.readouterr().err == ""
    report_unless_left(ValueError, ValueError("a fault"), None)
    assert "ValueError: a fault" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_no_new_process_could_get_is_refused(monkeypatch, method):
    check_sent(2, lambda: 0)  # a copy of this process has it
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: method)
    check_sent(0, lambda: 0)
    check_sent(2, check_sent)
    with pytest.raises(ConfigError, match=f"workers=2: .* started by {method} .*top of a module.*workers=0"):
        check_sent(2, lambda: 0)
