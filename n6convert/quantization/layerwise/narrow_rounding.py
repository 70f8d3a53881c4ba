"""Rounding weights to four bits: second-order, with as much damping as holds for samples that were not rounded on.

The coarser the codes, the further weights move so that their errors cancel, and the more of that may be an accident of
the samples. So each layer rounds a few of its outputs on half of the samples with several dampings, and the other half
says which of them to take.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import NARROW_MAX
from n6convert.quantization.layerwise.rounding import (
    Moments,
    Portion,
    are_small,
    as_rows,
    from_rows,
    portions,
    split_moments,
)
from n6convert.quantization.layerwise.second_order import DAMPING, round_groups, round_rows
from n6convert.quantization.layerwise.walk import Layer
from n6convert.quantization.stable import first_least
from n6convert.quantization.time_budget import TimeBudget

__all__ = ["Halves", "narrow_layer", "narrow_rows"]

Halves = tuple[Moments, Moments]
"""Second moments of the inputs of the even samples, and of the odd ones."""

#: dampings that are tried, and what stands for them where trying would take too long
_DAMPINGS, _BLIND = (DAMPING, 0.1, 0.3, 1.0), 0.1
#: outputs on which they are tried, at most, and inputs above which none is
_TRIED, _WIDEST = 64, 2304


def narrow_layer(
    layer: Layer, weight: NDArray[np.float32], budget: TimeBudget | None = None, halves: Halves | None = None
) -> None:
    """Choose the layer's four-bit codes for the float weights given, on its scales; nothing where they are no rows.

    Args:
        weight: float.
        halves: of other inputs than those that reach the layer.

    Raises:
        BudgetExceeded: the budget ended; the layer is as it was.
    """
    codes, scales, rows = layer.initializer(1), layer.initializer(1, 1).const_value, as_rows(layer.node, weight)
    if rows is None:
        return
    assert scales is not None
    chosen, _ = narrow_rows(layer, rows, scales.numpy(), budget, halves)
    codes.const_value = ir.Tensor(from_rows(layer.node, chosen, weight.shape), name=codes.name)


def narrow_rows(
    layer: Layer,
    rows: NDArray[np.float32],
    scales: NDArray[np.float32],
    budget: TimeBudget | None = None,
    halves: Halves | None = None,
) -> tuple[NDArray[np.int8], float]:
    """Codes ``-7..7`` of a layer's rows, and the energy of their error relative to that of the layer's output.

    Args:
        rows: its weights in float ``[outputs, inputs]``.
        scales: of the rows.
        halves: as for :func:`narrow_layer`.

    Raises:
        BudgetExceeded: the budget ended.
    """
    even, odd = halves or split_moments(layer, rows.shape[1], layer.node.attributes.get_int("group", 1), 2)
    codes = _small_groups(rows, scales, even, odd, budget)
    together, error, signal = codes is not None, 0.0, 0.0
    codes = np.zeros(rows.shape, np.int8) if codes is None else codes
    for part, other in zip(portions(layer.node, rows, even), odd, strict=True):
        steps, moments = scales[part.outputs], part.moments + other
        if not together:
            damping = _damping(part, other, steps, budget)
            codes[part.outputs, part.inputs] = round_rows(part.rows, steps, moments.copy(), budget, NARROW_MAX, damping)
        error += _energy(part.rows - codes[part.outputs, part.inputs] * steps[:, None], moments)
        signal += _energy(part.rows, moments)
    return codes, error / signal if signal > 0 else 0.0


def _small_groups(
    rows: NDArray[np.float32], scales: NDArray[np.float32], even: Moments, odd: Moments, budget: TimeBudget | None
) -> NDArray[np.int8] | None:
    """Codes of many groups at once, whose few inputs leave no room for accidents; None where they are not such."""
    if not are_small(rows, even):
        return None
    return round_groups(rows, scales, np.stack(even) + np.stack(odd), budget, NARROW_MAX)


def _damping(
    part: Portion, other: NDArray[np.float64], scales: NDArray[np.float32], budget: TimeBudget | None
) -> float:
    """With which damping codes that were found on one half of the samples suit the other one best."""
    if part.rows.shape[1] > _WIDEST or not other.any():
        return _BLIND
    some = slice(None, None, -(-len(part.rows) // _TRIED))
    rows, steps = part.rows[some], scales[some]

    def missed(damping: float) -> float:
        codes = round_rows(rows, steps, part.moments.copy(), budget, NARROW_MAX, damping)
        return _energy(rows - codes * steps[:, None], other)

    return _DAMPINGS[first_least([missed(d) for d in _DAMPINGS])]


def _energy(rows: NDArray[np.float32], moments: NDArray[np.float64]) -> float:
    return float(np.einsum("ij,jk,ik->", rows, moments, rows, optimize=True))
