"""What training makes smaller: the distance of the outputs, and that of tensors inside, from the float model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from n6convert.tuning.fake_quantization import Steps
from n6convert.tuning.quantization import axes_of_places
from n6convert.tuning.tensor import Tensor

__all__ = ["Reference", "decibels", "feature_loss", "output_loss"]

_LEAST = 1e-12
#: how far a sum of probabilities may be from 1
_WHOLE = 1e-3


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


def _mean(errors: Tensor, tokens: NDArray[np.bool_] | None) -> Tensor:
    """Mean over samples, without the rows that stand for padding where a sample has as many rows as places."""
    if tokens is None or not (axes := axes_of_places(errors.shape[1:], tokens.shape[1])):
        return errors.mean()
    shape = [d if i == 0 or i - 1 in axes else 1 for i, d in enumerate(errors.shape)]
    counted = torch.from_numpy(tokens).to(errors.device, errors.dtype).reshape(shape).expand_as(errors)
    return (errors * counted).sum() / counted.sum()


def output_loss(
    outputs: Mapping[str, Tensor],
    exact: Mapping[str, NDArray[Any]],
    spread: Mapping[str, float],
    tokens: NDArray[np.bool_] | None = None,
) -> dict[str, Tensor]:
    """The distance of each output from float.

    Of probabilities it is the divergence that classifiers are trained by (Kullback and Leibler), whose gradient does
    not vanish where another class has won; of anything else the mean of ``log(1 + e^2)``, with ``e`` relative to the
    output's spread: small errors count as in closeness, and large ones still pull.

    Args:
        outputs: of the quantized graph, by name; samples lie along the first axis.
        exact: of the float graph, by name.
        spread: standard deviation of each output.
        tokens: which rows count, ``[samples, rows]``; None: all.
    """
    found = {}
    for name, made in outputs.items():
        if name in spread:
            target = torch.from_numpy(np.asarray(exact[name], np.float32)).to(made.device)
            if are_probabilities(target):
                errors = _divergence(made, target)
            else:
                errors = torch.log1p(torch.square((made - target) / spread[name]))
            found[name] = _mean(errors, tokens)
    return found


def are_probabilities(target: Tensor) -> bool:
    """Whether an output's rows are shares of one whole: as a softmax in front gives them."""
    shares = target.dim() > 1 and target.shape[-1] > 1 and bool((target >= 0).all())
    return shares and bool((target.sum(-1) - 1).abs().max() < _WHOLE)


def _divergence(made: Tensor, target: Tensor) -> Tensor:
    """That of each row; no probability counts as less than a thousandth of the mean one."""
    least = 1e-3 / target.shape[-1]
    shares = made.clamp_min(least)
    shares = shares / shares.sum(-1, keepdim=True)
    return (target * (target.clamp_min(least).log() - shares.log())).sum(-1).clamp_min(0)


def feature_loss(
    kept: Mapping[str, Steps],
    exact: Mapping[str, NDArray[Any]],
    spread: Mapping[str, float],
    tokens: NDArray[np.bool_] | None = None,
) -> dict[str, Tensor]:
    """Mean squared error of each tensor relative to its variance.

    Args:
        kept: tensors of the quantized graph, by name; samples lie along the first axis.
        exact: of the float graph, by name.
        spread: standard deviation of each tensor.
        tokens: which rows count, ``[samples, rows]``; None: all.
    """
    found = {}
    for name, steps in kept.items():
        values = steps.values
        target = torch.from_numpy(np.asarray(exact[name], np.float32)).to(values.device)
        found[name] = _mean(torch.square((values - target) / spread[name]), tokens)
    return found


def decibels(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of logarithms: losses of any size count alike, as in closeness, and so do batches.

    Their gradients keep their size while losses rise: with running means instead the first large ones, divided by means
    that are small still, throw a network further off that is 20 dB close.
    """
    total = torch.zeros(())
    for loss in losses.values():
        total = total.to(loss.device) + loss.clamp_min(_LEAST).log()
    return total
