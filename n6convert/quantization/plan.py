"""What the quantizer decided: grids of activations, integer weights, and operators that a grid replaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.grid import CODE_MAX, Grid

__all__ = ["Plan", "QuantizedWeight", "along", "quantize_weight"]


@dataclass
class QuantizedWeight:
    """Integer weights with one scale a channel.

    Attributes:
        codes: int8, the weight's own shape.
        scales: float32, one a channel of ``axis``.
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
    """The vector shaped to broadcast along one axis of a tensor of that rank."""
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def quantize_weight(
    weight: NDArray[np.float32], axis: int, least: NDArray[np.float32] | float = 0.0
) -> QuantizedWeight:
    """Round to the nearest code, symmetric, one scale a channel.

    Args:
        least: smallest scale allowed, by channel: a channel of zeros gets it, and so does one whose bias would leave
            int32 otherwise.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, initial=0.0)
    scales = np.maximum(largest / CODE_MAX, least).astype(np.float32)
    scales[scales < 1e-15] = 1.0
    codes = np.clip(np.rint(weight / along(scales, weight.ndim, axis)), -CODE_MAX, CODE_MAX)
    return QuantizedWeight(codes.astype(np.int8), scales, axis)
