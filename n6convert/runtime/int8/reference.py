"""INT8 QDQ graphs computed operator by operator in integers, to hold every other way of running them against.

A quantized operator is a real function of integers: products and sums of ``code - zero point``, times a scale. Here the
integers are summed without any rounding (float64 holds them up to 2^53), and only the last step divides by the output's
scale. What a session gives may lie half a step away from that quotient and no more, but for what onnxruntime rounds to
float32 on the way: its codes differ from the right ones only where the quotient lies on a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.runtime.session import Session
from n6convert.types import Feeds

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["TIE", "operator_result", "steps_off"]

Array = NDArray[np.float64]
#: steps around the middle between two codes where float32 may round either way: it holds 24 bits, an operator rounds at
#: most six times, and what it adds is at most 2^12 steps large where its result is not cut off
TIE = 6 * 2.0**12 / 2**25


@dataclass(frozen=True)
class _Operand:
    """Whole numbers, and what one is worth (a number, or one per channel in a shape that broadcasts)."""

    integers: Array
    scale: Array

    @property
    def values(self) -> Array:
        return self.integers * self.scale


def steps_off(
    model: ir.Model, feeds: Feeds, *, run: Callable[[ir.Model, Feeds], Feeds] | None = None
) -> dict[str, float]:
    """The largest distance in steps between the codes of each quantized tensor and their exact values before rounding.

    One half is right. Each operator is computed from the codes that its inputs really have, so nothing adds up.

    Args:
        model: INT8 QDQ graph.
        run: runs a model; default :class:`~n6convert.runtime.session.Session`.
    """
    codes = _codes(model, feeds, run or (lambda m, f: Session(m).run(f)))
    found = {}
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and (made := node.inputs[0].producer() if node.inputs[0] else None):
            name = node.outputs[0].name or ""
            scale, zero = (_array(v).astype(np.float64) for v in node.inputs[1:3])
            limits = np.iinfo(codes[name].dtype)
            exact = np.clip(operator_result(made, codes) / scale + zero, limits.min, limits.max)
            found[name] = float(np.abs(codes[name] - exact).max(initial=0.0))
    return found


def operator_result(node: ir.Node, codes: Mapping[str, NDArray[Any]]) -> Array:
    """What an operator gives before its output is rounded.

    Args:
        codes: of the tensors that it reads behind their DequantizeLinear, by name.
    """
    operands = [_operand(value, codes) for value in node.inputs]
    known = _OPERATORS.get(node.op_type)
    return known(node, operands) if known is not None else _by_definition(node, operands)


def _codes(model: ir.Model, feeds: Feeds, run: Callable[[ir.Model, Feeds], Feeds]) -> dict[str, NDArray[Any]]:
    copy = model.clone()
    quantizers = [n for n in copy.graph if n.op_type == "QuantizeLinear"]
    copy.graph.outputs.extend(n.outputs[0] for n in quantizers if not n.outputs[0].is_graph_output())
    return {**feeds, **run(copy, feeds)}


def _operand(value: ir.Value | None, codes: Mapping[str, NDArray[Any]]) -> _Operand | None:
    """The operand behind a DequantizeLinear; a constant or another tensor as it is."""
    if value is None:
        return None
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return _Operand(np.asarray(_array(value) if value.const_value is not None else codes[value.name or ""]), _ONE)
    held, scale, zero = node.inputs[0], *(_array(v).astype(np.float64) for v in node.inputs[1:3])
    assert held is not None
    integers = (_array(held) if held.const_value is not None else codes[held.name or ""]).astype(np.float64)
    if scale.ndim:
        shape = np.ones(integers.ndim, int)
        shape[node.attributes.get_int("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return _Operand(integers - zero, scale)


def _array(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None, value
    return value.const_value.numpy()


_ONE = np.array(1.0)


def _conv(node: ir.Node, operands: list[_Operand | None]) -> Array:
    x, w, bias = [*operands, None][:3]
    assert x is not None and w is not None
    kernel, spatial = w.integers.shape[2:], x.integers.ndim - 2
    strides, dilations = (node.attributes.get_ints(k, [1] * spatial) for k in ("strides", "dilations"))
    windows = _windows(x.integers, kernel, strides, dilations, node.attributes.get_ints("pads", [0] * 2 * spatial), 0.0)
    groups = node.attributes.get_int("group", 1)
    parts = [
        np.tensordot(k, v, (range(1, spatial + 2), [1, *range(spatial + 2, 2 * spatial + 2)])).swapaxes(0, 1)
        for k, v in zip(np.split(w.integers, groups), np.split(windows, groups, axis=1), strict=True)
    ]
    return _scaled(np.concatenate(parts, axis=1), x, w.scale.reshape(-1), bias, axis=1)


def _conv_transpose(node: ir.Node, operands: list[_Operand | None]) -> Array:
    x, w, bias = [*operands, None][:3]
    assert x is not None and w is not None
    kernel, spatial = w.integers.shape[2:], x.integers.ndim - 2
    strides, dilations = (node.attributes.get_ints(k, [1] * spatial) for k in ("strides", "dilations"))
    more, pads = (node.attributes.get_ints(k, [0] * 2 * spatial) for k in ("output_padding", "pads"))
    groups = node.attributes.get_int("group", 1)
    steps = list(zip(x.integers.shape[2:], strides, kernel, dilations, more, strict=False))
    size = [(n - 1) * s + (k - 1) * d + 1 + extra for n, s, k, d, extra in steps]
    parts = []
    for values, weights in zip(np.split(x.integers, groups, axis=1), np.split(w.integers, groups), strict=True):
        part = np.zeros((len(values), weights.shape[1], *size))
        for at in np.ndindex(*kernel):
            reached = [slice(a * d, a * d + (n - 1) * s + 1, s) for a, (n, s, _, d, _) in zip(at, steps, strict=True)]
            product = np.tensordot(values, weights[(slice(None), slice(None), *at)], (1, 0))
            part[(slice(None), slice(None), *reached)] += np.moveaxis(product, -1, 1)
        parts.append(part)
    inside = [slice(a, n - b) for a, b, n in zip(pads[:spatial], pads[spatial:], size, strict=True)]
    sums = np.concatenate(parts, axis=1)[(slice(None), slice(None), *inside)]
    return _scaled(sums, x, np.tile(w.scale.reshape(-1), groups if w.scale.size > 1 else 1), bias, axis=1)


def _gemm(node: ir.Node, operands: list[_Operand | None]) -> Array:
    x, w, bias = [*operands, None][:3]
    assert x is not None and w is not None
    matrix = w.integers.T if node.attributes.get_int("transB", 0) else w.integers
    return _scaled(x.integers @ matrix, x, w.scale.reshape(-1), bias, axis=1)


def _matmul(node: ir.Node, operands: list[_Operand | None]) -> Array:
    x, w = operands
    assert x is not None and w is not None
    return _scaled(x.integers @ w.integers, x, w.scale.reshape(-1), None, axis=-1)


def _scaled(sums: Array, x: _Operand, scales: Array, bias: _Operand | None, axis: int) -> Array:
    """Sums and bias as values; a bias counts in steps of the product, as every integer kernel adds it."""
    shape = np.ones(sums.ndim, int)
    shape[axis] = -1
    if bias is not None:
        sums = sums + bias.integers.reshape(shape)
    result: Array = sums * x.scale * (scales.reshape(shape) if scales.size > 1 else scales)
    return result


def _average_pool(node: ir.Node, operands: list[_Operand | None]) -> Array:
    x = operands[0]
    assert x is not None
    if node.op_type == "GlobalAveragePool":
        means: Array = x.integers.mean(axis=tuple(range(2, x.integers.ndim)), keepdims=True) * x.scale
        return means
    kernel = node.attributes.get_ints("kernel_shape", [])
    strides = node.attributes.get_ints("strides", [1] * len(kernel))
    pads = node.attributes.get_ints("pads", [0] * 2 * len(kernel))
    axes = tuple(range(-len(kernel), 0))
    sums = _windows(x.integers, kernel, strides, [1] * len(kernel), pads, 0.0).sum(axis=axes)
    inside = _windows(np.ones_like(x.integers), kernel, strides, [1] * len(kernel), pads, 0.0).sum(axis=axes)
    counts = np.prod(kernel) if node.attributes.get_int("count_include_pad", 0) else inside
    averages: Array = sums / counts * x.scale
    return averages


def _windows(x: Array, kernel: Any, strides: Any, dilations: Any, pads: Any, filler: float) -> Array:
    """Windows behind all other axes: [N, C, *positions, *kernel]."""
    n = len(kernel)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)], constant_values=filler)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, n + 2)))
    steps = [slice(None, None, s) for s in (*strides, *dilations)]
    return views[(slice(None), slice(None), *steps)]


def _elementwise(function: Callable[[Array, Array], Array]) -> Callable[[ir.Node, list[_Operand | None]], Array]:
    def result(node: ir.Node, operands: list[_Operand | None]) -> Array:
        a, b = operands
        assert a is not None and b is not None
        return function(a.values, b.values)

    return result


def _by_definition(node: ir.Node, operands: list[_Operand | None]) -> Array:
    """The operator by its definition in onnx, in float64 where its values are float."""
    import onnx
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    arrays = [None if o is None else o.values if o.integers.dtype.kind == "f" else o.integers for o in operands]
    names = ["" if a is None else f"i{k}" for k, a in enumerate(arrays)]
    one = onnx.helper.make_node(node.op_type, names, ["y"])
    one.attribute.extend(ir.to_proto(a) for a in node.attributes.values())
    results = ReferenceEvaluator(one).run(None, {n: a for n, a in zip(names, arrays, strict=True) if a is not None})
    return np.asarray(next(iter(results)), np.float64)


_OPERATORS: dict[str, Callable[[ir.Node, list[_Operand | None]], Array]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _average_pool,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(np.divide),
}
