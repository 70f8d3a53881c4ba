"""Inputs that always have the same value: lengths, sample rates, scale factors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import parsed

from n6convert.api import convert
from n6convert.builtin.constant_inputs import make_constant
from n6convert.errors import GraphError, RecipeError
from n6convert.runtime.session import run_model


def net(rate: str = "int64 rate") -> ir.Model:
    body = "r = Cast<to=1>(rate) a = Mul(x, r) y = Relu(a)"
    return parsed(body, f"float[1,4] x, {rate}", "float[] y")


@pytest.mark.parametrize(("rate", "told", "shapes", "wanted"), [
    ("int64 rate", 3, {}, 3),
    ("int64[1] rate", [3], {}, 3),
    ("int64[n] rate", 3, {}, 3),
    ("int64[n] rate", [1, 2, 3, 4], {}, [1, 2, 3, 4]),
    ("float[n,4] rate", 0.5, {}, 0.5),
    ("float[n,m] rate", [1, 2, 3, 4], {"rate": [1, 4]}, [1, 2, 3, 4]),
    ("bool rate", 1, {}, 1),
])  # fmt: skip
def test_the_model_computes_as_if_the_input_had_that_value(
    rate: str, told: Any, shapes: dict[str, list[int]], wanted: Any
) -> None:
    model, x = net(rate), np.array([[-1, 0, 1, 2]], np.float32)
    notes = make_constant(model, {"rate": told}, shapes)
    assert [v.name for v in model.graph.inputs] == ["x"] and "rate" in notes[0]
    np.testing.assert_array_equal(run_model(model, {"x": x})["y"], np.maximum(x * np.array(wanted, np.float32), 0))


@pytest.mark.parametrize(("rate", "told", "words"), [
    ("int64 rate", {"rat": 3}, ["names no input", "rat", "x, rate"]),
    ("int64[2] rate", {"rate": [1, 2, 3]}, ["another number of values", "3", "2 for the shape [2]"]),
    ("int64 rate", {"rate": 0.5}, ["no value of the input's type", "int64", "0.5"]),
    ("uint8 rate", {"rate": 300}, ["no value of the input's type", "uint8", "300"]),
    ("int64[n,m] rate", {"rate": 3}, ["open sizes", "rate: [1, 1]"]),
])  # fmt: skip
def test_what_does_not_fit_is_said(rate: str, told: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        make_constant(net(rate), told, {})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_file_with_a_rate_is_converted_once_the_rate_is_said(tmp_path: Path) -> None:
    body = "seven = Constant<value_int=7>() m = Mod(rate, seven) r = Cast<to=1>(m) a = Mul(x, r) y = Relu(a)"
    model = parsed(body, "float[1,4] x, int64 rate", "float[1,4] y")
    path = tmp_path / "net.onnx"
    ir.save(model, path)
    with pytest.raises(GraphError, match="integers") as caught:
        convert("onnx", weights=path, output=tmp_path / "out")
    assert "options.constants={rate: VALUE}" in str(caught.value.remedy)
    result = convert("onnx", weights=path, settings={"options.constants": {"rate": 10}}, output=tmp_path / "out")
    found = ir.load(result.model_path)
    assert [v.name for v in found.graph.inputs] == ["x"]
    x = np.array([[-1, 0, 0.5, 1]], np.float32)
    np.testing.assert_allclose(run_model(found, {"x": x})["y"], np.maximum(3 * x, 0), atol=0.2)
