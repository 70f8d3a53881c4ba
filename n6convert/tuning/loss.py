"""What training makes smaller: the distance of outputs by the quantizer's own measure, and that of tensors inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from n6convert.tuning.fake_quantization import Steps
from n6convert.tuning.tensor import Tensor

__all__ = ["Reference", "feature_loss", "output_loss"]

_LEAST = 1e-12


class Reference:
    """Sizes of the float model's tensors, measured on some samples, by which errors are counted.

    Attributes:
        spread: standard deviation of each tensor; of a constant one its size.
    """

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Take one sample's values, those that are finite."""
        numbers = values[np.isfinite(values)].astype(np.float64)
        found = np.array([numbers.size, numbers.sum(), np.square(numbers).sum()])
        self._sums[name] = self._sums.get(name, np.zeros(3)) + found

    @property
    def spread(self) -> dict[str, float]:
        """Standard deviation of each tensor over the samples."""
        return {name: self._spread(*sums) for name, sums in self._sums.items()}

    @staticmethod
    def _spread(count: float, total: float, squares: float) -> float:
        mean, energy = total / max(count, 1), squares / max(count, 1)
        return float(np.sqrt(max(energy - mean**2, 0.0)) or np.sqrt(energy) or 1.0)


def _rows(values: Tensor, tokens: NDArray[np.bool_] | None) -> Tensor:
    """Without the rows that stand for padding; as it is where its rows are no places of the sequence."""
    axes = [i for i, d in enumerate(values.shape) if tokens is not None and d == tokens.size]
    if tokens is None or len(axes) != 1:
        return values
    return values.index_select(axes[0], torch.from_numpy(np.flatnonzero(tokens)).to(values.device))


def output_loss(
    outputs: Mapping[str, Tensor],
    exact: Mapping[str, NDArray[Any]],
    spread: Mapping[str, float],
    tokens: NDArray[np.bool_] | None = None,
) -> dict[str, Tensor]:
    """Mean bounded error ``e^2 / (1 + e^2)`` of each output, ``e`` relative to its spread.

    Args:
        outputs: of the quantized graph, by name.
        exact: of the float graph, by name.
        spread: standard deviation of each output.
        tokens: which rows count; None: all.
    """
    found = {}
    for name, values in outputs.items():
        if name in spread:
            target = torch.from_numpy(np.asarray(exact[name], np.float32)).to(values.device)
            gaps = torch.square((_rows(values, tokens) - _rows(target, tokens)) / spread[name])
            found[name] = (gaps / (1 + gaps)).mean()
    return found


def feature_loss(
    kept: Mapping[str, Steps],
    exact: Mapping[str, NDArray[Any]],
    spread: Mapping[str, float],
    tokens: NDArray[np.bool_] | None = None,
) -> dict[str, Tensor]:
    """Mean squared error of each tensor relative to its variance.

    Args:
        kept: tensors of the quantized graph, by name.
        exact: of the float graph, by name.
        spread: standard deviation of each tensor.
        tokens: which rows count; None: all.
    """
    found = {}
    for name, steps in kept.items():
        values = steps.values
        target = torch.from_numpy(np.asarray(exact[name], np.float32)).to(values.device)
        gaps = (_rows(values, tokens) - _rows(target, tokens)) / spread[name]
        found[name] = torch.square(gaps).mean()
    return found


class Balance:
    """Makes losses of different size count alike: each is divided by its own running mean.

    So the sum's gradient is that of the sum of logarithms: decibels, as closeness counts.
    """

    _KEPT = 0.98

    def __init__(self) -> None:
        self.means: dict[str, float] = {}

    def __call__(self, losses: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros(())
        for name, loss in losses.items():
            size = max(float(loss.detach()), _LEAST)
            old = self.means.get(name, size)
            self.means[name] = self._KEPT * old + (1 - self._KEPT) * size
            total = total.to(loss.device) + loss / self.means[name]
        return total
