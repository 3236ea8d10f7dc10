import os
import time

import pytest

from helpers.support import at_night
from unimatch.data.parallel import CHUNK, for_each
from unimatch.errors import ConfigError, DataError


def double(shared, item):
    return shared + 2 * item


def process_of(shared, item):
    time.sleep(shared)
    return os.getpid()


def refuse_seven(shared, item):
    if item == 7:
        raise DataError("seven.png: is bad")
    return item


@pytest.mark.parametrize("workers", [0, 3, at_night(1), at_night(None)])
@pytest.mark.parametrize("count", [0, 5, 3 * CHUNK + 1, at_night(1)])
def test_results_come_in_order_whatever_the_processes(workers, count):
    assert list(for_each(double, 100, range(count), workers=workers)) == [100 + 2 * i for i in range(count)]


def test_several_processes_do_the_work_and_none_does_it_here():
    # So slow that no process does all of it before the other one has started.
    assert len(set(for_each(process_of, 0.02, range(4 * CHUNK), workers=2)) - {os.getpid()}) == 2
    assert set(for_each(process_of, 0, range(4 * CHUNK), workers=0)) == {os.getpid()}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_process_is_raised_here(workers):
    with pytest.raises(DataError, match=r"seven\.png: is bad"):
        list(for_each(refuse_seven, None, range(3 * CHUNK), workers=workers))


def test_fewer_than_no_processes_are_refused():
    with pytest.raises(ConfigError, match="workers=-1: must be at least 0"):
        list(for_each(double, 0, [1, 2], workers=-1))


def test_the_bar_counts_every_item(capsys):
    list(for_each(double, 0, range(2 * CHUNK), workers=2, title="reading", unit="mask"))
    shown = capsys.readouterr().err
    assert "reading: 100%" in shown
    assert f"{2 * CHUNK}/{2 * CHUNK}" in shown
