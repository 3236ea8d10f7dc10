import subprocess
import sys
from types import SimpleNamespace

import lightning
import pytest
import torch

from helpers.fits import QUIET, make_data, make_method
from unimatch.callbacks import EndTogether
from unimatch.errors import ProcessError


def start(code):
    return subprocess.Popen([sys.executable, "-c", code])


SLEEPS = "import time; time.sleep(60)"


@pytest.fixture
def watch():
    watch = EndTogether()
    watch.parent, watch.children = None, []
    yield watch
    for child in watch.children:
        child.kill()
        child.wait()


def test_nothing_has_happened_while_all_run_or_end_well(watch):
    watch.children = [start(SLEEPS), start("")]
    watch.children[1].wait()
    assert watch.death() is None


def test_the_process_that_was_killed_is_the_cause_and_not_those_that_followed(watch):
    watch.children = [start("raise SystemExit(1)"), start(SLEEPS), start(SLEEPS)]
    watch.children[1].kill()
    for child in watch.children[:2]:
        child.wait()
    assert watch.death() == ("process 2 of this run was killed by SIGKILL", ProcessError.status)


def test_a_status_is_handed_on(watch):
    watch.children = [start(SLEEPS), start("raise SystemExit(3)")]
    watch.children[1].wait()
    assert watch.death() == ("process 2 of this run ended with status 3", 3)


def test_a_process_whose_parent_is_another_now_says_so(watch):
    watch.parent = -1
    assert watch.death() == ("the first process of this run is gone", ProcessError.status)


def test_an_error_before_the_fit_begins_is_the_one_that_is_shown(monkeypatch):
    trainer = lightning.Trainer(**QUIET, devices=2, strategy="ddp", callbacks=[EndTogether()])

    def refuse(**options):
        raise ValueError("not these processes")

    monkeypatch.setattr(trainer.strategy.cluster_environment, "validate_settings", refuse)
    with pytest.raises(ValueError, match="not these processes"):
        trainer.fit(make_method(), make_data())


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[/a/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4"), True),
        (torch.distributed.DistBackendError("NCCL error in: x.cpp:5, remote process exited"), True),
        (RuntimeError("shapes differ"), False),
        (SystemExit(0), False),
    ],
)
def test_a_lost_connection_is_told_where_no_process_can_be_named(monkeypatch, watch, error, lost):
    ended = []
    monkeypatch.setattr(watch, "end", lambda *cause: ended.append(cause))
    watch.on_exception(SimpleNamespace(world_size=1), None, error)
    assert [status for _, status in ended] == [ProcessError.status] * lost
    assert not lost or str(error) in ended[0][0]
