"""Attach quantization to tensors: Q/DQ pairs and QLinear operators disappear, their scales and zero points stay.

ST's front end does the same (it exports a plain ONNX plus ``*_Q.json`` with one entry per tensor); conversions are
inserted again later, wherever an operator must run in float ([#ends]).
"""

from __future__ import annotations

import numpy as np

from n6convert.graph.operators import CONVERSIONS, PRODUCTS, RUNTIME_QUANTIZATION
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor

__all__ = ["absorb", "assume_int8", "fold_constants", "unpack_qoperators"]

_TRIPLE_LAYOUT: dict[str, tuple[str, tuple[int, ...], int]] = {
    "QLinearConv": ("Conv", (0, 3), 6),
    "QLinearMatMul": ("MatMul", (0, 3), 6),
    "QGemm": ("Gemm", (0, 3), 7),
    "QLinearAdd": ("Add", (0, 3), 6),
    "QLinearMul": ("Mul", (0, 3), 6),
    "QLinearAveragePool": ("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), 3),
    "QLinearSigmoid": ("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": ("LeakyRelu", (0,), 3),
    "QLinearSoftmax": ("Softmax", (0,), 3),
}
"""QOperator -> (plain operator, positions of (tensor, scale, zero point) triples, position of the output's scale)."""

_BIAS_POSITION = {"QLinearConv": 8, "QGemm": 6}
_SHAPE_OPS = {"Shape", "Size"}


def _parameters(graph: Graph, scale: str, zero: str) -> tuple[float | None, int, str]:
    value = graph.values.get(scale)
    scale_value = float(np.ravel(value)[0]) if value is not None and value.size else None
    point = graph.values.get(zero) if zero else None
    dtype = graph.tensors[zero].dtype if zero in graph.tensors else "uint8"
    return scale_value, int(np.ravel(point)[0]) if point is not None and point.size else 0, dtype


def _is_vector(graph: Graph, scale: str) -> bool:
    """True for one scale per channel."""
    return scale in graph.tensors and graph.tensors[scale].elements > 1


def _quantize(graph: Graph, name: str, scale: str, zero: str) -> None:
    found, point, dtype = _parameters(graph, scale, zero)
    tensor = graph.tensors.get(name)
    if tensor is not None:
        tensor.scale = 1.0 if found is None else found
        tensor.zero_point, tensor.dtype = point, dtype
        tensor.per_channel = _is_vector(graph, scale)


def unpack_qoperators(graph: Graph) -> None:
    """Replace QLinear operators by plain ones; scales wait in the node's attributes until shapes are known."""
    for node in graph.nodes:
        if node.op == "QLinearConcat":
            inputs = node.inputs[2:]
            node.attributes["_params"] = [(node.outputs[0], *node.inputs[:2])] + [
                (inputs[i], inputs[i + 1], inputs[i + 2]) for i in range(0, len(inputs) - 2, 3)
            ]
            node.op, node.inputs = "Concat", tuple(inputs[::3])
        elif node.op in _TRIPLE_LAYOUT and len(node.inputs) > _TRIPLE_LAYOUT[node.op][2]:
            _unpack_triples(node)
        else:
            continue
        graph.style = "qoperator"


def _unpack_triples(node: Node) -> None:
    plain, positions, out = _TRIPLE_LAYOUT[node.op]
    padded = (*node.inputs, "", "", "")
    node.attributes["_params"] = [(padded[p], padded[p + 1], padded[p + 2]) for p in positions]
    node.attributes["_params"].append((node.outputs[0], padded[out], padded[out + 1]))
    bias = padded[_BIAS_POSITION[node.op]] if node.op in _BIAS_POSITION else ""
    node.inputs = tuple(padded[p] for p in positions) + ((bias,) if bias else ())
    node.op = plain


def absorb(graph: Graph) -> None:
    """Move every scale and zero point onto its tensor; sets ``graph.style``.

    In a QDQ model all conversions of activations vanish, those at float inputs and outputs too ([#ends]). In a
    QOperator model the conversions are real operators and stay.
    """
    for node in graph.nodes:
        for parameters in node.attributes.pop("_params", ()):
            _quantize(graph, *parameters)
    if graph.style != "qoperator" and any(node.op == "DequantizeLinear" for node in graph.nodes):
        graph.style = "qdq"
    if any(node.op in RUNTIME_QUANTIZATION for node in graph.nodes):
        graph.notes.append("dynamic quantization does not reach the NPU: quantize statically, with Q/DQ on every edge")
    alias = _Aliases(graph)
    kept: list[Node] = []
    for node in graph.nodes:
        node.inputs = tuple(alias.of(name) for name in node.inputs)
        if node.op not in CONVERSIONS or not alias.swallow(node):
            kept.append(node)
    for node in kept:
        node.inputs = tuple(alias.of(name) for name in node.inputs)
        node.outputs = tuple(alias.of(name) for name in node.outputs)
    graph.nodes = kept
    graph.inputs = tuple(alias.of(name) for name in graph.inputs)
    graph.outputs = tuple(alias.of(name) for name in graph.outputs)
    _assume_int8_weights(graph)


def _assume_int8_weights(graph: Graph) -> None:
    """ST's optimized exports keep float weights and scales of inner tensors in a second file: take all as int8."""
    weights = [graph.tensors[node.inputs[1]] for node in graph.nodes if node.op in PRODUCTS and len(node.inputs) > 1]
    constant = [tensor for tensor in weights if tensor.constant]
    if graph.style != "qdq" or not constant or any(tensor.quantized for tensor in constant):
        return
    inner = [graph.tensors[name] for node in graph.nodes for name in node.outputs if name and name not in graph.outputs]
    for tensor in constant + [tensor for tensor in inner if tensor.dtype == "float32"]:
        tensor.dtype, tensor.scale, tensor.zero_point = "int8", 1.0, 0
        tensor.per_channel = tensor.constant
    graph.notes.append("no weight is quantized in the file: taken as an optimized export with int8 weights (*_Q.json)")


def assume_int8(graph: Graph) -> None:
    """Treat every float tensor of an unquantized graph as int8 with zero point 0: what it costs after quantization."""
    if graph.style != "float":
        return
    for tensor in graph.tensors.values():
        if tensor.dtype in ("float32", "float16"):
            tensor.dtype, tensor.scale, tensor.zero_point = "int8", 1.0, 0
    graph.style = "qdq"
    graph.notes.append("not quantized: every tensor is taken as int8")


class _Aliases:
    """Tensors that became one because the conversion between them vanished."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The tensor that stands for ``name`` now."""
        seen = name
        while seen in self.names:
            seen = self.names[seen]
        if seen != name:
            self.names[name] = seen
        return seen

    def swallow(self, node: Node) -> bool:
        """Remove a conversion if the front end would; False keeps it as an operator."""
        source, result = node.inputs[0], node.outputs[0]
        tensor = self.graph.tensors[source]
        scale = node.inputs[1] if len(node.inputs) > 1 else ""
        zero = node.inputs[2] if len(node.inputs) > 2 else ""
        if not tensor.constant and self.graph.style == "qoperator":
            if node.op == "QuantizeLinear":
                _quantize(self.graph, result, scale, zero)
            else:
                _quantize(self.graph, source, scale, zero)
            return False
        if node.op == "DequantizeLinear":
            if not tensor.quantized:
                tensor.scale, tensor.zero_point, _ = _parameters(self.graph, scale, zero)
                tensor.scale = tensor.scale or 1.0
                tensor.per_channel = _is_vector(self.graph, scale)
            self.names[result] = source
            return True
        return self._swallow_quantize(tensor, result, scale, zero)

    def _swallow_quantize(self, tensor: Tensor, result: str, scale: str, zero: str) -> bool:
        found, point, dtype = _parameters(self.graph, scale, zero)
        same = tensor.scale is not None and found is not None and abs(tensor.scale - found) <= 1e-6 * abs(found)
        if tensor.quantized and not (same and tensor.zero_point == point and tensor.dtype == dtype):
            _quantize(self.graph, result, scale, zero)
            return False
        tensor.scale, tensor.zero_point, tensor.dtype = found or 1.0, point, dtype
        self.names[result] = tensor.name
        return True


def fold_constants(graph: Graph) -> None:
    """Drop operators that do not depend on activations; their results count as constants, as in ST's front end."""
    kept: list[Node] = []
    for node in graph.nodes:
        if node.op in _SHAPE_OPS or (node.inputs and all(graph.constant(name) for name in node.inputs)):
            for name in filter(None, node.outputs):
                tensor = graph.tensors.setdefault(name, Tensor(name, (), "int64"))
                tensor.constant = True
        else:
            kept.append(node)
    graph.nodes = kept
