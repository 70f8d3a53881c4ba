"""What the quantizer decided: grids of activations, integer weights, and operators that a grid replaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import CODE_MAX, Grid
from n6convert.quantization.stable import SHARE

__all__ = ["Plan", "QuantizedWeight", "along", "fit_weight", "plain_scales", "quantize_weight"]

#: codes that the largest weight of a channel may get; half as many would be the same grid with every second code
_LARGEST_CODES = range(CODE_MAX, CODE_MAX // 2, -1)
#: weights of a channel by which those are ranked
_LOOKED_AT = 256
#: weights whose errors are computed together
_AT_ONCE = 1 << 22


@dataclass
class QuantizedWeight:
    """Integer weights with one scale per channel.

    Attributes:
        codes: int8, the weight's own shape.
        scales: float32, one per channel of ``axis``.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int

    def values(self) -> NDArray[np.float32]:
        """The weights that the integers stand for."""
        values: NDArray[np.float32] = self.codes.astype(np.float32) * along(self.scales, self.codes.ndim, self.axis)
        return values


@dataclass
class Plan:
    """Decisions by tensor name, for one prepared float model.

    Attributes:
        grids: grid of every activation and of every constant operand.
        weights: integer weights by initializer name.
        absorbed: names of Relu/Clip outputs whose operator the grid of its input replaces exactly.
        absorbed_inputs: names of those operators' inputs, which are no tensors of the INT8 model.
    """

    grids: dict[str, Grid] = field(default_factory=dict)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)
    absorbed_inputs: set[str] = field(default_factory=set)


def along(vector: NDArray[Any], rank: int, axis: int) -> NDArray[Any]:
    """The vector shaped to broadcast along one axis of a tensor of that rank.

    Args:
        vector: ``[n]``.
        rank: of the tensor.
        axis: of length n.
    """
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def quantize_weight(
    weight: NDArray[np.float32], axis: int, least: NDArray[np.float32] | float = 0.0
) -> QuantizedWeight:
    """Round to the nearest code, symmetric, one scale per channel.

    Args:
        least: smallest scale allowed, by channel: a channel of zeros gets it, and so does one whose bias would leave
            int32 otherwise.
    """
    return _rounded(weight, axis, plain_scales(weight, axis, least))


def plain_scales(
    weight: NDArray[np.float32], axis: int, least: NDArray[np.float32] | float = 0.0
) -> NDArray[np.float32]:
    """The scales with which the largest weight of each channel gets the largest code.

    Args:
        weight: float, any shape.
        axis: of the channels.
        least: scales below it are not allowed.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, initial=0.0)
    scales = np.maximum(largest / CODE_MAX, least).astype(np.float32)
    scales[scales < 1e-15] = 1.0
    return np.asarray(scales, np.float32)


def fit_weight(weight: NDArray[np.float32], axis: int, least: NDArray[np.float32] | float = 0.0) -> QuantizedWeight:
    """:func:`quantize_weight` with the scale of each channel that suits its weights best.

    The largest weight need not get the code 127: with 126 a row of 0.25 and 0.75 is exact, and so is any row that had
    a grid before, whose largest code was another one. No channel gets a larger error than with the plain scale.

    Args:
        weight: float, any shape.
        axis: of the channels.
        least: scales below it are not allowed.
    """
    plain = quantize_weight(weight, axis, least)
    rows = np.moveaxis(weight, axis, 0).reshape(plain.scales.size, -1)
    if not rows.size:
        return plain
    some = rows[:, :: -(-rows.shape[1] // _LOOKED_AT)]
    best, error = plain.scales, _errors(some, plain.scales)
    for code in _LARGEST_CODES[1:]:
        scales = plain.scales * np.float32(CODE_MAX / code)
        found = _errors(some, scales)
        better = found < error * (1 - SHARE)
        best, error = np.where(better, scales, best), np.where(better, found, error)
    other = np.flatnonzero(best != plain.scales)
    if not other.size:
        return plain
    rows, scales = rows[other], plain.scales.copy()
    better = _errors(rows, best[other]) < _errors(rows, plain.scales[other]) * (1 - SHARE)
    scales[other[better]] = best[other[better]]
    return _rounded(weight, axis, scales)


def _errors(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared rounding error of each row whose largest weight keeps inside the codes; a portion of rows at a time."""
    errors = np.empty_like(scales)
    count = max(_AT_ONCE // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), count):
        part, steps = rows[start : start + count], scales[start : start + count, None]
        gaps = part / steps
        np.rint(gaps, out=gaps)
        gaps *= steps
        np.subtract(part, gaps, out=gaps)
        errors[start : start + count] = np.einsum("ij,ij->i", gaps, gaps)
    return errors


def _rounded(weight: NDArray[np.float32], axis: int, scales: NDArray[np.float32]) -> QuantizedWeight:
    codes = np.clip(np.rint(weight / along(scales, weight.ndim, axis)), -CODE_MAX, CODE_MAX)
    return QuantizedWeight(codes.astype(np.int8), scales, axis)
