"""Pools, means, sums, maxima, and the norms that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from n6convert.tuning.fake_quantization import Steps, Value, values_of
from n6convert.tuning.operators.node import Node, Operator, whole_numbers
from n6convert.tuning.operators.products import padded
from n6convert.tuning.tensor import Tensor

__all__ = ["REDUCTIONS"]

_EMPTY = float("-inf")


def _counted(value: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """A linear function, of the integers where the value is on one grid."""
    if isinstance(value, Steps) and value.scale.numel() == 1:
        return Steps(function(value.integers), value.scale, mean=True)
    return function(values_of(value))


def _picked(value: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """A function that picks some of the values."""
    if isinstance(value, Steps) and value.scale.numel() == 1:
        return Steps(function(value.integers), value.scale)
    return function(values_of(value))


def _axes(node: Node, operands: Sequence[Any], x: Tensor) -> list[int]:
    given = node.get("axes") if len(operands) < 2 or operands[1] is None else whole_numbers(operands[1]).tolist()
    return list(range(x.dim())) if not given else [axis % x.dim() for axis in given]


def _sum(node: Node, operands: Sequence[Any], mean: bool) -> Value:
    def function(x: Tensor) -> Tensor:
        axes = _axes(node, operands, x)
        total = x.sum(axes, keepdim=bool(node.get("keepdims", 1)))
        return total / prod(x.shape[a] for a in axes) if mean else total

    return _counted(operands[0], function)


def _largest(node: Node, operands: Sequence[Any], least: bool) -> Value:
    def function(x: Tensor) -> Tensor:
        axes, keep = _axes(node, operands, x), bool(node.get("keepdims", 1))
        return (torch.amin if least else torch.amax)(x, axes, keepdim=keep)

    return _picked(operands[0], function)


def _sides(node: Node) -> tuple[list[int], list[int]]:
    kernel = list(node.get("kernel_shape"))
    return kernel, list(node.get("strides") or [1] * len(kernel))


def _average_pool(node: Node, operands: Sequence[Any]) -> Value:
    rank = len(node.get("kernel_shape"))

    def pooled(x: Tensor) -> Tensor:
        inner, ones = padded(node, x, rank), torch.ones_like(x[:1, :1])
        known = torch.ones_like(inner[:1, :1]) if node.get("count_include_pad", 0) else padded(node, ones, rank)
        return _window_sums(node, inner) / _window_sums(node, known)

    return _counted(operands[0], pooled)


def _window_sums(node: Node, x: Tensor) -> Tensor:
    kernel, strides = _sides(node)
    upwards = bool(node.get("ceil_mode", 0))
    if len(kernel) == 1:
        return F.avg_pool2d(x[:, :, None], [1, *kernel], [1, *strides], 0, upwards, divisor_override=1)[:, :, 0]
    function = F.avg_pool2d if len(kernel) == 2 else F.avg_pool3d
    return function(x, kernel, strides, 0, upwards, divisor_override=1)


def _max_pool(node: Node, operands: Sequence[Any]) -> Value:
    kernel, strides = _sides(node)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    dilations = node.get("dilations") or [1] * len(kernel)

    def pooled(x: Tensor) -> Tensor:
        inner = padded(node, x, len(kernel), _EMPTY)
        return function(inner, kernel, strides, 0, dilations, bool(node.get("ceil_mode", 0)))

    return _picked(operands[0], pooled)


def _global_average(node: Node, operands: Sequence[Any]) -> Value:
    def mean(x: Tensor) -> Tensor:
        return x.sum(list(range(2, x.dim())), keepdim=True) / prod(x.shape[2:])

    return _counted(operands[0], mean)


def _global_max(node: Node, operands: Sequence[Any]) -> Value:
    return _picked(operands[0], lambda x: torch.amax(x, list(range(2, x.dim())), keepdim=True))


def _batch_norm(node: Node, operands: Sequence[Any]) -> Tensor:
    x, scale, bias, mean, variance = (values_of(o) for o in operands[:5])
    return F.batch_norm(x, mean, variance, scale, bias, eps=node.get("epsilon", 1e-5))


def _layer_norm(node: Node, operands: Sequence[Any]) -> Tensor:
    x, scale, bias = [*(values_of(o) for o in operands), None][:3]
    axis = node.get("axis", -1) % x.dim()
    return F.layer_norm(x, list(x.shape[axis:]), scale, bias, node.get("epsilon", 1e-5))


def _instance_norm(node: Node, operands: Sequence[Any]) -> Tensor:
    x, scale, bias = (values_of(o) for o in operands[:3])
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


REDUCTIONS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": _max_pool,
    "ReduceMax": lambda node, operands: _largest(node, operands, False),
    "ReduceMean": lambda node, operands: _sum(node, operands, True),
    "ReduceMin": lambda node, operands: _largest(node, operands, True),
    "ReduceSum": lambda node, operands: _sum(node, operands, False),
}
