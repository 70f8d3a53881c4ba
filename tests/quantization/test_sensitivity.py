"""Where the error comes from, and the commands that say so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import typer
from typer.testing import CliRunner

from n6convert.cli import app as command_line
from n6convert.quantization import QuantizationConfig, quantize, quantizer
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.sensitivity import TensorError, _Sums, leave_one_out, one_at_a_time
from n6convert.runtime import aside, halves
from n6convert.runtime.comparison import LIMIT_DB

from .nets import cnn, feeds, parse
from .walk import float_islands

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def spoiled() -> ir.Model:
    """One tensor whose single huge channel takes the whole grid."""
    body = """net (float[1,8,8,8] x) => (float[1,8,8,8] y) {
      a = Conv<group=8>(x, uneven)
      y = Conv<group=8>(a, even)
    }"""
    uneven = np.array([1000, 1, 1, 1, 1, 1, 1, 1], np.float32).reshape(8, 1, 1, 1)
    even = (1 / uneven).astype(np.float32)
    return parse(body, uneven=uneven, even=even)


def test_the_spoiled_tensor_is_found_alone_and_left_out() -> None:
    source = feeds((1, 8, 8, 8))
    result = quantize(spoiled(), source, PLAIN)
    evaluator = Evaluator(prepare(spoiled()), list(source()))
    alone = one_at_a_time(result.model, evaluator, ["x", "a"])
    assert alone["a"] < alone["x"] - 10
    gain = leave_one_out(result.model, evaluator, ["x", "a"])
    assert gain["a"] > gain["x"] + 3


def test_a_tensor_left_in_float_keeps_the_relu_that_its_grid_replaced() -> None:
    source = feeds((1, 3, 16, 16))
    result = quantize(cnn(), source, PLAIN)
    assert "Relu" not in {n.op_type for n in result.model.graph}
    evaluator = Evaluator(prepare(cnn()), list(source()))
    base = evaluator.score(result.model)
    assert one_at_a_time(result.model, evaluator, ["nothing"])["nothing"] > base
    assert all(gain > -1 for gain in leave_one_out(result.model, evaluator, ["ar", "dr"]).values())


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made by fork on Linux")
def test_two_processes_find_the_errors_that_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_own", True)
    made: list[object] = []
    monkeypatch.setattr(halves, "Aside", lambda work: made.append(work) or aside.Aside(work))

    def tensors(threads: str) -> list[dict[str, float]]:
        monkeypatch.setenv("N6CONVERT_THREADS", threads)
        return quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN).facts["tensors"]

    alone = tensors("1")
    assert len(alone) > 5 and not made
    assert tensors("2") == alone and len(made) == 1


def test_sqnr_is_the_same_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    from n6convert.quantization import sensitivity

    whole = quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN).facts["tensors"]
    monkeypatch.setattr(sensitivity, "_VALUES", 1)
    assert quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN).facts["tensors"] == whole


def test_every_tensor_has_its_sqnr_and_the_worst_a_cause_and_a_remedy() -> None:
    result = quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN)
    assert all(np.isfinite(t["sqnr_db"]) for t in result.facts["tensors"])
    worst = result.facts["worst"]
    assert worst == sorted(worst, key=lambda r: r["sqnr_db"])
    assert all(r["cause"] and r["remedy"] for r in worst)
    json.dumps(result.facts)


def test_tensors_that_saturate_for_a_relu_behind_them_have_no_error() -> None:
    body = """net (float[1,2,8,8] x) => (float[1,4,8,8] y) {
      a = Conv(x, w1) b = Conv(x, w2) c = Concat<axis=1>(a, b) y = Relu(c)
    }"""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((2, 2, 1, 1)).astype(np.float32) for i in (1, 2)}
    tensors = quantize(parse(body, **weights), feeds((1, 2, 8, 8)), PLAIN).facts["tensors"]
    found = {t["name"]: t["sqnr_db"] for t in tensors}
    assert {"a", "b"} <= set(found) and min(found.values()) > 35


def test_causes_follow_from_values_and_errors() -> None:
    """A huge channel, values that fill their grid, a sum in which large weights cancel, and too narrow a grid."""
    causes = {r["name"]: r["cause"] for r in quantize(spoiled(), feeds((1, 8, 8, 8)), PLAIN).facts["worst"]}
    assert causes == {"a": "outlier channel", "x": "eight bits", "y": "inherited"}
    body = "net (float[1,2,8,8] x) => (float[1,1,8,8] y) { xx = Concat<axis=1>(x, x) y = Conv(xx, w) }"
    cancelling = parse(body, w=np.array([10, 3.33, -10, -3.3], np.float32).reshape(1, 4, 1, 1))
    causes = {r["name"]: r["cause"] for r in quantize(cancelling, feeds((1, 2, 8, 8)), PLAIN).facts["worst"]}
    assert (causes["y"], causes["x"]) == ("weights", "eight bits")
    narrow = QuantizationConfig(**PLAIN.model_dump() | {"ranges": "percentile", "percentile": 80})
    causes = {r["name"]: r["cause"] for r in quantize(spoiled(), feeds((1, 8, 8, 8)), narrow).facts["worst"]}
    assert causes["x"] == "saturation"


def test_methods_are_kept_only_when_they_help_on_held_back_samples() -> None:
    held_back = feeds((1, 3, 16, 16), 8, seed=5)  # fewer would let wider ranges pass that look worse
    result = quantize(cnn(), feeds((1, 3, 16, 16), 8), QuantizationConfig(), held_back=held_back)
    best = -np.inf
    for method in result.facts["methods"]:
        assert method["kept"] == (method["sqnr_db"] > best)
        best = max(best, method["sqnr_db"])
    judged = Evaluator(prepare(cnn()), list(held_back())).score(result.model)
    assert judged == pytest.approx(best, abs=0.01)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))
    return command_line


def test_commands_quantize_and_debug(app: typer.Typer, tmp_path: Path) -> None:
    ir.save(cnn(), tmp_path / "net.onnx")
    samples = np.concatenate([s["x"] for s in feeds((1, 3, 16, 16), 12)()])
    np.savez(tmp_path / "samples.npz", x=samples)
    common = ["--calibration", str(tmp_path / "samples.npz"), "--set", "options.samples=arrays", "--json"]
    done = CliRunner().invoke(
        app, ["quantize", str(tmp_path / "net.onnx"), *common, "--save-ranges", str(tmp_path / "ranges.json")]
    )
    assert done.exit_code == 0, done.output
    assert float_islands(ir.load(tmp_path / "net.int8.onnx")) == []
    assert json.loads((tmp_path / "ranges.json").read_text())["ranges"]
    done = CliRunner().invoke(app, ["debug", str(tmp_path / "net.onnx"), *common, "--count", "2"])
    assert done.exit_code == 0, done.output
    assert {"alone_db", "left_out_gain_db", "cause", "remedy"} <= set(json.loads(done.stdout)["worst"][0])


def test_a_tensor_of_zeros_whose_noise_is_infinite_has_a_figure() -> None:
    """Seen in an attention's denominators: float gives zeros, the INT8 model the reciprocals of zeros."""
    sums = _Sums(lambda values: [values], Grid(0.1, -128))
    sums.add(np.zeros(4, np.float32), np.full(4, np.inf, np.float32), 1)
    assert sums.error() == TensorError(-LIMIT_DB, 0.0, 0.0)
    sums.add(np.full(4, np.nan, np.float32), np.zeros(4, np.float32), 1)
    assert np.isfinite([sums.error().sqnr_db, sums.error().median_codes, sums.error().cut_off]).all()


def test_figures_that_fail_cost_a_warning_and_not_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN)

    def fail(*_: object) -> None:
        raise ValueError("math domain error")

    monkeypatch.setattr(quantizer, "tensor_errors", fail)
    result = quantize(cnn(), feeds((1, 3, 16, 16)), PLAIN)
    assert ir.to_proto(result.model).SerializeToString() == ir.to_proto(wanted.model).SerializeToString()
    assert result.facts["tensors"] == result.facts["worst"] == []
    assert any("math domain error" in text for text in result.facts["warnings"])
    assert wanted.facts["tensors"] and not wanted.facts["warnings"]
