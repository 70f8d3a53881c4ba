"""The batch, axis 0, stays whole: ST's import takes no Concat, Split or Slice along it ([#import-limits])."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from n6convert.graph.query import attribute, constant_of, shape_of

__all__ = ["batch_cut", "cuts_batch"]

_CUTS = frozenset({"Concat", "Split", "Slice", "Gather"})


def cuts_batch(node: ir.Node) -> bool:
    """Whether an operator joins, cuts or picks from the first axis of an activation of two or more axes."""
    if node.op_type not in _CUTS or node.domain not in ("", "ai.onnx"):
        return False
    full = shape_of(node.inputs[0]) or shape_of(node.outputs[0])
    parts = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    if full is None or len(full) < 2 or all(constant_of(v) is not None for v in parts):
        return False
    if node.op_type == "Slice":
        return (shape_of(node.outputs[0]) or full)[0] != full[0]
    along = attribute(node, "axis", 0) in (0, -len(full))
    return along and (node.op_type == "Gather" or len(node.outputs if node.op_type == "Split" else node.inputs) > 1)


def batch_cut(nodes: Iterable[ir.Node]) -> str | None:
    """What is wrong with nodes that a rule made, as a sentence; None when none of them cuts the batch."""
    bad = next((n for n in nodes if cuts_batch(n)), None)
    return None if bad is None else f"its {bad.op_type} would cut the batch"
