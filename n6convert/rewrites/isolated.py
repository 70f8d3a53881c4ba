"""Predicting one form of an operator alone: how rules compare the forms that they could write."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.rewrites.rule import Context

__all__ = ["isolated_latency"]

_OPSET, _IR_VERSION = 17, 8


def isolated_latency(
    context: Context, shapes: Sequence[Sequence[int]], write: Callable[..., ir.Value], opset: int = _OPSET
) -> float:
    """Predicted milliseconds of what ``write(build, *inputs)`` makes of float inputs of the given shapes.

    Infinite without a predictor.

    Args:
        context: holds the predictor.
        shapes: of the inputs.
        write: makes the nodes: ``write(build, *inputs)``.
        opset: of the model that is priced.
    """
    if context.timer is None:
        return math.inf
    inputs = [
        ir.Value(name=f"x{i}", shape=ir.Shape(list(s)), type=ir.TensorType(ir.DataType.FLOAT))
        for i, s in enumerate(shapes)
    ]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": opset}, name="alone")
    build = Builder(graph, "alone", opset)
    result = write(build, *inputs)
    graph.extend(build.nodes)
    graph.outputs.append(result)
    return context.timer(ir.Model(graph, ir_version=_IR_VERSION))
