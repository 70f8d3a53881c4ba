"""Which operators keep their values on the grid they came on, and which operators a grid replaces.

Operators that only select or move values (Concat, MaxPool, Transpose, Reshape, Split, Slice, Pad, nearest Resize ...)
keep the codes when both sides share one grid; otherwise the compiler adds a requantization ([#quantization]).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.graph.dag import reach
from n6convert.graph.query import is_constant
from n6convert.quantization.topology.roles import PASS_THROUGH, float_operands
from n6convert.runtime.comparison import BOUNDED

__all__ = ["absorbed_by_grid", "clip_bounds", "clipped_with", "fixed_range", "is_share", "passes_through"]


def fixed_range(value: ir.Value) -> tuple[float, float] | None:
    """The range that the producing function bounds, None for all others.

    A Clip on both sides that makes a graph output is its author's word about the range: values that calibration
    happened not to see (the rare high score of a detector) must not saturate.
    """
    producer = value.producer()
    if producer is not None and producer.op_type == "Clip" and value.is_graph_output():
        bounds = clip_bounds(producer)
        return bounds if bounds is not None and np.isfinite(bounds).all() else None
    return BOUNDED.get(producer.op_type) if producer is not None else None


def passes_through(node: ir.Node) -> bool:
    """Whether the node's output values are a selection of its input values."""
    if node.op_type == "Resize":
        return node.attributes.get_string("mode", "nearest") == "nearest"
    return node.op_type in PASS_THROUGH


def absorbed_by_grid(graph: ir.Graph) -> dict[str, tuple[float, float]]:
    """Relu and Clip outputs that saturation of the producer's grid can replace, with the bounds they enforce.

    Writing the producer's result straight to a grid inside [low, high] clips exactly as the operator does
    ([#onnx-operators]: Relu, Clip). Where operators that only move values stand between (the Concat behind a Conv that
    was cut in parts), clipping what they move is the same.
    """
    found = {}
    for node in graph:
        bounds = clip_bounds(node)
        if bounds is not None and node.inputs[0] is not None and clipped_with(node.inputs[0]):
            found[node.outputs[0].name or ""] = bounds
    return found


def clipped_with(value: ir.Value) -> list[ir.Value]:
    """The value and all that it was moved from, down to what operators compute; none if anything else reads them."""
    found = list(reach(value, _moved_from))
    return found if all(_is_clipped(v) for v in found) else []


def _moved_from(value: ir.Value) -> list[ir.Value]:
    producer = value.producer()
    return [o.value for o in float_operands(producer)] if producer is not None and passes_through(producer) else []


def _is_clipped(value: ir.Value) -> bool:
    """Whether nothing else reads the value, and all that it was moved from are activations."""
    producer = value.producer()
    lonely = len(value.uses()) == 1 and not value.is_graph_output()
    if producer is None or not lonely or fixed_range(value) is not None:
        return False
    moved = passes_through(producer)
    operands = list(float_operands(producer)) if moved else []
    return not moved or (len(producer.outputs) == 1 and all(o.role == "activation" for o in operands))


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Bounds of a Relu, of a Clip around zero with constant bounds, or of a Min with positive constants."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type == "Min" and len(node.inputs) == 2 and is_constant(node.inputs[1]):
        assert node.inputs[1] is not None and node.inputs[1].const_value is not None
        least = float(node.inputs[1].const_value.numpy().min(initial=np.inf))
        return (-np.inf, least) if least >= 0 else None
    if node.op_type != "Clip":
        return None
    bounds = [-np.inf, np.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        if not is_constant(value) or value.const_value is None:
            return None
        bounds[index] = float(value.const_value.numpy().item())
    return (bounds[0], bounds[1]) if bounds[0] <= 0 <= bounds[1] else None


def is_share(value: ir.Value) -> bool:
    """Whether a Clip keeps the value between 0 and 1, wherever it was moved to since: a gate, its channels are even."""
    makers = [v.producer() for v in reach(value, _moved_from)]
    return all(m is not None and (passes_through(m) or _ends_at_one(m)) for m in makers)


def _ends_at_one(node: ir.Node) -> bool:
    return node.op_type == "Clip" and clip_bounds(node) == (0.0, 1.0)
