"""Rows of a peer in ``bench_tune.py``: why there is none stands in its place."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from n6convert.metrics.base import mean_score

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


def test_row_of_a_trained_file(bench_tune, tmp_path, monkeypatch):
    python = tmp_path / "python"  # gets: the script, the method, the model, the samples' folder, the result, how many
    figures = '{"cpu": 9, "train": 4, "steps": 3, "rss_mb": 50}'
    python.write_text(f"#!/bin/sh\ncp $3 \"$5\"; cp $3 $4/untrained.onnx\necho '{figures}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(bench_tune, "prepare", _prepared)
    score = mean_score("accuracy", [1.0, 0.0], "accuracy")
    monkeypatch.setattr(bench_tune, "judge", lambda run, reference, model: score)
    row = bench_tune.peer_row("tinybert", "int8", 2, 4.0, str(python))
    assert "50.00  50.00  50.00" in row and "1 float nodes" in row
    assert row.split()[-5:] == ["3", "9", "4", "5", "50"]


def _prepared(name: str, samples: int, folder: Path, held_back: int) -> None:
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y"))
    node = helper.make_node("Sigmoid", ["x"], ["y"])
    opset = helper.make_opsetid("", 17)
    graph = helper.make_graph([node], "g", [given], [made])
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "float.onnx")
    (folder / "held_back").mkdir()
    for place in (folder, folder / "held_back"):
        np.savez(place / "00000.npz", x=np.ones((1, 4), np.float32))


def test_interpreter_that_is_not_there_is_named(bench_tune, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_tune.py", "tinybert", "--nncf", "/absent/python"])
    monkeypatch.setitem(bench_tune.CASES, "tinybert", ("tinybert", Path("/absent"), Path(), None, {}))
    bench_tune.main()
    assert "NNCF is left out: there is no /absent/python" in capsys.readouterr().out
