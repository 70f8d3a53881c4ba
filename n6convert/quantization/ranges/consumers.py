"""What the consumers of a tensor make of its values, when that is a function of each value alone.

A tensor that only feeds ``x * Sigmoid(x)`` may lose everything far below zero; one that feeds a Tanh everything far
from zero. Ranges are therefore judged behind such functions ([#epoch-contents]: the NPU computes them as one table).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import cut
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.ranges.estimators import Effect
from n6convert.quantization.topology.sharing import passes_through
from n6convert.runtime.session import Session

__all__ = ["Functions", "consumer_error_map", "consumer_functions", "reads_as_it_is"]

Array = NDArray[np.float64]
#: values of a tensor in; the same shape after each function that reads them out
Functions = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]

_UNARY = frozenset(
    {
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Erf",
        "Exp",
        "Sqrt",
        "Relu",
        "LeakyRelu",
        "Elu",
        "Softplus",
        "Clip",
    }
    | {"Mul", "Add", "Sub", "Div", "Neg", "Abs", "Gelu", "Selu", "Mish", "Pow", "Softsign", "Log", "Reciprocal"}
)

#: functions behind a tensor that are followed: a Gelu spelled out has ten; behind more, nothing of it can be told
_LONGEST = 64


def consumer_error_map(model: ir.Model, value: ir.Value) -> Effect | None:
    """The function that the tensor's consumers apply value by value; None when they do not."""
    value = _moved(value)
    nodes, sinks = _functions(value)
    divided = [v for v in sinks if _is_denominator(v, nodes)]
    sinks = [v for v in sinks if v not in divided]
    if not nodes and not divided:
        return None
    outputs = [v for v in sinks if v is not value]
    part = cut(model, nodes, [value], [*outputs, *(v for v in divided if v is not value)])
    _invert(part, [v.name or "" for v in divided])
    functions = _elementwise(part)

    def apply(exact: Array, rounded: Array) -> list[tuple[Array, Array]]:
        before, after = ([r.astype(np.float64) for r in functions(v.astype(np.float32))] for v in (exact, rounded))
        pairs = list(zip(before, after, strict=True))
        return [*pairs, (exact, rounded)] if value in sinks else pairs

    return apply


def consumer_functions(model: ir.Model, value: ir.Value) -> Functions:
    """The functions of each value that the tensor's consumers apply, the tensor itself where one reads it as it is."""
    value = _moved(value)
    nodes, sinks = _functions(value)
    if not nodes:
        return lambda values: [values]
    functions = _elementwise(cut(model, nodes, [value], [v for v in sinks if v is not value]))

    def apply(values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        results = iter(functions(values))
        return [values if v is value else next(results) for v in sinks]

    return apply


def reads_as_it_is(value: ir.Value) -> bool:
    """Whether all that reads a tensor, behind moves, tells all of its values apart: no function comes first."""
    return not _functions(_moved(value))[0]


def _elementwise(part: ir.Model) -> Functions:
    """Run a model of functions on values of any shape; nothing comes back where nobody reads them."""
    if not part.graph.outputs:
        return lambda values: []
    values = [*part.graph.inputs, *part.graph.initializers.values(), *(v for n in part.graph for v in n.outputs)]
    part.graph.inputs[0].shape = None
    for index, value in enumerate(dict.fromkeys(values)):  # so that equal functions are equal models
        value.name = f"v{index}"
    for node in part.graph:
        node.name = ""
        for output in node.outputs:
            output.shape = None
    session = _session(ir.to_proto(part).SerializeToString(deterministic=True))
    return lambda values: [r.reshape(values.shape) for r in session.run({session.inputs[0]: values}).values()]


@lru_cache(maxsize=256)
def _session(serialized: bytes) -> Session:
    return Session(ir.from_proto(onnx.ModelProto.FromString(serialized)), threads=1)


def _moved(value: ir.Value) -> ir.Value:
    """Where the values are read after operators that only move them (the Concat behind a Conv cut in parts)."""
    while len(value.uses()) == 1 and not value.is_graph_output():
        node = next(iter(value.consumers()))
        if not passes_through(node) or len(node.outputs) != 1:
            break
        value = node.outputs[0]
    return value


def _functions(value: ir.Value) -> tuple[list[ir.Node], list[ir.Value]]:
    """Nodes that compute from the value alone, in order, and the values that leave them."""
    inside: dict[ir.Value, None] = {value: None}
    nodes: dict[ir.Node, None] = {}
    queue = deque([value])
    while queue:
        for node in queue.popleft().consumers():
            if node not in nodes and len(nodes) < _LONGEST and _is_function(node, inside):
                nodes[node] = None
                inside.update(dict.fromkeys(node.outputs))
                queue.extend(node.outputs)
    sinks = [v for v in inside if v.is_graph_output() or any(n not in nodes for n in v.consumers())]
    return list(nodes), sorted(sinks, key=lambda v: v.name or "")


def _is_denominator(value: ir.Value, nodes: list[ir.Node]) -> bool:
    """Whether all that reads the value, besides the functions, divides by it: then ``1 / x`` is what matters."""
    others = [n for n in value.consumers() if n not in nodes]
    return bool(others) and all(n.op_type == "Div" and n.inputs[0] is not value for n in others)


def _invert(part: ir.Model, names: list[str]) -> None:
    """Give the part the reciprocals of the named values as outputs instead of the values themselves."""
    outputs = [v for v in part.graph.outputs if v.name not in names]
    values = {v.name: v for v in (*part.graph.inputs, *(v for n in part.graph for v in n.outputs))}
    for name in names:
        node = ir.node("Reciprocal", [values[name]], name=f"{name}_inverse")
        node.outputs[0].name, node.outputs[0].type = f"{name}_inverse", values[name].type
        part.graph.append(node)
        outputs.append(node.outputs[0])
    part.graph.outputs.clear()
    part.graph.outputs.extend(outputs)


def _is_function(node: ir.Node, inside: Container[ir.Value]) -> bool:
    if node.op_type not in _UNARY:
        return False
    return all(v is None or v in inside or (is_constant(v) and constant(v).size == 1) for v in node.inputs)
