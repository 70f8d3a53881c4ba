"""``n6convert quantize`` and ``debug`` on odd models, odd samples and odd ranges: right, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.cli import run
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .nets import parse
from .walk import float_islands

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32), np.array([0.1, -0.2, 3, 0], np.float32)
SAMPLES = RNG.standard_normal((12, 3, 8, 8)).astype(np.float32)
CONV = "net (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def conv(**weights: np.ndarray) -> ir.Model:
    return parse(CONV, **({"w": WEIGHT, "b": BIAS} | weights))


def command(model: ir.Model, samples: np.ndarray, *more: str, name: str = "quantize") -> int:
    ir.save(model, "net.onnx")
    np.savez("samples.npz", x=samples)
    fixed = ["--calibration", "samples.npz", "--set", "options.samples=arrays"]
    return run([name, "net.onnx", *fixed, *more])


def facts(capsys: pytest.CaptureFixture[str], model: ir.Model, samples: np.ndarray, *more: str) -> dict:
    assert command(model, samples, *more, "--json") == 0
    return json.loads(capsys.readouterr().out)


def check(model: ir.Model, samples: np.ndarray, least: float) -> None:
    """The INT8 file is INT8 throughout and close to float on the largest sample."""
    assert command(model, samples) == 0
    found = ir.load("net.int8.onnx")
    assert float_islands(found) == []
    sizes = np.abs(samples).reshape(len(samples), -1).max(axis=1)
    sample = {"x": samples[[np.nan_to_num(sizes).argmax()]]}
    exact, other = run_model(model, sample), run_model(found, sample)
    assert all(sqnr_db(exact[n], other[n]) > least for n in exact)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    text = capsys.readouterr().err
    assert "unexpected" not in text and "remedy:" in text
    assert all(word in text for word in words), text


SHARED = """net (float[1,3,8,8] x) => (float[1,3,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w, b) c = Relu(a) y = Conv<pads=[1,1,1,1]>(c, w, b) }"""
EMPTY = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
  zero = Constant<value_ints=[0]>() one = Constant<value_ints=[1]>()
  none = Slice(x, zero, zero, one) c = Concat<axis=1>(x, none) y = Conv<pads=[1,1,1,1]>(c, w, b) }"""
