"""Attention masks: the huge negative constants of exported models, clamped to what their softmax needs.

A mask adds -3.4e38 (or -1e4, or -inf) to the scores it hides. On an int8 grid that one number takes the whole range
and every score becomes 0. After the softmax a hidden score only has to be smaller than half a step of its output
grid, so ``-(spread of the scores + 16)`` does the same: exp(-16) is 1e-7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, set_constant
from n6convert.quantization.stable import rounded
from n6convert.runtime.session import Session

__all__ = ["MAXIMA", "clamp_masks"]

_HUGE = 1e3
_MARGIN = 16.0
#: operators that find a row's largest score
MAXIMA = frozenset({"GlobalMaxPool", "ReduceMax"})
_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze"})
_STEPS = frozenset({"Add", "Sub", "Mul", "Where", "Cast", "Unsqueeze", "Expand", "Reshape", "Slice", "Neg", "Concat"})


def clamp_masks(
    model: ir.Model, samples: Sequence[Mapping[str, NDArray[Any]]], threads: int | None = None
) -> list[str]:
    """Clamp the mask constants in front of every Softmax, in place; returns the names of those that were clamped.

    Args:
        model: changed in place.
        samples: arrays by input name.
        threads: None: as many as there are cores.
    """
    found: dict[str, tuple[ir.Value, list[str]]] = {}
    for logits in _logits(model.graph):
        for value, scores in _masks(logits):
            found.setdefault(value.name or "", (value, []))[1].extend(scores)
    if not found:
        return []
    spreads = _spreads(model, samples, {name for _, names in found.values() for name in names}, threads)
    for value, scores in found.values():
        visible = constant(value)[constant(value) >= -_HUGE]  # a bias of positions that is in the same constant
        limit = max((spreads[name] for name in scores), default=0.0) + float(np.ptp([0.0, *visible.ravel()])) + _MARGIN
        set_constant(value, np.maximum(constant(value), np.float32(-limit)))
    return sorted(found)


def _logits(graph: ir.Graph) -> Iterator[ir.Value]:
    """Inputs of every Softmax, also of those that are written as ``Exp(x - max(x))``."""
    for node in graph:
        source, other = (*node.inputs, None, None)[:2]
        maximum = other.producer() if node.op_type == "Sub" and other is not None else None
        spelled = maximum is not None and maximum.op_type in MAXIMA and maximum.inputs[0] is source
        if source is not None and (node.op_type == "Softmax" or spelled):
            yield source


def _masks(source: ir.Value) -> list[tuple[ir.Value, list[str]]]:
    """Huge negative constants that reach a softmax's input, each with the score tensors they are added to."""
    producer = source.producer()
    while producer is not None and producer.op_type in _MOVES and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    if producer is None or producer.op_type not in ("Add", "Where"):
        return []
    operands = [v for v in producer.inputs if v is not None]
    huge = [[c for c in _constants(v) if constant(c).min(initial=0) < -_HUGE] for v in operands]
    scores = [v.name or "" for v, c in zip(operands, huge, strict=True) if not c and _is_activation(v)]
    return [(c, scores) for group in huge for c in group]


def _is_activation(value: ir.Value) -> bool:
    return not is_constant(value) and value.dtype == ir.DataType.FLOAT


def _constants(value: ir.Value, depth: int = 8) -> list[ir.Value]:
    """Float constants that a mask is computed from."""
    if is_constant(value):
        return [value] if value.dtype == ir.DataType.FLOAT else []
    producer = value.producer()
    if producer is None or producer.op_type not in _STEPS or depth == 0:
        return []
    return [c for v in producer.inputs if v is not None for c in _constants(v, depth - 1)]


def _spreads(
    model: ir.Model, samples: Sequence[Mapping[str, NDArray[Any]]], names: set[str], threads: int | None
) -> dict[str, float]:
    """Largest minus smallest value of each tensor over the samples, doubled for samples not seen."""
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    session = Session(model, sorted(names), threads=threads)
    for sample in samples:
        for name, values in session.run_on(sample).items():
            low[name] = min(low[name], float(values.min()))
            high[name] = max(high[name], float(values.max()))
    return {name: 2 * float(rounded(high[name] - low[name])) for name in names}
