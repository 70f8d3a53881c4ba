"""Damaged models end in a clear error: never a traceback of a library, never a hang."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder, attention_encoder

from n6convert.errors import N6ConvertError
from n6convert.npu.placement import place, read
from n6convert.npu.rules import known_operators
from n6convert.npu.rules.limits import VERSIONS

_SIZES = st.sampled_from([-1, 0, 1, 2, 7, 1 << 20, 1 << 40])
_OPS = st.sampled_from([*known_operators(), "Foo", "If"])
_QUIET = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def _convnet() -> onnx.ModelProto:
    b = QdqBuilder("net")
    x = b.op("Relu", b.conv(b.input(1, 3, 16, 16), 3, 16, 3, 2), zero=-128)
    x = b.op("Add", x, b.conv(x, 16, 16, 3, 1, 16))
    x = b.op("Concat", *b.ops("Split", [x, b.constant(np.array([8, 8]))], 2, axis=1), axis=1)
    x = b.op("MaxPool", x, kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1])
    x = b.op("Mul", x, b.op("Sigmoid", x))
    scales = b.constant(np.array([1, 1, 2, 2], np.float32))
    x = b.op("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = b.op("Transpose", b.op("GlobalAveragePool", x), perm=[0, 2, 3, 1])
    b.output(b.op("Softmax", b.op("Gemm", b.reshape(x, 1, 16), b.weight(4, 16), transB=1)))
    return b.model()


_SEEDS = [_convnet(), attention_encoder(1, 8, 16, 2, 32)]


def _survives(model: onnx.ModelProto | Path, version: tuple[int, int]) -> None:
    try:
        place(read(model), version)
    except N6ConvertError as error:
        assert str(error)


@_QUIET
@given(data=st.data())
def test_mutated_graphs(data: st.DataObject) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(data.draw(st.sampled_from(_SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        _mutate(model.graph, data)
    _survives(model, data.draw(st.sampled_from(VERSIONS)))


def _mutate(graph: onnx.GraphProto, data: st.DataObject) -> None:
    node = graph.node[data.draw(st.integers(0, len(graph.node) - 1))]
    names = [name for other in graph.node for name in other.output] + [init.name for init in graph.initializer]
    init = graph.initializer[data.draw(st.integers(0, len(graph.initializer) - 1))]
    kind = data.draw(st.sampled_from(["op", "edge", "cut", "attribute", "forget", "shape", "type", "input"]))
    if kind == "op":
        node.op_type = data.draw(_OPS)
    elif kind == "edge" and node.input:
        node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from(names))
    elif kind == "cut" and node.input:
        del node.input[data.draw(st.integers(0, len(node.input) - 1))]
    elif kind == "attribute":
        for attribute in node.attribute:
            if attribute.ints:
                attribute.ints[data.draw(st.integers(0, len(attribute.ints) - 1))] = data.draw(_SIZES)
            elif attribute.type == onnx.AttributeProto.INT:
                attribute.i = data.draw(_SIZES)
    elif kind == "forget" and node.attribute:
        del node.attribute[:]
    elif kind == "shape" and init.dims:
        init.dims[data.draw(st.integers(0, len(init.dims) - 1))] = data.draw(_SIZES)
    elif kind == "type":
        init.data_type = data.draw(st.sampled_from([1, 2, 3, 6, 7, 8, 9, 10, 99]))
    elif kind == "input":
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[data.draw(st.integers(0, len(dims) - 1))].dim_value = data.draw(_SIZES)


@_QUIET
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 30))
def test_mutated_bytes_of_onnx(tmp_path: Path, at: int, value: int, cut: int) -> None:
    data = bytearray(_SEEDS[at % 2].SerializeToString())
    data[at % len(data)] = value
    del data[at % len(data) : at % len(data) + cut]
    path = tmp_path / "mutated.onnx"
    path.write_bytes(bytes(data))
    _survives(path, (2, 1))


@_QUIET
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_bytes_of_tflite(tmp_path: Path, neuralart_dir: Path, edits: list[tuple[int, int]]) -> None:
    source = neuralart_dir / "reports" / "r13_magnus_single_layers" / "conv2d_pool" / "model.tflite"
    data = bytearray(source.read_bytes())
    for at, value in edits:
        data[at % len(data)] = value
    path = tmp_path / "mutated.tflite"
    path.write_bytes(bytes(data))
    _survives(path, (4, 0))
