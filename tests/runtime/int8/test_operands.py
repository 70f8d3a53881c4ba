"""Codes behind pairs: unsigned inside, their scales and zero points read, and sums that stay whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import parsed, value_of

from n6convert.runtime.int8.kernels import is_quantized, with_integer_kernels
from n6convert.runtime.int8.operands import INT8, UINT8, Operand, dtype, make_unsigned, numbers, products, store
from n6convert.runtime.session import run_model

GRID = {"s": 0.5, "z": np.array(-7, np.int8), "t": 0.25, "u": np.array(3, np.uint8)}


def net(body: str, inputs: str = "float[2,4] x", outputs: str = "float[] y", **constants: Any) -> ir.Model:
    return parsed(body, inputs, outputs, 17, **(GRID | constants))


def operand(model: ir.Model, name: str) -> Operand | None:
    return Operand.behind(model.graph, value_of(model, name))


def test_a_signed_constant_is_moved_up_with_its_zero_point() -> None:
    w = np.array([[-128, 0], [5, 127]], np.int8)
    model = net("d = DequantizeLinear(w, s, z) y = MatMul(x, d)", "float[2,2] x", w=w)
    found = operand(model, "d")
    assert found is not None and found.axis is None and found.is_weight(0) and found.is_weight(1)
    codes, zero = numbers(found.codes), numbers(found.zero_point)
    assert codes.dtype == zero.dtype == np.uint8
    np.testing.assert_array_equal(codes.astype(int) - int(zero), w.astype(int) + 7)
    again = operand(model, "d")
    assert again is not None and again.codes is found.codes, "stored once"


def test_without_a_zero_point_a_signed_constant_is_moved_up_by_128() -> None:
    w = np.array([[-128, 127]], np.int8)
    found = operand(net("d = DequantizeLinear(w, s) y = MatMul(x, d)", "float[2,1] x", w=w), "d")
    assert found is not None and int(numbers(found.zero_point)) == 128 and numbers(found.codes).tolist() == [[0, 255]]


@pytest.mark.parametrize(("axis", "size", "wanted"), [(0, 2, 0), (1, 3, 1), (-1, 3, 1), (-2, 2, 0)])
def test_the_axis_of_the_scales(axis: int, size: int, wanted: int) -> None:
    w = np.ones((2, 3), np.int8)
    model = net(f"d = DequantizeLinear<axis={axis}>(w, ss, zz) y = MatMul(x, d)", "float[2,2] x", w=w, ss=[0.5] * size,
                zz=np.zeros(size, np.int8))  # fmt: skip
    found = operand(model, "d")
    assert found is not None and found.axis == wanted and found.is_weight(wanted) and not found.is_weight(1 - wanted)
    assert not found.is_activation()


@pytest.mark.parametrize(("body", "more"), [
    ("d = Relu(x) y = Neg(d)", {}), ("d = DequantizeLinear(q, o, z) y = Neg(d)", {}),
    ("d = DequantizeLinear(q, s, p) y = Neg(d)", {}),
    ("d = DequantizeLinear<axis=0, block_size=2>(w, ss) y = Neg(d)", {"w": np.ones((4, 2), np.int8),
    "ss": np.ones((2, 2))}),
])  # fmt: skip
def test_what_is_no_operand(body: str, more: Any) -> None:
    model = parsed(body, "float[2,4] x, int8[2,4] q, float o, int8 p", "float[] y", 21, **(GRID | more))
    assert operand(model, "d") is None and Operand.behind(model.graph, None) is None


def test_a_bias_counts_in_steps_of_the_products() -> None:
    def bias(scale: float, zero: int = 0, kind: type = np.int32) -> bool:
        body = "d = DequantizeLinear(b, bs, bz) y = Add(x, d)"
        model = net(body, "float[2,3] x", b=np.array([1, 2, 3], kind), bs=scale, bz=np.array(zero, kind))
        found = operand(model, "d")
        assert found is not None
        return found.is_bias(np.float32(0.125))

    assert bias(0.125) and bias(0.125 * (1 + 5e-7)) and not bias(0.125 * 1.001) and not bias(0.25)
    assert not bias(0.125, zero=1) and not bias(0.125, kind=np.int8)


def test_products_of_scales_broadcast_over_channels() -> None:
    model = net("""q = QuantizeLinear(x, s, u) a = DequantizeLinear(q, s, u) b = DequantizeLinear<axis=1>(w, ss, zz)
        y = MatMul(a, b)""", w=np.ones((4, 3), np.int8), ss=[1.0, 2.0, 4.0], zz=np.zeros(3, np.int8))  # fmt: skip
    a, b = operand(model, "a"), operand(model, "b")
    assert a is not None and b is not None and products(a, b).tolist() == [0.5, 1.0, 2.0] and a.is_activation()


def test_signs_change_where_codes_enter_and_leave_only() -> None:
    body = """d = DequantizeLinear(x, s, z) n = Neg(d) q = QuantizeLinear(n, t, z) r = DequantizeLinear(q, t, z)
        y = QuantizeLinear(r, s, z)"""
    model = net(body, "int8[4] x", "int8[4] y")
    codes = {"x": np.array([-128, -7, 0, 127], np.int8)}
    exact = np.clip(np.rint(-((codes["x"].astype(float) + 7) * 0.5) / 0.25) - 7, -128, 127)
    wanted = np.clip(np.rint((exact + 7) * 0.25 / 0.5) - 7, -128, 127)
    np.testing.assert_array_equal(run_model(model, codes)["y"], wanted)
    make_unsigned(model.graph)
    zeros = [dtype(n.inputs, 2) for n in model.graph if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert zeros.count(INT8) == 2 and zeros.count(UINT8) == 6 and len(zeros) == 8, "one pair at each end"
    assert [v.dtype for v in (*model.graph.inputs, *model.graph.outputs)] == [INT8, INT8]


def test_a_constant_of_ours_is_stored_once() -> None:
    model = net("y = Relu(x)")
    first = store(model.graph, "name", np.float32([1, 2]))
    assert store(model.graph, "name", np.float32([3])) is first and str(first.name) in model.graph.initializers
    assert first.const_value is not None and first.const_value.numpy().tolist() == [1, 2]
    assert dtype([first], 0) == ir.DataType.FLOAT and dtype([first], 1) is None and dtype([None], 0) is None


@pytest.mark.parametrize("body", [
    "m = GlobalAveragePool(d)", "m = ReduceMean<axes=[2,3]>(d)", "m = AveragePool<kernel_shape=[2,2]>(d)",
    "m = ReduceSum(d, axes)",
])  # fmt: skip
def test_means_are_sums_of_whole_numbers(body: str) -> None:
    """Between uint8 codes; the quotient of the scales is all that is left to round."""
    text = f"""q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) {body} r = QuantizeLinear(m, t, z)
        y = DequantizeLinear(r, t, z)"""
    model = net(text, "float[1,2,4,4] x", axes=np.array([2, 3], np.int64))
    integer = with_integer_kernels(model)
    steps = [v for n in integer.graph for v in n.inputs if v is not None and v.name and "quotient" in v.name]
    assert len(steps) == 1 and float(numbers(steps[0])) == 0.5 and is_quantized(integer)
    random = np.random.default_rng(3)
    codes = random.integers(-128, 128, (1, 2, 4, 4))
    feeds = {"x": ((codes + 7) * 0.5).astype(np.float32)}
    centered = (codes + 7) * 0.5
    axes = (2, 3)
    if "AveragePool<" in body:
        exact = np.lib.stride_tricks.sliding_window_view(centered, (2, 2), axes).mean((-1, -2))
    else:
        exact = centered.sum(axes, keepdims=True) if "Sum" in body else centered.mean(axes, keepdims=True)
    wanted = (np.clip(np.rint(exact / 0.25) - 7, -128, 127) + 7) * 0.25
    ties = np.isclose(np.abs(exact / 0.25 % 1), 0.5)
    np.testing.assert_array_equal(run_model(model, feeds)["y"][~ties], wanted[~ties])
    assert (~ties).any()
