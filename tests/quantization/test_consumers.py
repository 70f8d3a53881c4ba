"""What readers make of a tensor value by value: found where it is a function of each value alone, and that function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, node_of, parsed, value_of

from n6convert.quantization.equalization.channel_map import map_channels
from n6convert.quantization.ranges.consumers import consumer_error_map, consumer_functions
from n6convert.quantization.reparameterization.gate_input import decouple_gate_inputs, gate_axes
from n6convert.runtime.session import run_model

Array = np.ndarray[Any, Any]
X = np.linspace(-6, 6, 49, dtype=np.float32)


def net(body: str, outputs: str = "float[] y", shape: str = "1,4,5,5") -> ir.Model:
    more = {
        "one": 1.0,
        "half": 0.5,
        "two": 2.0,
        "three": 3.0,
        "six": 6.0,
        "zero": 0.0,
        "w": np.ones((4, 4, 1, 1)),
        "v": [1.0, 2.0],
    }
    return parsed(f"t = Abs(x) {body}", f"float[{shape}] x", outputs, **more)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[str, tuple[str, list[Callable[[Array], Array]]]] = {
    "silu": ("s = Sigmoid(t) m = Mul(t, s) y = Conv(m, w)", [lambda x: x * sigmoid(x)]),
    "hard swish": ("a = Add(t, three) c = Clip(a, zero, six) d = Div(c, six) m = Mul(t, d) y = Conv(m, w)",
                   [lambda x: x * np.clip(x + 3, 0, 6) / 6]),
    "tanh": ("a = Tanh(t) y = Conv(a, w)", [np.tanh]),
    "itself as well": ("a = Tanh(t) c = Conv(a, w) y = Add(c, t)", [lambda x: x, np.tanh]),
    "two functions": ("a = Relu(t) b = Neg(t) c = Conv(a, w) d = Conv(b, w) y = Add(c, d)",
                      [lambda x: np.maximum(x, 0), lambda x: -x]),
    "nobody's function": ("y = Conv(t, w)", [lambda x: x]),
    "moved": ("m = Transpose<perm=[0,1,3,2]>(t) a = Relu(m) y = Conv(a, w)", [lambda x: np.maximum(x, 0)]),
    "from the right": ("a = Sub(one, t) b = Exp(a) y = Conv(b, w)", [lambda x: np.exp(1 - x)]),
    "a square": ("a = Mul(t, t) y = Conv(a, w)", [np.square]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_each_value(name: str) -> None:
    body, wanted = FUNCTIONS[name]
    model = net(body)
    found = consumer_functions(model, value_of(model, "t"))(X)
    assert len(found) == len(wanted)
    for given in wanted:
        assert any(np.allclose(given(X.astype(np.float64)), f, rtol=1e-4, atol=1e-5) for f in found), name
    effect = consumer_error_map(model, value_of(model, "t"))
    assert (effect is None) == (name == "nobody's function")


@pytest.mark.parametrize("name", ["silu", "hard swish", "itself as well", "two functions", "moved"])
def test_errors_are_looked_at_behind_the_functions(name: str) -> None:
    body, wanted = FUNCTIONS[name]
    model = net(body)
    effect = consumer_error_map(model, value_of(model, "t"))
    assert effect is not None
    exact, rounded = X.astype(np.float64), np.round(X.astype(np.float64) * 2) / 2
    pairs = effect(exact, rounded)
    assert len(pairs) == len(wanted)
    for function in wanted:
        assert any(
            np.allclose(function(exact), a, atol=1e-5) and np.allclose(function(rounded), b, atol=1e-5)
            for a, b in pairs
        )


@pytest.mark.parametrize(("body", "inverse"), [
    ("d = Div(x, t) y = Conv(d, w)", True), ("s = Sqrt(t) d = Div(x, s) y = Conv(d, w)", True),
    ("d = Div(t, x) y = Conv(d, w)", False), ("d = Div(t, t) y = Conv(d, w)", False),
])  # fmt: skip
def test_of_a_divisor_the_reciprocal_counts(body: str, inverse: bool) -> None:
    model = net(body)
    effect = consumer_error_map(model, value_of(model, "t"))
    if not inverse:
        assert effect is None or all(not np.allclose(a, 1 / np.abs(X[X > 1])) for a, _ in effect(X[X > 1], X[X > 1]))
        return
    assert effect is not None
    ((before, after),) = effect(np.float64([1.0, 4.0]), np.float64([2.0, 16.0]))
    power = 0.5 if "Sqrt" in body else 1.0
    np.testing.assert_allclose(before, np.float64([1.0, 4.0]) ** -power, rtol=1e-6)
    np.testing.assert_allclose(after, np.float64([2.0, 16.0]) ** -power, rtol=1e-6)


@pytest.mark.parametrize("body", [
    "a = Mul(t, v) y = Conv(t, w)", "a = Add(t, x) y = Conv(a, w)", "a = Softmax(t) y = Conv(a, w)", "y = Relu(x)",
])  # fmt: skip
def test_what_mixes_values_is_no_function(body: str) -> None:
    model = net(body, shape="1,4,5,2" if "v" in body else "1,4,5,5")
    assert consumer_error_map(model, value_of(model, "t")) is None


def test_a_chain_of_any_length_is_followed_in_time() -> None:
    chain = " ".join(f"a{i + 1} = Mul(a{i}, a{i})" for i in range(100))
    model = net(f"a0 = Tanh(t) {chain} y = Conv(a100, w)")
    found = consumer_functions(model, value_of(model, "t"))
    assert len(found(X)) == 1


GELU = "u = Div(t, {}) e = Erf(u) p = Add(e, one) m = Mul(t, p) y = Mul(m, half)"


def gate(body: str, spread: float, shape: str = "1,6,4,4") -> tuple[ir.Model, list[dict[str, Array]]]:
    channels = 6
    weight = np.eye(channels, dtype=np.float32)
    weight[0, 0] = spread
    axis = shape.count(",") == 3
    layer = "t = Conv(x, w)" if axis else "t = MatMul(x, w)"
    constants = {"w": weight[..., None, None] if axis else weight, "one": 1.0, "half": 0.5, "root": np.sqrt(2.0)}
    model = parsed(f"{layer} {body}", f"float[{shape}] x", "float[] y", **constants)
    sizes = [int(n) for n in shape.split(",")]
    return model, [drawn({"x": sizes}, seed) for seed in range(3)]


@pytest.mark.parametrize("body", [GELU.format("root"), "s = Sigmoid(t) y = Mul(t, s)"])
@pytest.mark.parametrize("shape", ["1,6,4,4", "1,5,6", "1,6"])
def test_an_uneven_gate_gets_a_copy_of_its_own(body: str, shape: str) -> None:
    """The same function but where the gate is flat; the copy is a depthwise convolution that is cut there."""
    model, samples = gate(body, 64.0, shape)
    found, records = decouple_gate_inputs(model, samples, threads=1)
    assert [r["tensor"] for r in records] == ["t"] and records[0]["largest_to_usual_channel"] > 4
    copy = [n for n in found.graph if n.op_type == "Conv" and n.attributes.get_int("group", 1) == 6]
    assert len(copy) == 1 and node_of(found, "Clip").inputs[0] is not None
    scale = np.where(np.arange(6) == 0, 64.0, 1.0).reshape([6, 1, 1] if shape.count(",") == 3 else [6])
    for sample in samples:
        before, after = (run_model(m, sample)["y"] for m in (model, found))
        assert (np.abs(after - before) <= 4e-4 * np.abs(sample["x"] * scale) + 1e-5).all(), "as the function is flat"
    factor = copy[0].inputs[1].const_value.numpy().ravel()  # type: ignore[union-attr]
    np.testing.assert_allclose(factor, np.sqrt(0.5) if "Erf" in body else 1.0, rtol=1e-6)


def test_even_gates_and_products_without_one_stay() -> None:
    model, samples = gate("s = Sigmoid(t) y = Mul(t, s)", 1.0)
    found, records = decouple_gate_inputs(model, samples, threads=1)
    assert records == [] and [n.op_type for n in found.graph] == [n.op_type for n in model.graph]
    alone, samples = gate("y = Sigmoid(t)", 64.0)
    assert decouple_gate_inputs(alone, samples, threads=1)[1] == [] and gate_axes(alone.graph) == {}
    assert gate_axes(model.graph) == {"t": (0, 2, 3)}
    assert gate_axes(gate("s = Sigmoid(t) y = Mul(t, s)", 1.0, "1,5,6")[0].graph) == {"t": (0, 1)}


@pytest.mark.parametrize(("body", "copied"), [
    ("h = HardSwish(t)", 1), ("s = HardSigmoid<alpha=0.25, beta=0.4>(t) h = Mul(t, s)", 1), ("h = HardSigmoid(t)", 0),
])  # fmt: skip
@pytest.mark.parametrize("shape", ["1,6,4,4", "1,5,6"])
def test_a_gate_of_straight_parts_is_a_copy_and_no_function(body: str, copied: int, shape: str) -> None:
    """Exactly the same values, and the product has a factor for each channel, as behind other gates."""
    layer = "Conv" if shape.count(",") == 3 else "MatMul"
    model, samples = gate(f"{body} y = {layer}(h, w)", 64.0, shape)
    found, records = decouple_gate_inputs(model, samples, threads=1)
    assert len(records) == copied
    for sample in samples:
        before, after = (run_model(m, sample)["y"] for m in (model, found))
        np.testing.assert_allclose(after, before, atol=1e-6 * np.abs(before).max())
    labels = map_channels(found.graph).of(value_of(found, "h"))
    assert len(np.unique(labels)) == (6 if copied else 1) and labels.any() == bool(copied)
    assert bool(copied) != bool({"HardSwish", "HardSigmoid"} & {n.op_type for n in found.graph})
