"""Convolutions and matrix products: of integers where both sides are on grids, so that sums are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F

from n6convert.tuning.fake_quantization import Steps, Value, values_of
from n6convert.tuning.operators.node import Node, Operator
from n6convert.tuning.tensor import Tensor

__all__ = ["PRODUCTS", "padded"]

_Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _multiplied(operands: Sequence[Any], product: _Product, axis: int) -> Value:
    """A product and what is added to it; ``axis`` is that of the channels in the output."""
    x, w, bias = [*operands, None][:3]
    whole = isinstance(x, Steps) and isinstance(w, Steps) and (bias is None or isinstance(bias, Steps))
    if not whole or x.scale.numel() != 1:
        return product(values_of(x), values_of(w), None if bias is None else values_of(bias))
    sums = product(x.integers, w.integers, None if bias is None else bias.integers)
    scale = x.scale * w.scale.reshape(-1) if w.scale.numel() > 1 else x.scale * w.scale.reshape(())
    if scale.dim():
        shape = [1] * sums.dim()
        shape[axis] = -1
        scale = scale.repeat(sums.shape[axis] // scale.numel()).reshape(shape)
    return Steps(sums, scale)


def padded(node: Node, x: Tensor, rank: int, value: float = 0.0) -> Tensor:
    """The input with the node's padding around it, by ``pads`` or ``auto_pad``.

    Args:
        node: a convolution or pool.
        x: its input.
        rank: axes that are padded.
        value: of the padding.
    """
    pads = list(node.get("pads") or [0] * 2 * rank)
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(node, x, rank, auto == "SAME_LOWER")
    if not any(pads):
        return x
    order = [size for axis in reversed(range(rank)) for size in (pads[axis], pads[axis + rank])]
    return F.pad(x, order, value=value)


def _same(node: Node, x: Tensor, rank: int, lower: bool) -> list[int]:
    strides, dilations = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    kernel = node.get("kernel_shape")
    before, after = [], []
    for axis in range(rank):
        size = int(x.shape[2 + axis])
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
        first = -(-total // 2) if lower else total // 2
        before.append(first)
        after.append(total - first)
    return before + after


def _conv(node: Node, operands: Sequence[Any]) -> Value:
    rank = values_shape(operands[1]) - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    stride, dilation = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    if set(_shape(operands[1])[2:]) == {1}:
        dilation = [2] * rank  # says nothing here, but torch runs what is not dilated on one thread group by group
    pads, groups = list(node.get("pads") or [0] * 2 * rank), node.get("group", 1)
    even = pads[:rank] == pads[rank:] and node.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")

    def product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        inner = x if even else padded(node, x, rank)
        return function(inner, w, bias, stride, pads[:rank] if even else 0, dilation, groups)

    return _multiplied(operands, product, 1)


def _conv_transpose(node: Node, operands: Sequence[Any]) -> Value:
    rank = values_shape(operands[1]) - 2
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    stride, dilation = node.get("strides") or [1] * rank, node.get("dilations") or [1] * rank
    pads, more = list(node.get("pads") or [0] * 2 * rank), list(node.get("output_padding") or [0] * rank)
    groups = node.get("group", 1)

    def product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        whole = function(x, w, bias, stride, 0, more, groups, dilation)
        ends = [size - b for size, b in zip(whole.shape[2:], pads[rank:], strict=True)]
        inside = [slice(a, end) for a, end in zip(pads[:rank], ends, strict=True)]
        return whole[(slice(None), slice(None), *inside)]

    result = _multiplied(operands, product, 1)
    return Steps(result.integers, result.scale, mean=True) if isinstance(result, Steps) else result


def _gemm(node: Node, operands: Sequence[Any]) -> Value:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)

    def product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        a, b = (a.T if node.get("transA", 0) else a), (b.T if node.get("transB", 0) else b)
        made = a @ b if alpha == 1 else alpha * (a @ b)
        return made if bias is None else made + (bias if beta == 1 else beta * bias)

    return _multiplied(operands, product, 1)


def _matmul(node: Node, operands: Sequence[Any]) -> Value:
    left = operands[0]
    if isinstance(left, Steps) and left.scale.numel() > 1:  # a constant on the left has one scale per row
        return values_of(left) @ values_of(operands[1])
    return _multiplied(operands, lambda a, b, bias: a @ b, -1)


def _shape(value: Value) -> tuple[int, ...]:
    return tuple((value.integers if isinstance(value, Steps) else value).shape)


def values_shape(value: Value) -> int:
    """Number of axes."""
    return len(_shape(value))


PRODUCTS: dict[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
