"""Cycles that a cheap zero point saves, against estimates of the quantized model itself."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert.npu import estimate
from n6convert.npu.zero_points import zero_point_cycles

TARGET = "stm32n6570-dk@4.0"


def float_model(size: int = 56, channels: int = 32):
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.1, (channels, channels, 3, 3)).astype(np.float32), n) for n in "vw"
    ]
    shape = [1, channels, size, size]
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Mul", ["a", "s"], ["m"]),
        helper.make_node("Conv", ["m", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)] for n in "xy"]
    graph = helper.make_graph(nodes, "g", *ports, weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def quantized(model, zero_point: int):
    """The same graph as INT8 QDQ by n6convert's own quantizer, with one zero point at the second convolution."""
    from n6convert.quantization import quantize
    from n6convert.recipe.quantization import QuantizationConfig

    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(0, 1, (1, 32, 56, 56)).astype(np.float32)}]
    plain = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")
    made = quantize(model, lambda: iter(feeds), plain).model
    for node in made.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.inputs) == 3:
            value = node.inputs[2]
            if (
                value.const_value is not None
                and value.const_value.numpy().dtype == np.int8
                and value.const_value.size == 1
            ):
                value.const_value = ir.tensor(np.array(zero_point, np.int8), name=value.name)
    return made


def test_savings_are_the_difference_between_two_estimates():
    model = float_model()
    saved = zero_point_cycles(model, TARGET)
    assert set(saved) == {"x", "m"}
    slow, fast = (estimate(quantized(model, z), TARGET).costs for z in (3, 0))
    assert sum(saved.values()) == pytest.approx(slow.max_cycles - fast.max_cycles, rel=0.05)


def test_nothing_is_saved_where_memory_is_the_limit():
    assert zero_point_cycles(float_model(size=4, channels=8), TARGET).get("m", 0.0) == 0.0
