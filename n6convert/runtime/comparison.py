"""Comparing outputs: the one place where "the same function" is decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.graph.dag import reach
from n6convert.graph.operators import MOVES

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "BOUNDED",
    "LIMIT_DB",
    "Noise",
    "decibel",
    "energy",
    "least_sizes",
    "max_relative_difference",
    "relative_differences",
    "sqnr_db",
    "squared_gaps",
]

Array = NDArray[Any]
#: functions whose range is known; saturated inputs reach both ends
BOUNDED = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
#: operators whose output holds values of their first input, unchanged
_MOVES = MOVES - {"Split"} | {"MaxPool"}
#: the step of such a function's INT8 grid
_STEP = 1 / 256
#: lower bound of what differences of any other output are measured by
_LEAST = 1e-12
#: dB that no ratio of energies exceeds on either side, so that every figure is finite
LIMIT_DB = 300.0


def least_sizes(model: ir.Model) -> dict[str, float]:
    """The least that differences of an output are measured by, for outputs that a function bounds by 1: an INT8 step.

    A detector that finds nothing answers zero everywhere, and its largest value is float32's own rounding error.
    """
    return {v.name or "": _STEP for v in model.graph.outputs if _is_bounded(v)}


def _is_bounded(value: ir.Value | None) -> bool:
    return all(_moved_from(v) or _has_bounds(v) for v in reach(value, _moved_from))


def _moved_from(value: ir.Value | None) -> Sequence[ir.Value | None]:
    """What a value is made of by operators that only move values; nothing for another one."""
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Concat":
        return node.inputs
    return node.inputs[:1] if node is not None and node.op_type in _MOVES else ()


def _has_bounds(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    return node is not None and node.op_type in BOUNDED


def relative_differences(
    reference: Mapping[str, Array], other: Mapping[str, Array], least: Mapping[str, float]
) -> dict[str, float]:
    """:func:`max_relative_difference` of each output, by name; ``least`` as :func:`least_sizes` gives it.

    Args:
        reference: arrays by output name.
        other: arrays by output name.
        least: as :func:`least_sizes` gives it.
    """
    return {n: max_relative_difference(a, other[n], least.get(n, _LEAST)) for n, a in reference.items()}


def max_relative_difference(reference: Array, other: Array, least: float = _LEAST) -> float:
    """Largest absolute difference divided by the largest absolute value of the reference, lower-bounded by
    ``least``.

    NaN counts as infinite difference unless both have it in the same places.

    Args:
        reference: any shape.
        other: the same shape.
        least: lower bound of what the reference's largest value counts as.
    """
    if reference.shape != other.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
    finite = np.abs(a[np.isfinite(a)])
    return float(gap.max() / max(finite.max(initial=0.0), least))


def sqnr_db(reference: Array, other: Array) -> float:
    """Signal to quantization noise ratio in dB; infinite for equal arrays, else as :func:`decibel`."""
    return decibel(*_energies(reference, other))


def decibel(signal: float, noise: float) -> float:
    """The ratio of two energies in dB: infinite without noise, else within :data:`LIMIT_DB` on both sides.

    Noise that is infinite or NaN, or noise without any signal, is at the lower limit. Nothing raises.
    """
    if noise == 0:
        return math.inf
    if not (math.isfinite(noise) and signal > 0):
        return -LIMIT_DB
    return min(max(10 * (math.log10(signal) - math.log10(noise)), -LIMIT_DB), LIMIT_DB)


def squared_gaps(reference: Array, other: Array) -> Array:
    """Squared differences in float64: 0 where both hold the same (also NaN or the same infinity), infinite where only
    one is finite."""
    a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.asarray((a - b) ** 2)
        if np.isfinite(gaps).all():
            return gaps
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.nan_to_num(gaps, nan=np.inf))


def energy(values: Array) -> float:
    """Sum of the squares of the finite values."""
    finite = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        return float(np.sum(finite[np.isfinite(finite)] ** 2))


def _energies(reference: Array, other: Array) -> tuple[float, float]:
    """Energy of a signal, and of what was added to it."""
    with np.errstate(over="ignore"):
        return energy(reference), float(np.sum(squared_gaps(reference, other)))


@dataclass
class Noise:
    """Energy of a signal and of what was added to it, summed over samples."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Add one sample's outputs."""
        signal, noise = _energies(reference, other)
        self.signal += signal
        self.noise += noise

    @property
    def sqnr_db(self) -> float | None:
        """In dB, as :func:`decibel`; None when both were equal."""
        return decibel(self.signal, self.noise) if self.noise else None
