"""Integer inputs that become float ones: the same numbers, and the pixels that the grid stands for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.importers.dequantized import InputGrid, float_inputs
from n6convert.runtime.session import run_model

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g ({kind}[1,4] x) => (float[1,4] y)'
CHAIN = "<float z = {ZERO}, float s = {SCALE}> { f = Cast <to = 1> (x) d = Sub (f, z) v = Mul (d, s) y = Exp (v) }"


def _model(body: str, kind: str = "uint8") -> ir.Model:
    return ir.from_onnx_text(f"{HEAD.replace('{kind}', kind)} {body}")


@settings(max_examples=20)
@given(kind=st.sampled_from(["uint8", "int8"]), scale=st.floats(0.001, 0.05), zero=st.integers(0, 100))
def test_the_graph_computes_what_it_did(kind: str, scale: float, zero: int) -> None:
    body = CHAIN.replace("ZERO", f"{zero}.0").replace("SCALE", f"{scale:.8f}")
    codes = np.array([[0, 1, 77, 127]], kind)
    wanted = run_model(_model(body, kind), {"x": codes})["y"]
    model = _model(body, kind)
    grids = float_inputs(model)
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT and [node.op_type for node in model.graph] == ["Exp"]
    grid = grids["x"]
    assert grid.dtype == kind and grid.zero_point == zero and grid.scale == pytest.approx(scale, rel=1e-4)
    real = ((codes.astype(np.float64) - grid.zero_point) * grid.scale).astype(np.float32)
    np.testing.assert_allclose(run_model(model, {"x": real})["y"], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "zero", "mean"), [("uint8", 127.0, 127.0), ("int8", -1.0, 127.0), ("int8", -128.0, 0.0)]
)
def test_pixels_behind_the_grid(dtype: str, zero: float, mean: float) -> None:
    """int8 inputs hold pixel - 128: the value of every pixel is (pixel - mean) / std."""
    grid = InputGrid(0.0078125, zero, dtype)
    assert (grid.mean, grid.std) == (mean, 128.0)
    for pixel in (0, 1, 128, 255):
        code = pixel - 128 if dtype == "int8" else pixel
        assert (code - zero) * grid.scale == pytest.approx((pixel - grid.mean) / grid.std)


@pytest.mark.parametrize(
    ("body", "scale", "zero"),
    [("<float s = {0.5}> { f = Cast <to = 1> (x) v = Mul (f, s) y = Exp (v) }", 0.5, 0.0),
     ("<float z = {3.0}> { f = Cast <to = 1> (x) d = Sub (f, z) y = Exp (d) }", 1.0, 3.0),
     ("{ f = Cast <to = 1> (x) y = Exp (f) }", 1.0, 0.0)],
)  # fmt: skip
def test_steps_that_say_nothing_may_be_absent(body: str, scale: float, zero: float) -> None:
    grid = float_inputs(_model(body))["x"]
    assert (grid.scale, grid.zero_point) == (scale, zero)


@pytest.mark.parametrize(
    "body",
    ["{ f = Cast <to = 1> (x) g = Cast <to = 1> (x) y = Add (f, g) }", "{ t = Identity (x) y = Cast <to = 1> (t) }"],
)
def test_an_input_that_is_read_otherwise_stays(body: str) -> None:
    model = _model(body)
    before = [node.op_type for node in model.graph]
    assert float_inputs(model) == {}
    assert model.graph.inputs[0].dtype == ir.DataType.UINT8 and [node.op_type for node in model.graph] == before


def test_float_inputs_are_left_alone() -> None:
    assert float_inputs(_model("{ y = Exp (x) }", "float")) == {}
