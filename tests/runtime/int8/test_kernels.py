"""Whatever the CPU, an INT8 operator gives the code that integer arithmetic gives."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from nets.operators import CODES, INPUTS, OPERATORS, network

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.int8 import exactness, kernels
from n6convert.runtime.int8.exactness import signed_weights_are_exact
from n6convert.runtime.int8.kernels import with_integer_kernels
from n6convert.runtime.int8.reference import TIE, operator_result, steps_off
from n6convert.runtime.session import Session, run_model

from ...quantization.nets import cnn, feeds, parse

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["signed weights", "unsigned weights"])
def signed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both forms of weights; signed ones only where this CPU sums their products exactly."""
    wanted = request.param == "signed weights"
    if wanted and not signed_weights_are_exact():
        pytest.skip("signed weights saturate on this CPU")
    monkeypatch.setattr(kernels, "signed_weights_are_exact", lambda: wanted)
    return wanted


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_give_the_codes_of_integer_arithmetic(name: str, signed: bool) -> None:
    weights = CODES if OPERATORS[name].weight else CODES[:1]
    for codes in CODES:
        for kind in weights:
            model, feeds = network(name, codes, kind)
            off = steps_off(model, feeds)["y_q"]
            assert off <= 0.5 + TIE, (codes, kind, off)


@pytest.fixture(scope="module")
def int8() -> ir.Model:
    """A network whose tensors are read by several operators each."""
    plain = {"ranges": "minmax", "equalization": False, "bias_correction": "off", "rounding": "nearest"}
    return quantize(cnn(), feeds((1, 3, 16, 16)), QuantizationConfig(**plain)).model


def test_a_network_gives_them_everywhere(int8: ir.Model, signed: bool) -> None:
    graph = with_integer_kernels(int8).graph
    weights = {node.inputs[3].dtype for node in graph if node.op_type == "QLinearConv"}
    assert weights == {ir.DataType.INT8 if signed else ir.DataType.UINT8}
    for sample in feeds((1, 3, 16, 16), 4, seed=7)():
        off = steps_off(int8, sample)
        assert len(off) == 13
        assert max(off.values()) <= 0.5 + TIE, off


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_optimizers_and_threads_change_nothing(int8: ir.Model, optimize: bool, threads: int) -> None:
    sample = next(feeds((1, 3, 16, 16))())
    wanted = Session(int8, threads=1).run(sample)
    found = Session(int8, threads=threads, optimize=optimize).run(sample)
    assert all(np.array_equal(wanted[n], found[n]) for n in wanted)


