"""Functions of each value, and of two or more values at the same place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from n6convert.tuning.fake_quantization import values_of
from n6convert.tuning.operators.node import Node, Operator
from n6convert.tuning.tensor import Tensor

__all__ = ["ELEMENTWISE"]

#: beyond every grid, and its quotient by any scale is finite
_HUGE = 1e25


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda node, operands: function(values_of(operands[0]))


class _Finite(torch.autograd.Function):  # type: ignore[misc]
    """Values whose gradient from here is 0 where it is not finite, as behind a root or a quotient of 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is needed later."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.nan_to_num(grads[0], nan=0.0, posinf=0.0, neginf=0.0)


def _steep(function: Callable[..., Tensor]) -> Operator:
    """A function that may leave the finite numbers: they saturate on any grid, and so does what stands for them."""
    return lambda node, operands: function(*(_Finite.apply(values_of(o)) for o in operands)).clamp(-_HUGE, _HUGE)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, operands: function(values_of(operands[0]), values_of(operands[1]))


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, operands: reduce(function, [values_of(o) for o in operands])


def _clip(node: Node, operands: Sequence[Any]) -> Tensor:
    bounds = [*operands[1:], None, None][:2]
    low, high = (None if b is None else float(b) for b in bounds)
    low, high = node.get("min", low), node.get("max", high)
    return values_of(operands[0]).clamp(low, high) if (low, high) != (None, None) else values_of(operands[0])


def _hard_sigmoid(node: Node, operands: Sequence[Any]) -> Tensor:
    return (values_of(operands[0]) * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0.0, 1.0)


def _hard_swish(x: Tensor) -> Tensor:
    return x * (x / 6 + 0.5).clamp(0.0, 1.0)


def _softmax(node: Node, operands: Sequence[Any]) -> Tensor:
    function = F.log_softmax if node.op == "LogSoftmax" else F.softmax
    return function(values_of(operands[0]), dim=node.get("axis", -1))


def _where(node: Node, operands: Sequence[Any]) -> Tensor:
    first, second = values_of(operands[1]), values_of(operands[2])
    return torch.where(torch.as_tensor(operands[0]).bool().to(first.device), first, second)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * slope)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    """As a product where the exponent is 2: the gradient is then finite everywhere."""
    if exponent.numel() == 1 and not exponent.requires_grad and float(exponent) == 2.0:
        return base * base
    return torch.pow(base, exponent)


def _gelu(node: Node, operands: Sequence[Any]) -> Tensor:
    return F.gelu(values_of(operands[0]), approximate=node.get("approximate", "none"))


def _with(name: str, default: float, function: Callable[[Tensor, float], Tensor]) -> Operator:
    return lambda node, operands: function(values_of(operands[0]), node.get(name, default))


ELEMENTWISE: dict[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "Celu": _with("alpha", 1.0, F.celu),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _steep(torch.div),
    "Elu": _with("alpha", 1.0, F.elu),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(_hard_swish),
    "LeakyRelu": _with("alpha", 0.01, F.leaky_relu),
    "Log": _steep(torch.log),
    "LogSoftmax": _softmax,
    "Max": _many(torch.maximum),
    "Min": _many(torch.minimum),
    "Mish": _unary(F.mish),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "PRelu": _binary(_prelu),
    "Pow": _steep(_power),
    "Reciprocal": _steep(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Sigmoid": _unary(torch.sigmoid),
    "Sin": _unary(torch.sin),
    "Softmax": _softmax,
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Sqrt": _steep(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _many(torch.add),
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": _with("alpha", 1.0, lambda x, alpha: x * (x > alpha)),
    "Where": _where,
}
