"""Child processes: they end with their parent, and import nothing of the folder they are called in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from n6convert.runtime.child_process import finish, run_python, start_python

PARENT = """
import sys
from n6convert.runtime.child_process import run_python
run_python("sleeper", [sys.argv[1]])
"""
BUSY = """
import os, sys, time, pathlib
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
%s
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z" if Path("/proc").is_dir() else True


@pytest.mark.parametrize("work", ["time.sleep(60)", "sorted([1] * 10**8 + [0])" if sys.platform == "linux" else "pass"])
def test_a_child_ends_with_its_killed_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "sleeper.py").write_text(BUSY % work)
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(note)])
    while not (note.exists() and note.read_text()):
        time.sleep(0.02)
    child = int(note.read_text())
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_a_child_is_not_waited_for_before_what_is_done_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists():\n    time.sleep(0.01)"
    )
    mark = tmp_path / "mark"
    done = finish(start_python("waiting", [str(mark)], folder=tmp_path), 60, mark.touch)
    assert done.returncode == 0
    mark.unlink()
    with pytest.raises(subprocess.TimeoutExpired):
        finish(start_python("waiting", [str(mark)], folder=tmp_path), 0.2, lambda: time.sleep(0.3))


def test_a_child_waits_for_a_line_as_long_as_it_takes(tmp_path: Path) -> None:
    (tmp_path / "asking.py").write_text("import sys\nprint(repr(sys.stdin.readline()))")
    child = start_python("asking", [], folder=tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    assert finish(child).stdout == "'\\n'\n"
    (tmp_path / "asking.py").write_text("raise SystemExit(3)")
    ended = start_python("asking", [], folder=tmp_path)
    ended.wait()
    assert finish(ended).returncode == 3


def test_modules_of_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json", "onnx", "mine"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w')")
    (tmp_path / "mine.py").write_text("print('found')")
    assert run_python("mine", [], folder=tmp_path).stdout == "found\n"
    done = run_python("json.tool", ["--help"], folder=tmp_path)
    assert done.returncode == 0 and "json" in done.stdout and not (tmp_path / "was-run").exists()
    assert "No module named mine" in run_python("mine", []).stderr
    assert not (tmp_path / "was-run").exists()


def test_exit_codes_signals_and_limits_are_those_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "ends.py").write_text("import os, sys, time\nassert __name__ == '__main__'\neval(sys.argv[1])")
    assert run_python("ends", ["sys.exit(3)"]).returncode == 3
    assert run_python("ends", ["os.abort()"]).returncode == -signal.SIGABRT
    assert run_python("ends", ["print(os.environ['X'])"], environment={"X": "1"}).stdout == "1\n"
    with pytest.raises(subprocess.TimeoutExpired):
        run_python("ends", ["time.sleep(60)"], time_limit=1.0)
