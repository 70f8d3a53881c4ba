"""Rows of a peer in ``bench_tune.py``: why there is none stands in its place."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench_tune(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("bench_tune", "bench_quantize", "bench_accuracy", "quantizers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import bench_tune

    return bench_tune


def test_mixed_row_says_that_nncf_has_one_width(bench_tune):
    assert "left out: it has one width" in bench_tune.peer_row("tinybert", "mixed", 8, 1.0, sys.executable)


def test_row_says_what_failed(bench_tune, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'nncf'\" >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(bench_tune, "prepare", lambda *given, **more: None)
    assert bench_tune.peer_row("tinybert", "int4", 8, 1.0, str(python)).endswith("No module named 'nncf'")


def test_interpreter_that_is_not_there_is_named(bench_tune, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_tune.py", "tinybert", "--nncf", "/absent/python"])
    monkeypatch.setitem(bench_tune.CASES, "tinybert", ("tinybert", Path("/absent"), Path(), None, {}))
    bench_tune.main()
    assert "NNCF is left out: there is no /absent/python" in capsys.readouterr().out
