"""Operators that only move values, on the codes themselves where both sides share a grid.

``Quantize(Move(Dequantize(codes)))`` on one grid is ``Move(codes)``: a code less its zero point, times the step and
divided by it again, rounds to itself. Two operators less for each, and a quarter of the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.runtime.int8.operands import dtype, numbers

__all__ = ["move_codes"]

#: operators that onnxruntime has for 8-bit codes: those that move all operands, and those that move the first
_ALL = frozenset({"Concat"})
_FIRST = frozenset({"Reshape", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Gather"})


def move_codes(graph: ir.Graph) -> None:
    """Let such operators move codes, in place; pairs that nobody reads any more stay."""
    for node in graph:
        if not node.domain and node.op_type in _ALL | _FIRST:
            _move_codes(node)


def _move_codes(node: ir.Node) -> None:
    moved = node.inputs if node.op_type in _ALL else node.inputs[:1]
    makers = [v.producer() for v in moved if v is not None]
    pairs = [m for m in makers if m is not None and m.op_type == "DequantizeLinear"]
    ends = [user for v in node.outputs for user in v.consumers()]
    inside = not any(v.is_graph_output() for n in (node, *ends) for v in n.outputs)
    quantized = bool(ends) and all(user.op_type == "QuantizeLinear" for user in ends)
    if len(pairs) < len(moved) or not inside or not quantized or not _share_a_grid([*pairs, *ends]):
        return
    for index, pair in enumerate(pairs):
        node.replace_input_with(index, pair.inputs[0])
    for output in node.outputs:
        quantizers = list(output.consumers())
        output.type = node.inputs[0].type  # type: ignore[union-attr]
        for quantize in quantizers:
            quantize.outputs[0].replace_all_uses_with(output)


def _share_a_grid(nodes: Sequence[ir.Node]) -> bool:
    """Whether all of them quantize or dequantize by one scale and zero point, of one type."""
    if len({dtype(n.inputs, 2) for n in nodes} - {None}) != 1:
        return False
    grids = [n.inputs[1:3] for n in nodes]
    if any(v is None or v.const_value is None or numbers(v).size != 1 for grid in grids for v in grid):
        return False
    pairs = [(v, w) for grid in grids for v, w in zip(grid, grids[0], strict=True) if v is not w]
    return all(np.array_equal(numbers(v), numbers(w)) for v, w in pairs)
