"""Work in a copy of the process: its result, its failures, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from n6convert.errors import ToolError
from n6convert.runtime import aside, threads
from n6convert.runtime.aside import Aside, begun, can_fork
from n6convert.runtime.threads import default_threads

from .test_child_process import alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made by fork on Linux")
PARENT = """
import os, pathlib, sys, time
from n6convert.runtime.aside import Aside

def work():
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(60)

Aside(work).result()
"""


def test_a_copy_gives_its_result_and_leaves_nothing_behind() -> None:
    values, found = np.arange(200_000.0), []
    copy = Aside(lambda: (found.append(1), os.getpid(), default_threads(), values * 2))
    _, pid, threads, doubled = copy.result()
    assert pid != os.getpid() and threads == 1 and not found
    np.testing.assert_array_equal(doubled, values * 2)
    assert copy.result()[1] == pid and not alive(pid)


def test_a_large_result_holds_no_copy_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "beside", beside := [])
    monkeypatch.setattr(aside, "beside", beside)
    copy = Aside(lambda: np.zeros(1_000_000))
    patient = Aside(lambda: os.nice(0), hurried=False)
    assert [a.__self__ for a in beside] == [copy]  # the other one takes what is left of the cores
    deadline = time.monotonic() + 10
    while copy.at_work() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not copy.at_work() and threads.idle_threads(2) == 2
    assert copy.result().size == 1_000_000 and patient.result() == min(os.nice(0) + aside._NICE, 19) and not beside


@pytest.mark.parametrize("way", ["raises", "is killed", "exits", "gives what has no bytes"])
def test_a_copy_that_fails_says_so_once(way: str) -> None:
    def work() -> object:
        if way == "raises":
            raise ValueError("no")
        if way == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "exits":
            sys.exit(0)
        return threading.Lock()

    with pytest.raises(ToolError, match="gave no result"):
        Aside(work).result()


@pytest.mark.parametrize("way", ["beside", "fails", "alone"])
def test_what_is_begun_gives_its_result_whether_or_not_a_copy_made_it(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(aside, "_own", True)
    monkeypatch.setenv("N6CONVERT_THREADS", "1" if way == "alone" else "2")
    here, parent = [], os.getpid()

    def work() -> int:
        if way == "fails" and os.getpid() != parent:
            raise ValueError("no")
        return os.getpid()

    with begun(work, lambda: here.append(1)) as result:
        assert (result() == parent) == (way != "beside") and not here


def test_a_copy_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_LEAST_SECONDS", 0.2)
    monkeypatch.setattr(aside, "_PATIENCE", 0.0)
    copy = Aside(lambda: time.sleep(60))
    pid = copy._pid
    with pytest.raises(ToolError):
        copy.result()
    assert not alive(pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_copy_outlives_its_parent(tmp_path: Path, end: signal.Signals) -> None:
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(note)], stderr=subprocess.DEVNULL)
    while not (note.exists() and note.read_text()):
        time.sleep(0.02)
    child = int(note.read_text())
    assert alive(child)
    parent.send_signal(end)
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_processes_with_threads_of_others_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_THREADS", "2")
    monkeypatch.setattr(aside, "_own", False)
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert not can_fork()
        monkeypatch.setattr(aside, "_own", True)
        assert can_fork()
        monkeypatch.setenv("N6CONVERT_THREADS", "1")
        assert not can_fork()
    finally:
        over.set()
        other.join()
