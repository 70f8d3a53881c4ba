"""Models in memory are read as their protobuf is, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph
from n6convert.npu.ir_reader import read_ir
from n6convert.npu.onnx_reader import VALUE_LIMIT, read_proto

_STEPS: dict[str, Callable[[QdqBuilder, str], str]] = {
    "conv": lambda b, x: b.conv(x, 4, 4, 3),
    "swish": lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)),
    "clip": lambda b, x: b.op("Clip", x, b.constant(np.float32(0)), b.constant(np.float32(6)), zero=-128),
    "leaky": lambda b, x: b.op("LeakyRelu", x, alpha=0.1),
    "pad": lambda b, x: b.op("Pad", x, b.constant(np.array([0, 0, 1, 1, 0, 0, 0, 0])), mode="edge"),
    "requantize": lambda b, x: b.pair(x, 0.2, 7),
    "parts": lambda b, x: b.op("Concat", *b.ops("Split", [x, b.constant(np.array([2, 2]))], 2, axis=1), axis=1),
    "float": lambda b, x: b.op("Exp", x, pair=False),
}


def _same(a: Graph, b: Graph) -> None:
    for one, two in zip(a.nodes, b.nodes, strict=True):
        assert (one.name, one.op, one.inputs, one.outputs, one.attributes) == (
            two.name, two.op, two.inputs, two.outputs, two.attributes
        )  # fmt: skip
    assert a.tensors == b.tensors and a.values.keys() == b.values.keys()
    assert (a.inputs, a.outputs, a.style, a.notes) == (b.inputs, b.outputs, b.style, b.notes)
    assert all(np.array_equal(value, b.values[name]) for name, value in a.values.items())


@settings(max_examples=25)
@given(steps=st.lists(st.sampled_from(sorted(_STEPS)), min_size=1, max_size=5), quantized=st.booleans())
def test_both_readers_agree(steps: list[str], quantized: bool) -> None:
    b = QdqBuilder("random", quantized=quantized)
    x = b.input(1, 4, 8, 8)
    for step in steps:
        x = _STEPS[step](b, x)
    b.output(x)
    held = ir.from_proto(b.model())
    _same(read_ir(held), read_proto(ir.to_proto(held)))


HEAD = '<ir_version: 8, opset_import: ["" : 17]> g '


def _read(text: str) -> Graph:
    return read_ir(ir.from_onnx_text(HEAD + text))


@pytest.mark.parametrize(("size", "kept"), [(VALUE_LIMIT, True), (VALUE_LIMIT + 1, False)])
def test_values_of_small_constants(size: int, kept: bool) -> None:
    model = ir.from_onnx_text(
        HEAD + f"(float[1,{size}] x) => (float[1,{size}] y) <float[1] w = {{1}}> {{ y = Add (x, w) }}"
    )
    model.graph.initializers["w"].const_value = ir.tensor(np.ones(size, np.float32), name="w")
    graph = read_ir(model)
    assert ("w" in graph.values) is kept and graph.tensors["w"].shape == (size,)


@pytest.mark.parametrize("shape", ["1,N", "N,M"])
def test_open_sizes_are_refused_but_for_the_batch(shape: str) -> None:
    with pytest.raises(GraphError, match="no static shape") as caught:
        _read(f"(float[{shape}] x) => (float y) {{ y = Relu (x) }}")
    assert caught.value.place == "x"
    assert _read("(float[N,4] x) => (float[N,4] y) { y = Relu (x) }").tensors["y"].shape == (1, 4)


def test_the_model_is_not_changed() -> None:
    model = ir.from_onnx_text(
        HEAD + "(float[1,4] x) => (float[1,4] y) { c = Constant <value_float = 2.0> () y = Mul (x, c) }"
    )
    before = ir.to_proto(model).SerializeToString()
    graph = read_ir(model)
    assert ir.to_proto(model).SerializeToString() == before
    assert [node.op for node in graph.nodes] == ["Mul"] and float(graph.values["c"]) == 2.0


def test_absent_inputs_are_empty_names() -> None:
    graph = _read("(float[1,4] x) => (float[1,4] y) <float b = {6.0}> { y = Clip (x, , b) }")
    assert graph.nodes[0].inputs == ("x", "", "b")
