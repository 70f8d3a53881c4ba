"""Second-order rounding: each weight is rounded so that the errors of a layer's weights cancel on real inputs.

For one output channel the squared error of a layer is ``d H d^T`` with ``d`` the rounding errors and ``H`` the second
moments of its inputs. Weights are rounded one after the other; the error of each is spread over those that are still
free, in the proportion that the Cholesky factor of ``H^-1`` gives (Optimal Brain Quantization in GPTQ's order). Then
each weight in turn moves to the code that suits all others best, until a turn brings next to nothing. A channel for
which that is not better than nearest rounding keeps nearest rounding. Nothing here draws random numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.grid import CODE_MAX
from n6convert.quantization.walk import Layer

__all__ = ["round_layer", "round_rows", "second_moments"]

Matrix = NDArray[np.float64]
#: rows (positions) of one layer that enter its second moments, over all samples
_ROWS = 8192
_DAMPING = 0.01
_BLOCK = 64
_EXACT = 2e-3
#: turns of settling at most, and the share of the error that a turn must take away for another one to follow
_TURNS, _ENOUGH = 8, 0.02


def round_layer(layer: Layer, weight: NDArray[np.float32]) -> None:
    """Choose the layer's integer weights for the float weights given, on the inputs that reach it."""
    rows = _as_rows(layer.node, weight)
    if rows is None:
        return
    codes, scales = layer.initializer(1), layer.initializer(1, 1)
    assert codes.const_value is not None and scales.const_value is not None
    if _is_on_grid(rows, scales.const_value.numpy()):
        return
    groups = layer.node.attributes.get_int("group", 1)
    moments = second_moments(layer, rows.shape[1], groups)
    parts = np.split(rows, groups)
    steps = np.split(scales.const_value.numpy(), groups)
    rounded = [round_rows(w, s, h) for w, s, h in zip(parts, steps, moments, strict=True)]
    codes.const_value = ir.tensor(_from_rows(layer.node, np.concatenate(rounded), weight.shape), name=codes.name)