SILENT = WEIGHT * np.array([1, 0, 1, 1], np.float32)[:, None, None, None]
RIGHT = {
    "constant samples": (conv(), np.full((12, 3, 8, 8), 0.5, np.float32)),
    "samples of zeros": (conv(), np.zeros((12, 3, 8, 8), np.float32)),
    "one sample only": (conv(), SAMPLES[:1]),
    "samples of all sizes": (conv(), SAMPLES * np.geomspace(1e-6, 1e5, 12, dtype=np.float32)[:, None, None, None]),
    "a channel of zeros": (conv(w=SILENT), SAMPLES),
    "all weights zero": (conv(w=WEIGHT * 0), SAMPLES),
    "shared initializers": (parse(SHARED, w=WEIGHT[:3], b=BIAS[:3]), SAMPLES),
    "an empty tensor": (parse(EMPTY, w=WEIGHT, b=BIAS), SAMPLES),
    "no operator that computes": (parse("net (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Identity(x) }"), SAMPLES),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_odd_but_right(case: str) -> None:
    check(*RIGHT[case], least=18.0)


def with_number(array: np.ndarray, number: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[-1] = number
    return changed


def unary(body: str) -> ir.Model:
    return parse(f"net (float[1,3,8,8] x) => (float[1,3,8,8] y) {{ {body} }}")


TOPK = """net (float[1,3,8,8] x) => (float[1,3,8,2] y, int64[1,3,8,2] i) {
  k = Constant<value_ints=[2]>() y, i = TopK(x, k) }"""
WRONG = {
    "NaN among the weights": (conv(w=with_number(WEIGHT, np.nan)), SAMPLES, ["where: w"]),
    "infinity among the weights": (conv(w=with_number(WEIGHT, np.inf)), SAMPLES, ["y"]),
    "NaN in most samples": (conv(), with_number(SAMPLES[:2], np.nan), ["samples.npz", "NaN or infinity among", "x"]),
    "NaN inside": (unary("y = Log(x)"), SAMPLES, ["tensor y", "Log"]),
    "no samples": (conv(), SAMPLES[:0], ["samples.npz"]),
    "samples of another shape": (conv(), SAMPLES[:, :2], ["samples.npz: x", "[1, 3, 8, 8]"]),
    "a sorting operator": (parse(TOPK), SAMPLES, ["TopK", "tensor y"]),
    "an Einsum": (unary('y = Einsum<equation="bchw,bcwk->bchk">(x, x)'), SAMPLES, ["Einsum", "MatMul"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_the_place_and_a_remedy(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, samples, words = WRONG[case]
    assert command(model, samples) != 0
    refused(capsys, *words)
    assert not Path("net.int8.onnx").exists()


def test_one_damaged_sample_is_left_out_and_a_later_overflow_inside_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(conv(), with_number(SAMPLES, np.nan)[::-1].copy(), 25.0)
    large = SAMPLES.copy()
    large[6:] = 200  # exp overflows; the first sample does not show it
    assert command(unary("e = Exp(x) y = Neg(e)"), large) != 0
    refused(capsys, "finite")


@pytest.mark.parametrize("name", ["quantize", "debug"])
def test_a_model_that_is_int8_already(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(conv(), SAMPLES) == 0
    assert command(ir.load("net.int8.onnx"), SAMPLES, name=name) != 0
    refused(capsys, "already quantized", "net.onnx", "n6convert requantize net.onnx", "float model")


def test_samples_that_vanish_beside_others_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    far = SAMPLES * np.geomspace(1e-6, 1e5, 12, dtype=np.float32)[:, None, None, None]
    assert any("differ wildly" in w and "input x" in w for w in facts(capsys, conv(), far)["warnings"])
    dark = SAMPLES.copy()
    dark[3] = 0  # one black picture is nothing to warn of
    assert facts(capsys, conv(), dark)["warnings"] == []


def saved() -> dict:
    assert command(conv(), SAMPLES, "--save-ranges", "ranges.json") == 0
    return json.loads(Path("ranges.json").read_text())


def reuse(content: object, *more: str) -> int:
    Path("ranges.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return command(conv(), SAMPLES, "--ranges", "ranges.json", *more)


def scale_of(name: str) -> float:
    return float(ir.load("net.int8.onnx").graph.initializers[f"{name}_scale"].const_value.numpy())


def test_ranges_are_saved_reused_and_edited() -> None:
    content = saved()
    first = scale_of("x")
    assert reuse(content) == 0 and scale_of("x") == first
    content["ranges"]["x"] = [-1.0, 1.0]
    assert reuse(content) == 0 and scale_of("x") == pytest.approx(2 / 255)


BROKEN = {
    "upside down": ({"x": [1.0, -1.0]}, ["tensor x", "low <= high"]),
    "half a range": ({"x": [1.0]}, ["tensor x"]),
    "words": ({"x": ["low", "high"]}, ["tensor x"]),
    "beyond float32": ({"x": [0, 1e300]}, ["tensor x"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_wrong_ranges_are_named(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = saved()
    change, words = BROKEN[case]
    assert reuse(content | {"ranges": content["ranges"] | change}) != 0
    refused(capsys, "ranges.json", *words)


@pytest.mark.parametrize("text", ['{"format": "n6conv', "[]", '{"format": "other", "ranges": {}}', ""])
def test_damaged_range_files_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reuse(text) != 0
    refused(capsys, "ranges.json", "--save-ranges")


def test_ranges_of_another_model_and_of_misspelt_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    content = saved()
    assert reuse(content | {"ranges": {f"{k}_other": v for k, v in content["ranges"].items()}}) != 0
    refused(capsys, "tensor x", "calibrate again")
    assert reuse(content | {"ranges": content["ranges"] | {"strey": [0, 1]}}, "--json") == 0
    assert any("strey" in w for w in json.loads(capsys.readouterr().out)["warnings"])


def test_places_that_cannot_be_written_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(conv(), SAMPLES, "--save-ranges", "nowhere/ranges.json") != 0
    text = capsys.readouterr().err
    assert "cannot write the ranges" in text and "nowhere" in text and "unexpected" not in text
