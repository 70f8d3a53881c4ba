"""Scores in front of a softmax that is written in steps: what lies far below a row's maximum need not be told apart.

``exp(s - max(s))`` goes to a grid that ends at 1: 8 below the maximum it is a tenth of a step. So differences are cut
there, and scores that far below the least maximum of all rows. Hidden places of a mask and unlikely ones would take a
large part of both grids otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.quantization.prepare.attention_masks import MAXIMA
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.estimators import Range

__all__ = ["without_hidden"]

#: below a row's maximum; exp(-8) is 0.09 steps of 1/255
_DEPTH = 8.0
#: rows not seen may have a maximum lower than all that were seen, by this share of the depth
_MARGIN = 0.1


@dataclass(frozen=True)
class _Scores:
    """``exp(scores - maximum)``, with the names of the differences: in front of a Clip and behind it."""

    scores: str
    maximum: str
    differences: tuple[str, ...]


def without_hidden(
    graph: ir.Graph, ranges: Mapping[str, Range], statistics: Mapping[str, Statistics]
) -> dict[str, Range]:
    """The ranges, those of scores and of their differences to the maximum cut where nothing reads them.

    Args:
        graph: prepared.
        ranges: by tensor name.
        statistics: by tensor name.
    """
    found = dict(ranges)
    for part in _scores(graph):
        for name in part.differences:
            if name in found:
                found[name] = (max(found[name][0], -_DEPTH), found[name][1])
        if part.scores in found and part.maximum in statistics:
            low, high = found[part.scores]
            found[part.scores] = (max(low, statistics[part.maximum].low - (1 + _MARGIN) * _DEPTH), high)
    return found


def _scores(graph: ir.Graph) -> Iterator[_Scores]:
    for node in graph:
        scores, maximum = node.inputs[:2] if node.op_type == "Sub" else (None, None)
        maker = maximum.producer() if maximum is not None else None
        if scores is None or maximum is None or maker is None or maker.op_type not in MAXIMA:
            continue
        if maker.inputs[0] is not scores or scores.is_graph_output() or set(scores.consumers()) != {node, maker}:
            continue
        differences = _up_to_exp(node.outputs[0])
        if differences:
            yield _Scores(scores.name or "", maximum.name or "", tuple(v.name or "" for v in differences))


def _up_to_exp(value: ir.Value) -> list[ir.Value]:
    """The value, and those that Clips make of it, if nothing but Exp reads them; else nothing."""
    found = [value]
    while len(readers := list(found[-1].consumers())) == 1 and readers[0].op_type == "Clip":
        found.append(readers[0].outputs[0])
    return found if readers and all(n.op_type == "Exp" for n in readers) else []
