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


#: steps beyond the last code from which no gradient passes
_EDGE = 1e-3


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """Nearest whole number of ``x * factor`` inside limits; the gradient passes where nothing saturated.

    One operator instead of three, as most of a step is spent between convolutions; ``factor`` broadcasts.
    """

    @staticmethod
    def forward(x: Tensor, factor: Tensor | None, low: float, high: float) -> Tensor:
        return (x.round() if factor is None else (x * factor).round_()).clamp_(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, factor, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x, factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, factor = ctx.saved_tensors
        steps = x if factor is None else x * factor
        passed = torch.ops.aten.hardtanh_backward(grads[0], steps, ctx.low - _EDGE, ctx.high + _EDGE)
        if factor is None:
            return passed, None, None, None
        scaled = (passed * x).sum_to_size(factor.shape) if ctx.needs_input_grad[1] else None
        return passed * factor, scaled, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], x: Tensor, factor: Any, low: float, high: float
    ) -> tuple[Tensor, int]:
        """Over samples, which lie along the first axis; all of them share a factor."""
        return _Round.apply(x.movedim(in_dims[0], 0), factor, low, high), 0


def round_to_codes(value: Value, scale: Tensor, low: float, high: float) -> Steps:
    """The value on a grid.

    Args:
        low, high: least and largest code, less the zero point.
    """
    if not isinstance(value, Steps):
        return Steps(_Round.apply(value / scale, None, low, high), scale)
    if value.mean:
        return Steps(_Round.apply(value.integers / (scale / value.scale), None, low, high), scale)
    return Steps(_Round.apply(value.integers, value.scale / scale, low, high), scale)


def whole_codes(shown: Tensor, low: float, high: float) -> Tensor:
    """Weights in steps of their grid as codes; the gradient passes as if nothing were rounded."""
    return _Round.apply(shown, None, low, high)


def values_of(value: Value) -> Tensor:
    """The values themselves."""
    return value.values if isinstance(value, Steps) else value
