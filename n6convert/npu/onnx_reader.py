"""ONNX (QDQ, QOperator or float) to :class:`~n6convert.npu.graph.Graph`; needs onnx only, never the weights' values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph, Node, in_execution_order
from n6convert.npu.ir import Tensor
from n6convert.npu.quantized import absorb, fold_constants, unpack_qoperators
from n6convert.npu.shapes import infer

if TYPE_CHECKING:
    import onnx

__all__ = [
    "DTYPES",
    "FILLED",
    "VALUE_LIMIT",
    "add_constant_attribute",
    "assembled",
    "input_tensor",
    "read_onnx",
    "read_proto",
]

DTYPES: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    21: "uint4",
    22: "int4",
}
"""onnx.TensorProto.DataType to the names used here."""

_CHANNEL_LAST_INPUT = (0, 3, 1, 2)
FILLED = {"ConstantOfShape"}
"""Operators whose tensor attribute decides the type of their result, and with it a shape further on."""
VALUE_LIMIT = 4096
"""Constants up to this size are kept as values; larger ones are weights, of which only shape and type matter."""


def read_onnx(path: Path) -> Graph:
    """Read a model file.

    Raises:
        SourceError: no such file.
        GraphError: not an ONNX model, damaged, not static, or its external data are missing.
    """
    from n6convert.graph.io import read

    return read_proto(read(path, longest=VALUE_LIMIT * 8), path.stem)


def read_proto(model: onnx.ModelProto, name: str = "") -> Graph:
    """The same for a model in memory."""
    from n6convert.graph.branches import inline_known_branches

    model = inline_known_branches(model)
    tensors, values = _constants(model.graph)
    inputs = _inputs(model.graph, tensors)
    nodes = list(_nodes(model.graph, tensors, values))
    known = (*model.graph.value_info, *model.graph.output)
    shapes = ((info.name, _static(info), info.type.tensor_type.elem_type) for info in known)
    outputs = tuple(info.name for info in model.graph.output)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 13)
    return assembled(Graph(name or model.graph.name, nodes, tensors, values, inputs, outputs), shapes, opset)


def assembled(graph: Graph, shapes: Iterable[tuple[str, Sequence[int] | None, int]], opset: int) -> Graph:
    """The graph with its nodes in order, all shapes, and quantization moved from pairs into the tensors.

    Args:
        graph: what was read; changed in place.
        shapes: name, sizes (None: not known) and number of the element type of what operators give.
        opset: of ONNX.

    Raises:
        GraphError: damaged, empty or not static.
    """
    graph.nodes = in_execution_order(graph.nodes, ["", *graph.tensors])
    for name, sizes, code in shapes:
        if sizes is not None and min(sizes, default=0) >= 0 and name not in graph.tensors:
            graph.tensors[name] = Tensor(name, tuple(sizes), DTYPES.get(code, "float32"))
    if not graph.nodes or not graph.outputs:
        raise GraphError("the model has no operators or no outputs", place=graph.name)
    unpack_qoperators(graph)
    infer(graph, opset)
    absorb(graph)
    fold_constants(graph)
    graph.prune()
    graph.check()
    _mark_channel_last_inputs(graph)
    return graph


def _mark_channel_last_inputs(graph: Graph) -> None:
    """A Transpose that only renames the axes of a channel-last input: the memory holds that order anyway (SEEN r41)."""
    readers = graph.consumers()
    for name in graph.inputs:
        for node in readers.get(name, ()):
            turned = node.op == "Transpose" and tuple(node.attributes.get("perm") or ()) == _CHANNEL_LAST_INPUT
            if turned and len(readers[name]) == 1:
                node.attributes["graph_edge"] = True
                source, inner = graph.tensors[name], graph.tensors[node.outputs[0]]
                if source.dtype == inner.dtype:
                    source.scale, source.zero_point = inner.scale, inner.zero_point


def _count(proto: onnx.TensorProto) -> float:
    """Elements of a stored tensor (a float: damaged sizes may be anything)."""
    return float(np.prod([max(int(d), 0) for d in proto.dims], dtype=np.float64)) if proto.dims else 1.0


def _tensor_value(proto: onnx.TensorProto) -> NDArray[Any] | None:
    from onnx import numpy_helper

    if _count(proto) > VALUE_LIMIT or proto.data_location == 1 or proto.data_type == 8:
        return None
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except Exception as error:  # whatever a damaged tensor makes numpy or protobuf raise
        raise GraphError("a constant is damaged", place=proto.name, found=str(error)[:200]) from error


def _constants(graph: onnx.GraphProto) -> tuple[dict[str, Tensor], dict[str, NDArray[Any]]]:
    tensors: dict[str, Tensor] = {}
    values: dict[str, NDArray[Any]] = {}
    for init in graph.initializer:
        _add_constant(init.name, init, tensors, values)
    for sparse in graph.sparse_initializer:
        shape = tuple(int(d) for d in sparse.dims)
        tensors[sparse.values.name] = Tensor(sparse.values.name, shape, "float32", constant=True)
    return tensors, values


def _add_constant(
    name: str, proto: onnx.TensorProto, tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]
) -> None:
    dtype = DTYPES.get(proto.data_type, "other")
    tensors[name] = Tensor(name, tuple(int(d) for d in proto.dims), dtype, constant=True)
    value = _tensor_value(proto)
    if value is not None:
        values[name] = value


def _static(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    kind = info.type.tensor_type
    if not kind.HasField("shape"):
        return None
    shape = tuple(_size(d) for d in kind.shape.dim)
    return None if any(size < 0 for size in shape) else shape


def _size(dimension: onnx.TensorShapeProto.Dimension) -> int:
    """A fixed size, or -1; some exporters write numbers where names of open sizes belong."""
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    return int(dimension.dim_param) if dimension.dim_param.isdecimal() else -1


def _inputs(graph: onnx.GraphProto, tensors: dict[str, Tensor]) -> tuple[str, ...]:
    names: list[str] = []
    for info in graph.input:
        if info.name in tensors:
            continue
        kind = info.type.tensor_type
        words = [d.dim_param or d.dim_value for d in kind.shape.dim]
        tensors[info.name] = input_tensor(info.name, [_size(d) for d in kind.shape.dim], kind.elem_type, words)
        names.append(info.name)
    return tuple(names)


def input_tensor(name: str, sizes: Sequence[int], code: int, words: Sequence[Any]) -> Tensor:
    """The tensor of a graph input.

    Args:
        name: of the input.
        sizes: -1 or 0 where open.
        code: number of the element type.
        words: the sizes as the model has them.

    Raises:
        GraphError: another size than the batch is open.
    """
    shape = [size or -1 for size in sizes]
    if shape and shape[0] == -1:
        shape[0] = 1
    if any(size < 0 for size in shape) or not code:
        raise GraphError(
            "an input has no static shape",
            place=name,
            limit="only the batch may be open, and is then 1",
            found=list(words),
            remedy="export with fixed sizes (stedgeai: --fix-parametric-shapes)",
        )
    return Tensor(name, tuple(shape), DTYPES.get(code, "other"))


def _nodes(graph: onnx.GraphProto, tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]) -> Iterator[Node]:
    for index, proto in enumerate(graph.node):
        name = proto.name or f"{proto.op_type}_{index}"
        if proto.op_type == "Constant" and len(proto.output) == 1:
            _constant_node(proto, tensors, values)
            continue
        yield Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), _attributes(proto), (name,))


def _constant_node(proto: onnx.NodeProto, tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]) -> None:
    name = proto.output[0]
    for attribute in proto.attribute:
        if attribute.name == "value":
            _add_constant(name, attribute.t, tensors, values)
            return
    add_constant_attribute(name, _attributes(proto), tensors, values)


def add_constant_attribute(
    name: str, attributes: Mapping[str, Any], tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]
) -> None:
    """Put the value of a Constant that is given by numbers among the constants.

    Args:
        name: of the node's output.
        attributes: of the Constant.
        tensors: by name; gets the constant.
        values: by name; gets its array.
    """
    value = np.asarray(next((v for v in attributes.values() if isinstance(v, (int, float, list))), 0))
    tensors[name] = Tensor(name, value.shape, str(value.dtype), constant=True)
    values[name] = value


def _attributes(proto: onnx.NodeProto) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for a in proto.attribute:
        if a.type == 1:
            found[a.name] = float(a.f)
        elif a.type == 2:
            found[a.name] = int(a.i)
        elif a.type == 3:
            found[a.name] = a.s.decode("utf-8", "replace")
        elif a.type == 4 and proto.op_type in FILLED and _count(a.t) <= 1:
            found[a.name] = a.t
        elif a.type == 6:
            found[a.name] = [float(v) for v in a.floats]
        elif a.type == 7:
            found[a.name] = [int(v) for v in a.ints]
    return found
