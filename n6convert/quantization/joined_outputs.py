"""Outputs that join what does not belong on one grid: pixels with probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from n6convert.graph.dag import reach
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.topology.roles import float_operands
from n6convert.quantization.topology.sharing import fixed_range, passes_through

__all__ = ["warn_mixed_outputs"]

#: a part whose own range is this many times narrower than the output's has lost three bits
_NARROW = 8
_LEVELS = 255


def warn_mixed_outputs(graph: ir.Graph, ranges: Mapping[str, Range]) -> list[str]:
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
    parts: dict[ir.Value, None] = {}
    for found in reach(value, lambda v: _operands(v) if _is_joined(v) else _operands(v)[:1]):
        if _is_joined(found):
            parts.update(dict.fromkeys(v for v in _operands(found) if not _leads_to_join(v)))
    return list(parts)


def _leads_to_join(value: ir.Value) -> bool:
    while operands := _operands(value):
        if _is_joined(value):
            return True
        value = operands[0]
    return False


def _is_joined(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Concat"


def _operands(value: ir.Value) -> list[ir.Value]:
    """What a value was moved from; nothing for values that operators compute."""
    node = value.producer()
    return [o.value for o in float_operands(node)] if node is not None and passes_through(node) else []


def _span(value: ir.Value, ranges: Mapping[str, Range]) -> Range | None:
    """The value's own range, or that of what it was selected from."""

    def own(v: ir.Value) -> Range | None:
        return fixed_range(v) or ranges.get(v.name or "")

    reached = reach(value, lambda v: _operands(v) if own(v) is None else ())
    spans = [s for v in reached if (s := own(v)) is not None]
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None
