from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.cli import run
from n6convert.rewrites import rewrite

from .graphs import GraphWriter, bert
from .helpers import ops


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bert.onnx"
    ir.save(bert(rows=4, width=8, heads=2, hidden=8), path)
    return path


def test_prints_what_was_done(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).standard_normal((1, 4, 8)).astype(np.float32))
    assert (
        run(["rewrite", str(file), "--calibration", str(tmp_path / "samples.npz"), "--target", "stm32n6570-dk@2.1"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "softmax-decompose" in printed
    assert "ms instead of software Conv" in " ".join(printed.split())
    assert "predicted" in printed
    assert (tmp_path / "bert.rewritten.onnx").is_file()


def test_json(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.onnx"
    assert run(["rewrite", str(file), "-o", str(target), "--exclude", "softmax-decompose", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(target)
    assert "softmax-decompose" not in {line["rule"] for line in facts["applied"]}


def test_keys_of_a_recipe(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--set` decides as options do, options over it; `options` are those of a conversion of the file."""

    def applied(*arguments: str) -> list[str]:
        out = ["-o", str(tmp_path / "out.onnx"), "--json", "--no-cache"]
        assert run(["rewrite", str(file), *out, *arguments]) == 0
        return [line["rule"] for line in json.loads(capsys.readouterr().out)["applied"]]

    both = applied()
    assert "gelu-normal-form" in both
    only = applied("--set", "rewrite.exclude=[gelu-normal-form]")
    assert only == applied("--exclude", "gelu-normal-form") and "gelu-normal-form" not in only
    assert applied("--set", "rewrite.rules=none") == []
    some = applied("--set", "rewrite.rules=none", "--rules", "gelu-normal-form")
    assert "gelu-normal-form" in some and "linear-to-conv" in {*both} - {*some}
    inner = next(n.outputs[0].name for n in ir.load(file).graph if n.op_type == "Softmax")
    applied("--set", f"options.outputs=[{inner}]")
    assert [v.name for v in ir.load(tmp_path / "out.onnx").graph.outputs] == [inner]
    assert run(["rewrite", str(file), "--set", "rewrite.nonsense=1"]) == 2
    assert "rewrite.nonsense" in capsys.readouterr().err


def test_as_many_samples_prove_as_are_asked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from n6convert.api import rewriting

    seen: list[int] = []

    def counted(graph: ir.Model, feeds: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(len(list(feeds())))
        return rewrite(graph, feeds, *arguments, **options)

    monkeypatch.setattr(rewriting, "rewrite_graph", counted)
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(0).standard_normal((6, 4, 8)).astype(np.float32))
    given = ["rewrite", str(file), "--calibration", str(tmp_path / "s.npz"), "--rules", "none", "--quiet", "--force"]
    for asked in ([], ["--samples", "5"], ["--set", "calibration.samples=1"]):
        assert run([*given, *asked]) == 0
    assert seen == [3, 5, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx"], "the file does not exist"),
        ([], "which model"),
        (["FILE", "--rules", "nonsense"], "no such rewrite"),
        (["FILE", "--combination", "E"], "--combination"),
        (["FILE", "--target", "nonsense"], "unknown target"),
        (["BROKEN"], "not a readable ONNX model"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = file.with_name("broken.onnx")
    broken.write_bytes(b"nothing of the kind")
    given = [{"FILE": str(file), "BROKEN": str(broken)}.get(a, a) for a in arguments]
    assert run(["rewrite", *given]) in (1, 2)
    assert message in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rewrite", "--list"]) == 0
    assert "resize-to-conv" in capsys.readouterr().out
    assert run(["rewrite", "--list", "--json"]) == 0
    assert "resize-to-conv" in {rule["rule"] for rule in json.loads(capsys.readouterr().out)}


def test_old_opsets_get_what_rules_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = GraphWriter()
    x, three = g.input("x", [1, 8, 8, 8]), g.constant(3.0)
    gate = g.node("Clip", g.node("Add", x, three), g.constant(0.0), g.constant(6.0))
    ir.save(g.model(g.node("Div", g.node("Mul", x, gate), g.constant(6.0)), opset=12), tmp_path / "old.onnx")
    assert run(["rewrite", str(tmp_path / "old.onnx"), "-o", str(tmp_path / "new.onnx")]) == 0
    assert ops(ir.load(tmp_path / "new.onnx")) == {"HardSwish": 1}