def _is_on_grid(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> bool:
    """Whether rounding changes nothing, as for weights that were int8 before."""
    target = rows / scales[:, None]
    return bool(np.abs(target - np.rint(target)).max(initial=0.0) < _EXACT)


def round_rows(
    rows: NDArray[np.float32], scales: NDArray[np.float32], moments: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Integer weights ``[outputs, inputs]`` for one scale an output and the inputs' second moments."""
    target = rows.astype(np.float64) / scales[:, None]
    nearest = np.clip(np.rint(target), -CODE_MAX, CODE_MAX)
    size = moments.shape[0]
    damped = moments + np.eye(size) * (_DAMPING * np.trace(moments) / size + 1e-12)
    order = np.argsort(-np.diag(moments), kind="stable")
    try:
        factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    except np.linalg.LinAlgError:
        return nearest.astype(np.int8)
    codes = np.empty_like(nearest)
    codes[:, order] = _sweep(target[:, order], factor)
    codes = _settle(target, codes, damped)
    better = _cost(target - codes, damped) < _cost(target - nearest, damped)
    return np.where(better[:, None], codes, nearest).astype(np.int8)


def _sweep(target: Matrix, factor: Matrix) -> Matrix:
    """Round column by column; within a block at once, the rest of the matrix after each block."""
    left, codes = target.copy(), np.empty_like(target)
    size = target.shape[1]
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        errors = np.zeros((target.shape[0], end - start))
        for i in range(start, end):
            codes[:, i] = np.clip(np.rint(left[:, i]), -CODE_MAX, CODE_MAX)
            errors[:, i - start] = (left[:, i] - codes[:, i]) / factor[i, i]
            left[:, i + 1 : end] -= np.outer(errors[:, i - start], factor[i, i + 1 : end])
        left[:, end:] -= errors @ factor[start:end, end:]
    return codes


def _settle(target: Matrix, codes: Matrix, moments: Matrix) -> Matrix:
    """Coordinate descent over the codes; no turn makes a row worse."""
    cost = _cost(target - codes, moments).sum()
    for _ in range(_TURNS):
        pull = (target - codes) @ moments
        for i in range(codes.shape[1]):
            better = np.clip(codes[:, i] + np.rint(pull[:, i] / moments[i, i]), -CODE_MAX, CODE_MAX)
            step = better - codes[:, i]
            moved = np.flatnonzero(step)
            if moved.size:
                codes[moved, i] += step[moved]
                pull[moved] -= np.outer(step[moved], moments[i])
        before, cost = cost, _cost(target - codes, moments).sum()
        if cost > (1 - _ENOUGH) * before:
            break
    return codes


def _cost(errors: Matrix, moments: Matrix) -> Matrix:
    cost: Matrix = np.einsum("ij,ij->i", errors @ moments, errors)
    return cost


def second_moments(layer: Layer, size: int, groups: int) -> list[NDArray[np.float64]]:
    """``X^T X`` of the rows that each group's weights multiply, over the samples."""
    total = np.zeros((groups, size, size))
    share = max(_ROWS // max(layer.samples, 1), 64)
    for values in layer.inputs():
        for group, rows in enumerate(_patches(layer.node, values, size, groups, share)):
            total[group] += rows.T @ rows
    return list(total)


def _patches(
    node: ir.Node, values: NDArray[np.float32], size: int, groups: int, share: int
) -> Iterable[NDArray[np.float32]]:
    """Rows of inputs under the kernel, evenly chosen positions, one array a group."""
    if node.op_type == "Gemm":
        flat = values.T if node.attributes.get_int("transA", 0) else values
        yield _evenly(flat, share)
        return
    kernel = list(node.attributes.get_ints("kernel_shape", [])) or _kernel(node)
    rank = len(kernel)
    strides = list(node.attributes.get_ints("strides", [1] * rank))
    dilations = list(node.attributes.get_ints("dilations", [1] * rank))
    pads = list(node.attributes.get_ints("pads", [0] * (2 * rank)))
    widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    padded = np.pad(values, widths)
    windows = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, windows, axis=tuple(range(2, 2 + rank)))
    steps: list[Any] = [slice(None, None, s) for s in (1, 1, *strides, *dilations)]
    view = view[tuple(steps)]
    channels = values.shape[1] // groups
    positions = _positions(view.shape[2 : 2 + rank], share)
    index: list[Any] = [slice(None), *positions]
    picked = view[0][tuple(index)]  # [channels, positions, *kernel]
    for group in range(groups):
        part = picked[group * channels : (group + 1) * channels]
        yield np.ascontiguousarray(np.moveaxis(part, 0, 1)).reshape(-1, size)


def _positions(shape: tuple[int, ...], share: int) -> tuple[NDArray[np.int64], ...]:
    count = int(np.prod(shape))
    flat = np.linspace(0, count - 1, min(share, count)).astype(np.int64)
    return tuple(np.asarray(i, np.int64) for i in np.unravel_index(flat, shape))


def _evenly(rows: NDArray[np.float32], share: int) -> NDArray[np.float32]:
    return rows[:: max(-(-rows.shape[0] // share), 1)]


def _kernel(node: ir.Node) -> list[int]:
    shape = node.inputs[1].shape if node.inputs[1] is not None else None
    return [d for d in list(shape or [])[2:] if isinstance(d, int)]


def _as_rows(node: ir.Node, weight: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Weights as ``[outputs, inputs]``; None for operators and paddings that are not handled."""
    if node.op_type == "Gemm":
        return weight if node.attributes.get_int("transB", 0) else np.ascontiguousarray(weight.T)
    if node.op_type != "Conv" or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return weight.reshape(weight.shape[0], -1)


def _from_rows(node: ir.Node, rows: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return np.ascontiguousarray(rows.T)
    return rows.reshape(shape)
