"""Outputs that join what does not belong on one grid: pixels with probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from n6convert.quantization.ranges import Range
from n6convert.quantization.roles import float_operands
from n6convert.quantization.sharing import fixed_range, passes_through

__all__ = ["mixed_outputs"]

#: a part whose own range is this many times narrower than the output's has lost three bits
_NARROW = 8
_LEVELS = 255


def mixed_outputs(graph: ir.Graph, ranges: Mapping[str, Range]) -> list[str]:
    """A sentence for every graph output of which a joined part has too few levels left on the common grid.

    Args:
        ranges: by tensor name, as the quantizer found them.
    """
    return [text for v in graph.outputs if (text := _sentence(v, ranges))]


def _sentence(output: ir.Value, ranges: Mapping[str, Range]) -> str:
    parts = {v.name or "": span for v in _joined(output) if (span := _span(v, ranges)) is not None}
    if len(parts) < 2:
        return ""
    widths = {name: max(high, 0.0) - min(low, 0.0) for name, (low, high) in parts.items()}
    whole = max(max(high, 0.0) for _, high in parts.values()) - min(min(low, 0.0) for low, _ in parts.values())
    narrow = min(widths, key=lambda name: widths[name])
    if widths[narrow] * _NARROW > whole:
        return ""
    low, high = parts[narrow]
    left = round(_LEVELS * widths[narrow] / whole)
    return (
        f"output {output.name} joins parts of very different size on one INT8 grid: of {_LEVELS} levels {left} are "
        f"left to {narrow} ({low:.3g} to {high:.3g}); give the parts outputs of their own, in front of the Concat, or "
        "convert the file with its plugin (n6convert yolov8n --weights FILE.onnx)"
    )


def _joined(value: ir.Value) -> list[ir.Value]:
    """The operands of the Concat that the value is, through operators that only move values; none without a Concat."""
    node = value.producer()
    if node is None or not passes_through(node):
        return []
    operands = [o.value for o in float_operands(node)]
    if node.op_type == "Concat":
        return [part for v in operands for part in (_joined(v) or [v])]
    return _joined(operands[0]) if operands else []


def _span(value: ir.Value, ranges: Mapping[str, Range]) -> Range | None:
    """The value's own range, or that of what it was selected from."""
    known = fixed_range(value) or ranges.get(value.name or "")
    node = value.producer()
    if known is not None or node is None or not passes_through(node):
        return known
    spans = [s for o in float_operands(node) if (s := _span(o.value, ranges)) is not None]
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None
