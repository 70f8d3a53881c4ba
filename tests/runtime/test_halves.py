"""Work in two processes, each on half of the samples: the result is that of one."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest

from n6convert.runtime import aside, halves
from n6convert.runtime.halves import Half, in_halves
from n6convert.runtime.threads import default_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made by fork on Linux")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_THREADS", "2")
    monkeypatch.setattr(aside, "_own", True)


def running_means(half: Half) -> tuple[list[float], list[int]]:
    """Means over all samples, each of which changes what is seen next; the processes that took part."""
    own = np.arange(7.0)[half.span(7)]
    means, processes = [], []
    for _ in range(3):
        means.append(float(half.joined(own).mean()))
        own = own * means[-1] + 0.1
        processes += half.joined(np.full(len(own), os.getpid())).tolist()
    return means, processes


def test_two_processes_find_what_one_finds() -> None:
    alone, (one,) = running_means(Half())[0], set(running_means(Half())[1])
    found, processes = in_halves(running_means, 7)
    assert found == alone and one == os.getpid() and len(set(processes)) == 2
    assert processes[:4] == [one] * 4 and one not in processes[4:7]  # in the order of the samples


@pytest.mark.parametrize(("threads", "there"), [("2", 1), ("3", 1), ("8", 4)])
def test_the_copy_gets_half_of_the_threads(threads: str, there: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_THREADS", threads)
    found = in_halves(lambda half: half.joined(np.full(1, default_threads())), 2)
    assert found.tolist() == [int(threads), there] and default_threads() == int(threads)


def test_no_copy_is_made_where_there_is_no_core_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "Aside", None)
    assert len(set(in_halves(running_means, 1)[1])) == 1
    monkeypatch.setenv("N6CONVERT_THREADS", "1")
    assert len(set(in_halves(running_means, 7)[1])) == 1


@pytest.mark.parametrize("end", ["is killed", "raises", "stands still"])
def test_what_a_lost_copy_had_to_do_is_done_here(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_PATIENCE", 0.3)
    cores = os.sched_getaffinity(0)

    def work(half: Half) -> tuple[list[float], list[int]]:
        if not half.first:
            half.joined(np.zeros(1))
            if end == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if end == "raises":
                raise ValueError("no")
            signal.pause()
        elif half.span(7).stop == 4:
            half.joined(np.zeros(1))
        return running_means(half)

    assert in_halves(work, 7)[0] == running_means(Half())[0]
    assert os.sched_getaffinity(0) == cores


def test_errors_of_the_work_itself_are_raised_once() -> None:
    calls: list[bool] = []

    def work(half: Half) -> None:
        calls.append(half.first)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_halves(work, 7)
    assert calls == [True]