@pytest.mark.parametrize("kernel", ["conv", "point", "depthwise", "matmul", "gemm", "sums"])
def test_one_kernel_that_saturates_is_enough_for_unsigned_weights(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = signed_weights_are_exact()
    run = exactness._results

    def saturating(model: bytes, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = run(model, given)
        halved = found[kernel] // 2 if kernel == "sums" else 128 + (found[kernel].astype(int) - 128) // 2
        return found | {kernel: halved}

    with monkeypatch.context() as patched:
        patched.setattr(exactness, "_results", saturating)
        assert not exactness.signed_weights_are_exact.__wrapped__()
    assert exactness.signed_weights_are_exact.__wrapped__() == exact


def test_a_file_runs_as_the_model_in_memory(int8: ir.Model, tmp_path: Path) -> None:
    ir.save(int8, tmp_path / "m.onnx", external_data="m.data")
    sample = next(feeds((1, 3, 16, 16))())
    wanted, found = (run_model(m, sample) for m in (int8, tmp_path / "m.onnx"))
    assert all(np.array_equal(wanted[n], found[n]) for n in wanted)


def test_four_bit_weights_give_the_same_as_their_eight_bit_copies() -> None:
    model, sample = network("Conv 3x3", "random", "random")
    constants = model.graph.initializers
    codes = (constants["w_codes"].const_value.numpy() // 16).astype(np.int8)
    constants["w_codes"].const_value = ir.tensor(codes, name="w_codes")
    wanted = run_model(model, sample)["out"]
    model.graph.opset_imports[""], model.ir_version = 21, 10
    for name in ("w_codes", "w_zero"):
        array = constants[name].const_value.numpy().astype(ml_dtypes.int4)
        constants[name].const_value = ir.tensor(array, dtype=ir.DataType.INT4, name=name)
        constants[name].dtype = ir.DataType.INT4
    assert np.array_equal(run_model(model, sample)["out"], wanted)
    assert "QLinearConv" in {n.op_type for n in with_integer_kernels(model).graph}


def test_codes_enter_and_leave_as_int8() -> None:
    constants = {"s": np.float32(0.5), "z": np.int8(-7)}
    body = """net (int8[4] q) => (int8[4] r, float[4] y) {
      d = DequantizeLinear(q, s, z)
      n = Neg(d)
      r = QuantizeLinear(n, s, z)
      y = DequantizeLinear(r, s, z)
    }"""
    found = run_model(parse(body, **constants), {"q": np.array([-128, -7, 0, 114], np.int8)})
    assert found["r"].dtype == np.int8
    assert found["r"].tolist() == [114, -7, -14, -128]
    assert found["y"].tolist() == [60.5, 0, -3.5, -60.5]


PRODUCT = "m = QLinearMatMul(q, s, z, w, s, z, s, z)"
AS_CODES = {
    "moved": ("t = Transpose(q) y = DequantizeLinear(t, s, z)", "float[2,2] y"),
    "moved out": ("y = Transpose(q)", "int8[2,2] y"),
    "default zero": ("y = DequantizeLinear(q, s)", "float[2,2] y"),
    "product": (f"{PRODUCT} y = DequantizeLinear(m, s, z)", "float[2,2] y"),
    "both": (f"{PRODUCT} d = DequantizeLinear(q, s, z) e = DequantizeLinear(m, s, z) y = Add(d, e)", "float[2,2] y"),
}


@pytest.mark.parametrize("name", AS_CODES)
@pytest.mark.parametrize("enters", ["as codes", "as values"])
def test_codes_that_other_operators_read_stay_signed(name: str, enters: str) -> None:
    """Moved as codes, in a file of integer operators, or by a reader whose zero point is the default."""
    body, kind = AS_CODES[name]
    codes = np.random.default_rng(2).integers(-20, 20, (2, 2)).astype(np.int8)
    constants = {"s": np.float32(0.25), "z": np.int8(0), "w": np.array([[8, 2], [-4, 1]], np.int8)}
    start, head = ("", "int8[2,2] q") if enters == "as codes" else ("q = QuantizeLinear(x, s, z) ", "float[2,2] x")
    model = parse(f"net ({head}) => ({kind}) {{ {start}{body} }}", **constants)
    model.graph.opset_imports[""] = 21  # the first that onnx itself evaluates
    feed = {"q": codes} if enters == "as codes" else {"x": codes * np.float32(0.25)}
    by_onnx = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, feed)[0]
    found = run_model(model, feed)["y"]
    np.testing.assert_array_equal(found, by_onnx)
    assert found.dtype == by_onnx.dtype and found.any()


def test_float_weights_stay_float() -> None:
    """onnxruntime rounds them to 8 bits, one scale for all channels, where the tensors around are quantized."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 8, 3, 3)) * np.array([100, 1, 1, 1, 1, 1, 1, 1]).reshape(-1, 1, 1, 1)
    body = """net (float[1,8,9,9] x) => (float[1,8,7,7] y) {
      q = QuantizeLinear(x, s, z)
      d = DequantizeLinear(q, s, z)
      c = Conv(d, w)
      r = QuantizeLinear(c, t, z)
      y = DequantizeLinear(r, t, z)
    }"""
    constants = {"s": np.float32(0.03), "t": np.float32(0.3), "z": np.int8(3)}
    model = parse(body, w=weight.astype(np.float32), **constants)
    assert max(steps_off(model, next(feeds((1, 8, 9, 9))())).values()) <= 0.5 + TIE


def test_a_bias_in_steps_of_its_own_is_not_taken_for_one_of_the_products() -> None:
    model, sample = network("Gemm", "random", "random")
    steps = model.graph.initializers["b_scale"]
    steps.const_value = ir.tensor(steps.const_value.numpy() * np.float32(3), name="b_scale")
    plain = run_model(_without_pairs_on_output(model), sample)["y"]
    found = run_model(model, sample)["out"]
    scale = float(model.graph.initializers["y_scale"].const_value.numpy())
    inside = np.abs(plain) < 100 * scale
    assert inside.any() and np.abs(found - plain)[inside].max() < 0.51 * scale


def _without_pairs_on_output(model: ir.Model) -> ir.Model:
    copy = model.clone()
    quantize = next(n for n in copy.graph if n.outputs[0].name == "y_q")
    copy.graph.outputs[0] = quantize.inputs[0]
    return copy


def test_signed_weights_that_a_file_keeps_are_computed_precisely() -> None:
    """Also where no pair is left to choose a kernel by: a file of integer operators."""
    session = Session(parse("net (float[4] x) => (float[4] y) { y = Neg(x) }"))._session
    assert session.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"


def test_sessions_are_opened_in_one_place() -> None:
    sources = [p for folder in ("n6convert", "plugins") for p in (ROOT / folder).rglob("*.py")]
    opening = [p.name for p in sources if "InferenceSession(" in p.read_text(encoding="utf-8")]
    assert opening == ["opening.py"]


@pytest.mark.parametrize(
    "name", ["Conv 3x3", "Conv 3x3, 4 groups", "Gemm", "Gemm, transposed", "MatMul", "MatMul, a stack"]
)
def test_sums_are_exact_where_the_result_stays_float(name: str) -> None:
    """Layers that are looked at before they are rounded."""
    model, sample = network(name, "random", "random")
    product = _without_pairs_on_output(model)
    node = next(n for n in product.graph if n.outputs[0].name == "y")
    codes = {f"{k}_q": np.rint(v / np.float32(s)) + z for (k, s, z), v in zip(INPUTS, sample.values(), strict=False)}
    exact = operator_result(node, codes)
    found = run_model(product, sample)["y"]
    assert np.abs(found - exact).max() <= 2**-22 * np.abs(exact).max()
    assert np.array_equal(found, Session(product, threads=2, optimize=False).run(sample)["y"])


def test_codes_of_four_bits_run_as_unsigned_ones(int8: ir.Model, signed: bool) -> None:
    """There are no kernels for them, whatever the type that the graph tells."""
    narrow = int8.clone()
    node = next(n for n in narrow.graph if n.op_type == "DequantizeLinear" and n.inputs[0].const_value is not None)
    codes = node.inputs[0].const_value.numpy()
    for value in node.inputs[0], node.inputs[2]:
        if value is not None:
            array = np.clip(value.const_value.numpy(), -8, 7).astype(ml_dtypes.int4)
            value.const_value = ir.tensor(array, dtype=ir.DataType.INT4, name=value.name)
    narrow.opset_imports[""], narrow.ir_version = 21, 10
    wide = int8.clone()
    other = next(n for n in wide.graph if n.name == node.name)
    other.inputs[0].const_value = ir.tensor(np.clip(codes, -8, 7).astype(np.int8), name=other.inputs[0].name)
    sample = next(feeds((1, 3, 16, 16))())
    found, wanted = (Session(m).run(sample) for m in (narrow, wide))
    assert all(np.array_equal(found[n], wanted[n]) for n in wanted)
