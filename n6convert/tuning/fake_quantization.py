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
        return _applied(_Scaled, self.integers, self.scale)


Value = Any
"""A tensor of values, or :class:`Steps`."""


#: steps beyond the last code from which no gradient passes
_EDGE = 1e-3


def _of_factor(grad: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """Sum of ``grad * x`` over what shares a number of the factor: of a single one without a product in memory."""
    if factor.numel() == 1:
        return torch.dot(grad.reshape(-1), x.reshape(-1)).reshape(factor.shape)
    return (grad * x).sum_to_size(factor.shape)


def _applied(function: Any, *given: Any) -> Tensor:
    """``function.apply``; outside of vmap without what it does for vmap, which takes longer than a small operator."""
    if torch._C._are_functorch_transforms_active():
        return function.apply(*given)
    return super(torch.autograd.Function, function).apply(*given)


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """Nearest whole number of ``x * factor``, or of ``x / factor``; the gradient passes where nothing saturated.

    One operator instead of four, as most of a step is spent between convolutions; ``factor`` broadcasts.
    """

    @staticmethod
    def forward(x: Tensor, factor: Tensor, divides: bool, low: float, high: float) -> Tensor:
        return (x / factor if divides else x * factor).round_().clamp_(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, factor, ctx.divides, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x, factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, factor = ctx.saved_tensors
        low, high, inverse = ctx.low - _EDGE, ctx.high + _EDGE, factor.reciprocal()
        times = inverse if ctx.divides else factor
        if factor.numel() == 1:  # the limits in the input's own numbers spare a pass over it
            unit = float(factor if ctx.divides else inverse)
            passed = torch.ops.aten.hardtanh_backward(grads[0], x, low * unit, high * unit)
        else:
            passed = torch.ops.aten.hardtanh_backward(grads[0], x * times, low, high)
        wanted = None
        if ctx.needs_input_grad[1]:
            wanted = _of_factor(passed, x, factor)
            wanted = -wanted * inverse * inverse if ctx.divides else wanted
        return passed.mul_(times), wanted, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], x: Tensor, factor: Tensor, divides: bool, low: float, high: float
    ) -> tuple[Tensor, int]:
        """Over samples, which lie along the first axis; all of them share a factor."""
        return _Round.apply(x.movedim(in_dims[0], 0), factor, divides, low, high), 0


class _Scaled(torch.autograd.Function):  # type: ignore[misc]
    """``x * factor``, whose gradient takes one pass over memory for each of the two."""

    @staticmethod
    def forward(x: Tensor, factor: Tensor) -> Tensor:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, factor = ctx.saved_tensors
        wanted = _of_factor(grads[0], x, factor) if ctx.needs_input_grad[1] else None
        return grads[0] * factor if ctx.needs_input_grad[0] else None, wanted

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, factor: Tensor) -> tuple[Tensor, int]:
        """Over samples, which lie along the first axis; all of them share a factor."""
        return _Scaled.apply(x.movedim(in_dims[0], 0), factor), 0


def round_to_codes(value: Value, scale: Tensor, low: float, high: float) -> Steps:
    """The value on a grid.

    Args:
        low, high: least and largest code, less the zero point.
    """
    if not isinstance(value, Steps):
        return Steps(_applied(_Round, value, scale, True, low, high), scale)
    if value.mean:
        return Steps(_applied(_Round, value.integers, scale / value.scale, True, low, high), scale)
    return Steps(_applied(_Round, value.integers, value.scale / scale, False, low, high), scale)


class _Whole(torch.autograd.Function):  # type: ignore[misc]
    """Nearest whole number inside limits; the gradient passes where nothing saturated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(x)
        return x.round().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grads[0], x, ctx.low - _EDGE, ctx.high + _EDGE), None, None


def whole_codes(shown: Tensor, low: float, high: float) -> Tensor:
    """Weights in steps of their grid as codes; the gradient passes as if nothing were rounded."""
    return _Whole.apply(shown, low, high)


def values_of(value: Value) -> Tensor:
    """The values themselves."""
    return value.values if isinstance(value, Steps) else value
