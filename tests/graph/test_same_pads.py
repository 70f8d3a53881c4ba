"""Pads of SAME windows with dilations, against windows without dilations over a kernel with holes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.graph.same_pads import write_pads_of_dilated
from n6convert.runtime.session import run_model


def conv(mode: str, kernel: tuple[int, int], strides: list[int], dilations: list[int]) -> ir.Model:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (float[1,2,11,14] x) => (float[1,3,h,w] y)
        {{ y = Conv<auto_pad = "{mode}", strides = {strides}, dilations = {dilations}>(x, w) }}"""
    proto = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((3, 2, *kernel)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return ir.from_proto(proto)


def with_holes(model: ir.Model, dilations: list[int]) -> ir.Model:
    """The same windows as a kernel with zeros between its elements."""
    copy = model.clone()
    value = copy.graph.initializers["w"]
    old = value.const_value.numpy()
    sides = [(n - 1) * d + 1 for n, d in zip(old.shape[2:], dilations, strict=True)]
    new = np.zeros((3, 2, *sides), np.float32)
    new[:, :, :: dilations[0], :: dilations[1]] = old
    value.const_value, value.shape = ir.tensor(new, name="w"), ir.Shape(new.shape)
    next(iter(copy.graph)).attributes["dilations"] = ir.AttrInt64s("dilations", [1, 1])
    return copy


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (4, 1)])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("dilations", [[2, 1], [3, 2], [2, 4]])
def test_the_same_windows(mode: str, kernel: tuple[int, int], strides: list[int], dilations: list[int]) -> None:
    model = conv(mode, kernel, strides, dilations)
    x = {"x": np.random.default_rng(1).standard_normal((1, 2, 11, 14)).astype(np.float32)}
    wanted = run_model(with_holes(model, dilations), x)["y"]
    write_pads_of_dilated(model)
    np.testing.assert_allclose(run_model(model, x)["y"], wanted, rtol=1e-5, atol=1e-5)


def test_windows_without_dilations_stay_as_they_are() -> None:
    model = conv("SAME_UPPER", (3, 3), [2, 2], [1, 1])
    write_pads_of_dilated(model)
    assert next(iter(model.graph)).attributes.get_string("auto_pad") == "SAME_UPPER"
