"""The public functions: each does what the command of its name does, without printing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import n6convert
from n6convert.cli.entry import run

COMMANDS = ["compare", "convert", "debug", "estimate", "fit", "lint", "models", "quantize", "rewrite", "sweep"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Squeezed by a Conv, an InstanceNormalization and a Relu: something to rewrite, to quantize and to remark."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 6, 3, 3)).astype(np.float32)
    constants = {"w": weight, "g": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("InstanceNormalization", ["c", "g", "b"], ["n"]),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 16, 16]) for n, c in (("x", 6), ("y", 8))]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    np.savez("samples.npz", x=rng.standard_normal((12, 6, 16, 16)).astype(np.float32))
    return tmp_path / "net.onnx"


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a command prints with ``--json``."""

    def read(*words: str) -> Any:
        capsys.readouterr()
        run([*words, "--json"])
        return json.loads(capsys.readouterr().out)

    return read


@pytest.mark.parametrize("name", COMMANDS)
def test_every_function_says_what_it_takes_and_raises(name: str) -> None:
    function = getattr(n6convert, name)
    assert name in n6convert.__all__ and inspect.isfunction(function)
    text, parameters = inspect.getdoc(function) or "", inspect.signature(function).parameters
    assert all(p.annotation is not p.empty for p in parameters.values())
    missing = [p for p in parameters if f"    {p}:" not in text]
    assert not missing and ("Raises:" in text or name == "models")


def test_functions_are_no_packages_after_everything_is_imported() -> None:
    code = (
        "import importlib, pkgutil, n6convert\n"
        "for m in pkgutil.iter_modules(n6convert.__path__):\n"
        "    if m.name != '__main__': importlib.import_module(f'n6convert.{m.name}')\n"
        f"print([n for n in {COMMANDS} if not callable(getattr(n6convert, n))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lint(network: Path, printed: Callable[..., Any]) -> None:
    assert [f.as_dict() for f in n6convert.lint(network)] == printed("lint", "net.onnx") != []
    model = onnx.load("net.onnx")
    model.graph.node[2].input[0] = "nowhere"
    onnx.save(model, "broken.onnx")
    assert [str(f.severity) for f in n6convert.lint("broken.onnx")] == ["error"]


def test_rewrite(network: Path, printed: Callable[..., Any]) -> None:
    result = n6convert.rewrite(network, calibration="samples.npz", output="mine.onnx")
    theirs = printed("rewrite", "net.onnx", "--calibration", "samples.npz", "-o", "theirs.onnx")
    assert {k: v for k, v in theirs.items() if k != "file"} == json.loads(json.dumps(result.facts()))
    assert Path("mine.onnx").read_bytes() == Path("theirs.onnx").read_bytes()
    assert n6convert.rewrite(network, rules=["drop-no-ops"]).facts()["applied"] == []
    with pytest.raises(n6convert.N6ConvertError, match="would replace the input"):
        n6convert.rewrite(network, output=network)


def test_quantize_and_estimate(network: Path, printed: Callable[..., Any]) -> None:
    n6convert.rewrite(network, output="flat.onnx")
    result = n6convert.quantize("flat.onnx", calibration="samples.npz", output="mine.onnx")
    theirs = printed("quantize", "flat.onnx", "--calibration", "samples.npz", "-o", "theirs.onnx")
    assert theirs["outputs_sqnr_db"] == result.facts["outputs_sqnr_db"]
    assert Path("mine.onnx").read_bytes() == Path("theirs.onnx").read_bytes()
    held = n6convert.estimate(result.model).facts() | {"model": "mine"}
    assert n6convert.estimate("mine.onnx").facts() == held
    with pytest.raises(n6convert.N6ConvertError, match="quantization.rangs"):
        n6convert.quantize("flat.onnx", settings={"quantization.rangs": "mse"})


def test_steps_are_told_within_their_stage(network: Path) -> None:
    told: dict[str, list[str]] = {"quantize": [], "debug": [], "rewrite": []}
    given: dict[str, Any] = {"calibration": {"source": "samples.npz", "samples": 8}}
    n6convert.quantize(network, **given, progress=lambda what, done, total: told["quantize"].append(what))
    n6convert.debug(network, **given, count=1, progress=lambda what, done, total: told["debug"].append(what))
    n6convert.rewrite(network, progress=lambda what, done, total: told["rewrite"].append(what))
    stages = {name: [w for w in found if ": " not in w] for name, found in told.items()}
    assert stages["quantize"] == ["export", "quantize", "done"]
    assert stages["debug"] == ["export", "simplify", "rewrite", "quantize", "measure tensors", "done"]
    assert stages["rewrite"] == ["rewrite", "done"]
    assert all(any(w.startswith(f"{name}: ") for w in told[name]) for name in ("quantize", "rewrite"))


def test_debug(network: Path, printed: Callable[..., Any]) -> None:
    found = n6convert.debug(network, calibration={"source": "samples.npz", "samples": 8}, count=2)
    assert found.to_dict() == printed(
        "debug", "net.onnx", "--calibration", "samples.npz", "--samples", "8", "--count", "2"
    )
    assert len(found.worst) == 2 and {"alone_db", "left_out_gain_db", "cause"} <= set(found.worst[0])


def test_fit(network: Path, printed: Callable[..., Any]) -> None:
    runs = []
    for name in ("one", "two"):
        n6convert.convert(network, calibration="samples.npz", output=name)
        runs.append(name)
    found = n6convert.fit(runs)
    assert found.page is None
    assert json.loads(json.dumps(found.to_dict())) == printed("fit", *runs, "-o", "page.html")
    with pytest.raises(n6convert.N6ConvertError, match="two models"):
        n6convert.fit(runs[:1])


def test_compare(neuralart_dir: Path, printed: Callable[..., Any]) -> None:
    report = next(p for p in sorted((neuralart_dir / "reports").rglob("*generate_report.txt")) if _model(p))
    model = _model(report)
    assert model is not None
    assert n6convert.compare(model, report).as_dict() == printed("compare", str(model), str(report))


def _model(report: Path) -> Path | None:
    return next(iter(sorted(report.parent.rglob("*.onnx"))), None)
