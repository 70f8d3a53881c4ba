"""Numbers on a grid as torch computes with them: whole steps and the scale, with gradients that pass the rounding.

The integers stay apart from their scale until an operator needs values. A convolution of integers adds whole numbers,
exactly as the NPU and :mod:`n6convert.runtime.int8` do, and the quotient of scales comes last, in the same order of
operations: so the codes are those of the written file, and the gradients of scales are LSQ's (Esser et al. 2020) by
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from n6convert.tuning.tensor import Tensor

__all__ = ["Steps", "Value", "round_to_codes", "values_of", "whole_codes"]


@dataclass(frozen=True)
class Steps:
    """``integers * scale``; the scale is one number or broadcasts.

    Attributes:
        mean: the integers were divided: a quantizer behind then divides by the quotient of scales, as the file does.
    """

    integers: Tensor
    scale: Tensor
    mean: bool = False

    @property
    def values(self) -> Tensor:
        """The numbers that the integers stand for."""
        return self.integers * self.scale


Value = Any
"""A tensor of values, or :class:`Steps`."""


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """Nearest whole number inside limits; the gradient passes where nothing saturated."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((steps >= low) & (steps <= high))
        return steps.round().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None


def round_to_codes(value: Value, scale: Tensor, low: float, high: float) -> Steps:
    """The value on a grid.

    Args:
        low, high: least and largest code, less the zero point.
    """
    if not isinstance(value, Steps):
        counted = value / scale
    elif value.mean:
        counted = value.integers / (scale / value.scale)
    else:
        counted = value.integers * (value.scale / scale)
    return Steps(_Round.apply(counted, low, high), scale)


def whole_codes(shown: Tensor, limit: float) -> Tensor:
    """Weights in steps of their grid as codes; the gradient passes as if nothing were rounded."""
    return _Round.apply(shown, -limit, limit)


def values_of(value: Value) -> Tensor:
    """The values themselves."""
    return value.values if isinstance(value, Steps) else value
