"""Weights that several layers read are rounded together and stored once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from n6convert.npu import estimate
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.weights.shared_weights import together
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .nets import feeds

SOURCE = feeds((1, 8, 6, 6), 8)


def tower(times: int) -> ir.Model:
    """One Conv, used several times over."""
    random = np.random.default_rng(0)
    weight = numpy_helper.from_array(0.4 * random.standard_normal((8, 8, 3, 3)).astype(np.float32), "w")
    nodes, last = [], "x"
    for i in range(times):
        nodes.append(helper.make_node("Conv", [last, "w"], [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Tanh", [f"c{i}"], [f"t{i}"], name=f"tanh{i}"))
        last = f"t{i}"
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8, 6, 6]) for n in ("x", last)]
    graph = helper.make_graph(nodes, "tower", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_proto(shape_inference.infer_shapes(model))


@pytest.mark.parametrize("rounding", ["nearest", "second-order"])
def test_one_initializer_holds_the_weights_of_all_layers(rounding: str) -> None:
    model = tower(3)
    result = quantize(model, SOURCE, QuantizationConfig(rounding=rounding))
    layers = list(layers_of(result.model))
    assert len(layers) == 3 and len({id(layer.initializer(1)) for layer in layers}) == 1
    stored = [v for v in result.model.graph.initializers.values() if v.const_value.size == 8 * 8 * 9]
    assert len(stored) == 1
    sample = next(iter(SOURCE()))
    float_y, int8_y = (next(iter(run_model(m, sample).values())) for m in (model, result.model))
    assert sqnr_db(float_y, int8_y) > 25


def test_rounding_together_suits_all_layers_better_than_the_nearest_codes() -> None:
    """Channels of two sources: errors of weights cancel where their inputs go together."""
    random = np.random.default_rng(5)
    mixed = np.einsum("cs,nshw->nchw", random.normal(size=(8, 2)), random.normal(size=(64, 2, 6, 6))).astype(np.float32)
    samples = [{"x": x[None] / 2} for x in mixed]
    config = QuantizationConfig(bias_correction="off", equalization=False, unseen_values=False, effort="thorough")
    facts = quantize(tower(3), lambda: iter(samples[:32]), config, held_back=lambda: iter(samples[32:])).facts
    *before, rounded = facts["methods"]
    assert rounded["method"] == "second-order rounding" and rounded["kept"]
    assert rounded["sqnr_db"] > max(m["sqnr_db"] for m in before) + 0.05


def test_flash_holds_shared_weights_once() -> None:
    one, three = (
        estimate(quantize(tower(n), SOURCE, QuantizationConfig(rounding="nearest")).model, "stm32n6570-dk@3.0")
        for n in (1, 3)
    )
    assert one.costs.memory.weights <= three.costs.memory.weights < one.costs.memory.weights + 8 * 8 * 9


def test_layers_with_weights_of_their_own_are_not_together() -> None:
    model = tower(2)
    assert together(prepare(model)) == [["conv0", "conv1"]]
    other = model.graph.initializers["w"].const_value.numpy().copy()
    own = ir.Value(name="w2", const_value=ir.tensor(other, name="w2"), shape=ir.Shape(other.shape))
    own.type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(own)
    model.graph.node("conv1").replace_input_with(1, own)
    assert together(prepare(model)) == []
