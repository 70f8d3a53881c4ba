"""Gradient descent for numbers of which most hardly matter.

Each number moves against the mean of its gradients, divided by their size, as in Adam, with one difference: the size is
a mix of its own and that of all numbers of its tensor. One whose gradient is a small part of its tensor's moves little,
where Adam would move it as far as any other and only add noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from n6convert.tuning.tensor import Tensor

__all__ = ["Descent"]

_MEAN, _SQUARE = 0.9, 0.98
_LEAST = 1e-20


class Descent:
    """Args:
    leaves: tensors with gradients by name.
    rates: how far each moves in a step, about; those with none stay, and lose their gradient.

    Attributes:
        steps: how many were made.
    """

    def __init__(self, leaves: Mapping[str, Tensor], rates: Mapping[str, float]) -> None:
        self._rates = rates
        self._leaves = {name: leaf for name, leaf in leaves.items() if rates[name] > 0}
        for name, leaf in leaves.items():
            leaf.requires_grad_(name in self._leaves)
        self._means = {name: torch.zeros_like(leaf) for name, leaf in self._leaves.items()}
        self._squares = {name: torch.zeros_like(leaf) for name, leaf in self._leaves.items()}
        self.steps = 0

    def forget(self) -> None:
        """Drop all gradients."""
        for leaf in self._leaves.values():
            leaf.grad = None

    def restart(self) -> None:
        """Forget all gradients there were."""
        self.steps = 0
        for tensor in (*self._means.values(), *self._squares.values()):
            tensor.zero_()

    def step(self, share: float) -> None:
        """Move every number, by a share of its rate."""
        self.steps += 1
        with torch.no_grad():
            for name, leaf in self._gradients():
                self._move(name, leaf, share * self._rates[name])

    def _move(self, name: str, leaf: Tensor, rate: float) -> None:
        mean, square = self._means[name], self._squares[name]
        mean.lerp_(leaf.grad, 1 - _MEAN)
        square.lerp_(leaf.grad**2, 1 - _SQUARE)
        size = torch.sqrt((square + square.mean()) / 2 / (1 - _SQUARE**self.steps)).clamp_min(_LEAST)
        leaf -= rate * mean / size / (1 - _MEAN**self.steps)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint holds."""
        parts = {"mean": self._means, "square": self._squares}
        return {f"{kind}/{n}": t.cpu().numpy().copy() for kind, held in parts.items() for n, t in held.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take :meth:`arrays` up again."""
        self.steps = steps
        for kind, held in (("mean", self._means), ("square", self._squares)):
            for name, tensor in held.items():
                tensor.copy_(torch.from_numpy(np.array(arrays[f"{kind}/{name}"])))

    def _gradients(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, leaf) for name, leaf in self._leaves.items() if leaf.grad is not None)
