"""Rounding weights to four bits: second-order, on inputs without their mean, which the bias takes over.

A coarse weight's error is a shift of the layer's result and what varies around it. The shift is taken back by the bias,
so codes are chosen for the least variation alone. The coarser the codes, the further weights move so that their errors
cancel, and the more of that may be an accident of the samples: they are damped more than those of eight bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import NARROW
from n6convert.quantization.layerwise.bias_correction import shift_bias
from n6convert.quantization.layerwise.rounding import (
    InputStatistics,
    are_small,
    as_rows,
    from_rows,
    input_statistics,
    portions,
)
from n6convert.quantization.layerwise.second_order import round_groups, round_rows
from n6convert.quantization.layerwise.walk import Layer
from n6convert.quantization.time_budget import TimeBudget

__all__ = ["NarrowRows", "narrow_layer", "narrow_rows"]

#: noise on every input, relative to the mean one's energy: of several tried on samples that were not rounded on, the
#: best on the whole; choosing it by layer brought nothing more
_DAMPING = 0.3


class NarrowRows(NamedTuple):
    """Four-bit codes of a layer.

    Attributes:
        codes: ``[outputs, inputs]``.
        shift: what its bias gains, one number for each output.
    """

    codes: NDArray[np.int8]
    shift: NDArray[np.float64]


def narrow_layer(
    layer: Layer,
    weight: NDArray[np.float32],
    budget: TimeBudget | None = None,
    inputs: InputStatistics | None = None,
) -> None:
    """Choose the layer's four-bit codes for the float weights given, on its scales; nothing where they are no rows.

    Args:
        weight: float.
        inputs: what reaches the layer, where that is known.

    Raises:
        BudgetExceeded: the budget ended; the layer is as it was.
    """
    codes, scales, rows = layer.initializer(1), layer.initializer(1, 1).const_value, as_rows(layer.node, weight)
    if rows is None:
        return
    assert scales is not None
    found = narrow_rows(layer, rows, scales.numpy(), budget, inputs)
    codes.const_value = ir.Tensor(from_rows(layer.node, found.codes, weight.shape), name=codes.name)
    shift_bias(layer, found.shift)


def narrow_rows(
    layer: Layer,
    rows: NDArray[np.float32],
    scales: NDArray[np.float32],
    budget: TimeBudget | None = None,
    inputs: InputStatistics | None = None,
    settles: bool = True,
) -> NarrowRows:
    """Codes of a layer's rows, and what its bias must gain for them.

    Args:
        rows: its weights in float ``[outputs, inputs]``.
        scales: of the rows.
        inputs: as for :func:`narrow_layer`.
        settles: as for :func:`~n6convert.quantization.layerwise.second_order.round_rows`.

    Raises:
        BudgetExceeded: the budget ended.
    """
    groups, step = layer.node.attributes.get_int("group", 1), layer.initializer(0, 1).const_value
    assert step is not None
    inputs = inputs or input_statistics(layer, rows.shape[1], groups)
    moments = inputs.around_means()
    codes = round_groups(rows, scales, np.stack(moments), budget, NARROW) if are_small(rows, moments) else None
    if codes is None:
        codes = np.zeros(rows.shape, np.int8)
        for part in portions(layer.node, rows, moments):
            steps, own = scales[part.outputs], part.moments.copy()
            codes[part.outputs, part.inputs] = round_rows(part.rows, steps, own, budget, NARROW, _DAMPING, settles)
    gaps = rows - codes * scales[:, None].astype(np.float64)
    missed = np.einsum("goi,gi->go", gaps.reshape(groups, -1, rows.shape[1]), inputs.means).ravel()
    return NarrowRows(codes, missed * float(step.numpy()))
