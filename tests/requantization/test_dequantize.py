"""The float model behind codes: for values on the grids it gives the file's own numbers; what computes is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto
from onnx_text import parsed

from n6convert.errors import GraphError
from n6convert.requantization.dequantize import Given, Grid, dequantize
from n6convert.requantization.grids import noted_grids
from n6convert.runtime.session import run_model

Array = np.ndarray[Any, Any]
HALF = {"s": 0.5, "z": np.array(3, np.int8), "s2": 0.25, "z2": np.array(-128, np.int8), "u": np.array(0, np.uint8)}


def on_grid(shape: tuple[int, ...], scale: float = 0.5, seed: int = 0) -> Array:
    """Small multiples of a scale, which INT8 codes hold exactly."""
    return (np.random.default_rng(seed).integers(-20, 21, shape) * scale).astype(np.float32)


def float_again(
    body: str, inputs: str = "float[1,2,4] x", opset: int = 21, exact: bool = True, x: Array | None = None, **more: Any
) -> tuple[ir.Model, Given]:
    """The model without its codes, after it gave what the codes gave."""
    model = parsed(body, inputs, "float[] y", opset, **(HALF | more))
    feeds = {
        v.name or "": on_grid(tuple(int(d) for d in v.shape or ())) if x is None else x for v in model.graph.inputs
    }
    wanted = run_model(model.clone(), feeds)
    given = dequantize(model, "net.onnx")
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in model.graph}
    for name, value in run_model(model, feeds).items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-6, atol=1e-6 if exact else 0.25)
    assert noted_grids(model.metadata_props).keys() == given.grids.keys()
    return model, given


@pytest.mark.parametrize(("kind", "low", "high"), [
    ("INT8", -128, 127), ("UINT8", 0, 255), ("INT16", -32768, 32767), ("UINT16", 0, 65535),
    ("INT4", -8, 7), ("UINT4", 0, 15),
])  # fmt: skip
def test_the_span_of_a_grid_is_from_its_first_to_its_last_code(kind: str, low: int, high: int) -> None:
    grid = Grid(0.5, 2, ir.DataType[kind])
    assert grid.span == (0.5 * (low - 2), 0.5 * (high - 2)) and grid.span[1] - grid.span[0] == 0.5 * (high - low)


def test_a_pair_alone() -> None:
    model, given = float_again("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)")
    assert given.grids == {"x": Grid(0.5, 3, ir.DataType.INT8)} and not given.weights and not given.approximated
    assert noted_grids(model.metadata_props) == {"x": (-65.5, 62.0)}
    assert [v.name for v in model.graph.outputs] == ["y"]


@pytest.mark.parametrize("moves", [
    "m = Transpose<perm=[0,2,1]>(q)", "m = Reshape(q, flat)",
    "a, b = Split<axis=2, num_outputs=2>(q) m = Concat<axis=2>(b, a)",
    "m = Slice(q, one, four, two)", "a = Transpose<perm=[2,1,0]>(q) m = Reshape(a, flat)",
])  # fmt: skip
def test_codes_that_are_moved_are_values_that_are_moved(moves: str) -> None:
    numbers = {"flat": np.array([4, 2]), "one": np.array([1]), "four": np.array([4]), "two": np.array([2])}
    float_again(f"q = QuantizeLinear(x, s, z) {moves} y = DequantizeLinear(m, s, z)", **numbers)


def test_codes_of_a_tensor_that_is_returned_as_codes() -> None:
    """The output of the graph becomes the float tensor itself, under its name."""
    model = parsed("r = Abs(x) y = QuantizeLinear(r, s, z)", "float[4] x", "int8[4] y", **HALF)
    given = dequantize(model, "net.onnx")
    x = on_grid((4,))
    (found,) = run_model(model, {"x": x}).values()
    np.testing.assert_array_equal(found, np.abs(x))
    assert [v.name for v in model.graph.outputs] == ["y"] and given.grids.keys() == {"y"}


def test_two_readers_of_one_tensor() -> None:
    _, given = float_again(
        "q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z) b = DequantizeLinear(q, s, z) y = Add(a, b)"
    )
    assert given.grids.keys() == {"x"}


@pytest.mark.parametrize(
    ("axis", "scales"), [(0, [0.5, 0.25]), (1, [0.5, 0.25, 2.0]), (-1, [0.5, 0.25, 2.0]), (None, 0.125)]
)
def test_weights_by_channel_are_what_their_integers_say(axis: int | None, scales: Any) -> None:
    codes = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    attribute = "" if axis is None else f"<axis={axis}>"
    zero = np.ones(np.shape(scales), np.int8)
    model, given = float_again(f"d = DequantizeLinear{attribute}(w, ws, wz) y = MatMul(x, d)",
        "float[1,2] x",
        ws=scales,
                               w=codes, wz=zero)  # fmt: skip
    step = np.asarray(scales, np.float32)
    step = step[:, None] if axis == 0 else step
    (weight,) = [v for v in model.graph.initializers.values() if v.shape == (2, 3)]
    np.testing.assert_array_equal(weight.const_value.numpy(), (codes - 1) * step)  # type: ignore[union-attr]
    assert given.weights == {"INT8": 1} and "1 INT8" in given.note


def test_blocks_of_a_weight_have_scales_of_their_own() -> None:
    codes, scales = np.arange(10, dtype=np.int8).reshape(5, 2), np.float32([[0.5, 1.0], [2.0, 4.0], [8.0, 16.0]])
    body = "d = DequantizeLinear<axis=0, block_size=2>(w, ws) y = MatMul(x, d)"
    model = parsed(body, "float[1,5] x", "float[] y", 21, w=codes, ws=scales)
    dequantize(model, "net.onnx")
    (weight,) = [v for v in model.graph.initializers.values() if v.shape == (5, 2)]
    wanted = codes * np.repeat(scales, 2, 0)[:5]
    np.testing.assert_array_equal(weight.const_value.numpy(), wanted)  # type: ignore[union-attr]


def test_a_float_weight_behind_a_pair_is_rounded_as_the_pair_does() -> None:
    """A constant through QuantizeLinear and back: ties go to even codes, what is too large saturates."""
    w = np.float32([0.25, 0.75, -0.25, 1000.0, -1000.0, 0.6])
    body = "q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = Add(x, d)"
    model, given = float_again(body, "float[6] x", w=w)
    values = [v.const_value.numpy().tolist() for v in model.graph.initializers.values() if v.shape == (6,)]  # type: ignore[union-attr]
    assert [0.0, 1.0, 0.0, 62.0, -65.5, 0.5] in values and given.weights == {"INT8": 1}


@pytest.mark.parametrize(("body", "relus"), [
    ("t = Add(x, x)", 1), ("t = Sigmoid(x)", 0), ("t = Softplus(x)", 0),
    ("t = Clip(x, zero)", 0), ("t = Clip(x, minus)", 1), ("t = Clip(x)", 1), ("t = Clip(x, , six)", 1),
    ("r = Abs(x) t = Clip(r, , six)", 1), ("r = Abs(x) t = Clip(r)", 0), ("r = Abs(x) t = GlobalAveragePool(r)", 0),
    ("r = Abs(x) t = Add(r, minus)", 1), ("r = Abs(x) t = Add(r, six)", 0), ("r = Abs(x) t = Sub(r, six)", 1),
    ("r = Abs(x) t = Concat<axis=0>(r, x)", 1),
])  # fmt: skip
def test_a_grid_from_zero_stands_for_the_relu_that_a_quantizer_dropped(body: str, relus: int) -> None:
    """Codes from 0 on cut negative values off; where none can be, nothing is added."""
    x = np.float32([[[-1.5, 0.0, 2.0, 30.0], [1.0, -8.0, 0.5, 0.25]]])
    text = f"{body} q = QuantizeLinear(t, s2, z2) y = DequantizeLinear(q, s2, z2)"
    model, given = float_again(text, x=x, exact=False, zero=0.0, six=6.0, minus=-0.5)
    assert sum(n.op_type == "Relu" for n in model.graph) == relus
    assert {g.span[0] for g in given.grids.values()} == {0.0}


def test_an_old_clip_has_its_bounds_as_attributes() -> None:
    for low, relus in ((0.0, 0), (-1.0, 1)):
        body = f"t = Clip<min={low:.1f}, max=6.0>(x) q = QuantizeLinear(t, s2, z2) y = DequantizeLinear(q, s2, z2)"
        model, _ = float_again(body, opset=10, exact=False)
        assert sum(n.op_type == "Relu" for n in model.graph) == relus


@pytest.mark.parametrize(("mode", "relus"), [("linear", 0), ("nearest", 0), ("cubic", 1)])
def test_cubic_enlargement_swings_below_zero(mode: str, relus: int) -> None:
    body = f"""r = Abs(x) t = Resize<mode="{mode}">(r, , scales) q = QuantizeLinear(t, s2, z2)
        y = DequantizeLinear(q, s2, z2)"""
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[..., 3, 3] = 20
    model, _ = float_again(body, "float[1,1,6,6] x", x=x, exact=False, scales=np.float32([1, 1, 2, 2]))
    assert sum(n.op_type == "Relu" for n in model.graph) == relus


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_inputs_that_are_codes_become_floats_with_their_grid(kind: str) -> None:
    zero = np.array(10, np.uint8 if kind == "uint8" else np.int8)
    model = parsed(
        "t = Transpose(x) d = DequantizeLinear(t, s, zero) y = Abs(d)", f"{kind}[2,3] x", "float[] y", zero=zero, **HALF
    )
    codes = np.array([[0, 1, 2], [100, 12, 50]], zero.dtype)
    wanted = run_model(model.clone(), {"x": codes})["y"]
    given = dequantize(model, "net.onnx")
    assert given.inputs == {"x": Grid(0.5, 10, ir.DataType[kind.upper()])}
    values = (codes.astype(np.float32) - 10) * 0.5
    np.testing.assert_array_equal(run_model(model, {"x": values})["y"], wanted)
    mean, std = given.pixels["x"]
    pixels = codes.astype(np.float32) + (128 if kind == "int8" else 0)
    np.testing.assert_allclose((pixels - mean) / std, values)


def test_inputs_that_are_counts_stay_integers() -> None:
    """What no DequantizeLinear reads are no codes; one grid a channel is none that an input can be told by."""
    model = parsed("f = Cast<to=1>(x) y = Neg(f)", "uint8[2,3] x", "float[] y", **HALF)
    assert not dequantize(model, "net.onnx").inputs and model.graph.inputs[0].dtype == ir.DataType.UINT8
    more = {"ws": [0.5, 0.25], "wz": np.zeros(2, np.int8)}
    model = parsed("y = DequantizeLinear<axis=0>(x, ws, wz)", "int8[2,3] x", "float[] y", 21, **more)
    with pytest.raises(GraphError, match="another grid") as caught:
        dequantize(model, "net.onnx")
    assert caught.value.found == "one scale per channel"


def test_grids_of_sixteen_bits_and_by_channel_are_told_as_approximated() -> None:
    _, wide = float_again(
        "q = QuantizeLinear(x, s, zw) y = DequantizeLinear(q, s, zw)",
        zw=np.array(0, np.uint16),
        x=on_grid((1, 2, 4)) + 10,
    )
    assert wide.approximated == ["x"] and "1 activations were not on one 8-bit grid" in wide.note
    channels = {"ws": [0.5, 0.25], "wz": np.zeros(2, np.int8)}
    _, apart = float_again("q = QuantizeLinear<axis=1>(x, ws, wz) y = DequantizeLinear<axis=1>(q, ws, wz)", **channels)
    assert apart.approximated == ["x"] and not apart.grids


def test_four_bits_are_told() -> None:
    note = Given(weights={"INT4": 2, "INT8": 1}).note
    assert "1 INT8, 2 INT4" not in note and "2 INT4, 1 INT8" in note and "4-bit weights become int8" in note


@pytest.mark.parametrize(("body", "problem", "node"), [
    ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s2, z)", "another grid", "y"),
    ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z2)", "another grid", "y"),
    ("q = QuantizeLinear(x, s, z) m = Abs(q) y = DequantizeLinear(m, s, z)", "computes with integers", "m"),
    ("q = QuantizeLinear(x, s, z) y = Cast<to=1>(q)", "computes with integers", "y"),
    ("a = QuantizeLinear(x, s, z) b = QuantizeLinear(x, s2, z) m = Concat<axis=0>(a, b) y = DequantizeLinear(m, s, z)",
     "computes with integers", "m"),
    ("n = Abs(s) q = QuantizeLinear(x, o, z) y = DequantizeLinear(q, o, z)", "computed while the model runs", "q"),
])  # fmt: skip
def test_what_has_no_float_form_is_refused_at_its_node(body: str, problem: str, node: str) -> None:
    model = parsed(body, "float[1,2,4] x, float o", "float[] y", 21, **HALF)
    for n in model.graph:
        n.name = n.outputs[0].name
    with pytest.raises(GraphError, match=problem) as caught:
        dequantize(model, "net.onnx")
    assert str(caught.value.place) == f"net.onnx, node {node}" and "convert the float model" in str(caught.value.remedy)


def test_a_quantizer_without_zero_point_says_its_type_itself() -> None:
    body = f"q = QuantizeLinear<output_dtype={TensorProto.INT8}>(x, s) y = DequantizeLinear(q, s)"
    assert float_again(body)[1].grids["x"] == Grid(0.5, 0, ir.DataType.INT8)
    model = parsed("q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)", "float[4] x", "float[] y", 21, **HALF)
    assert dequantize(model, "net.onnx").grids["x"].kind == ir.DataType.UINT8, "ONNX's default"
