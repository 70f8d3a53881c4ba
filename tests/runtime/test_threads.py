"""One rule decides how many threads compute."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from n6convert.errors import UsageError
from n6convert.runtime import threads
from n6convert.runtime.session import Session


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("N6CONVERT_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("own", "openmp", "count"), [("3", "5", 3), ("", "5", 5), (None, "4,2", 4), (None, "many", 7), (None, None, 7)]
)
def test_own_variable_then_openmp_then_cores(monkeypatch, own, openmp, count):
    monkeypatch.setattr(threads, "available_cores", lambda: 7)
    for name, value in (("N6CONVERT_THREADS", own), ("OMP_NUM_THREADS", openmp)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert threads.default_threads() == count


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_our_own_is_refused(monkeypatch, value):
    monkeypatch.setenv("N6CONVERT_THREADS", value)
    with pytest.raises(UsageError, match="number of threads"):
        threads.default_threads()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_cores_are_those_the_process_may_use(monkeypatch, tmp_path: Path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert threads.available_cores() == cores


def test_a_session_keeps_to_the_limit(monkeypatch, tmp_path: Path) -> None:
    """onnxruntime starts one thread fewer than it is told, beside the caller's; nothing tells it to by default."""
    monkeypatch.chdir(tmp_path)
    node = helper.make_node("Relu", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opset, ir_version=8), "relu.onnx")
    code = (
        "import os; from n6convert.runtime.session import Session; import onnxruntime;"
        "n = lambda: len(os.listdir('/proc/self/task')); before = n();"
        "s = Session('relu.onnx', threads=%s); print(n() - before)"
    )
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    for count, started in ((None, 0), (1, 0), (3, 2)):
        variables = os.environ | {"N6CONVERT_THREADS": "4"}
        command = [sys.executable, "-c", code % count]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        assert int(done.stdout) == started
    assert Session("relu.onnx", threads=2).run({"x": np.ones((1, 4), np.float32)})["y"].sum() == 4


def test_mapped_keeps_the_order_and_reads_no_further_than_its_threads():
    read: list[int] = []

    def items():
        for index in range(12):
            read.append(index)
            yield index

    ahead = []
    for done, value in enumerate(threads.mapped(lambda item: item * item, items(), 3)):
        assert value == done * done
        ahead.append(len(read) - done)
    assert done == 11 and max(ahead) <= 4


def test_mapped_takes_threads_only_for_items_worth_one_and_cores_that_are_idle(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def threads_of(seconds: float) -> set[int]:
        def item(_: int) -> int:
            now[0] += seconds
            return threading.get_ident()

        return set(list(threads.mapped(item, range(6), 2))[1:])

    here = {threading.get_ident()}
    assert threads_of(0.0) == here and not threads_of(2 * threads._WORTH) & here
    monkeypatch.setattr(threads, "beside", [lambda: True])
    assert threads.idle_threads(2) == 1 and threads.idle_threads(4) == 3 and len(threads_of(2 * threads._WORTH)) == 1
    monkeypatch.setattr(threads, "beside", [lambda: False])
    assert threads.idle_threads(2) == 2


def test_mapped_raises_what_an_item_raises():
    with pytest.raises(ZeroDivisionError):
        list(threads.mapped(lambda item: 1 // item, [2, 1, 0, 1], 2))
