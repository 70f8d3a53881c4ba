"""Making nodes with known shapes, so that the next rule can read them without shape inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import RewriteError
from n6convert.graph.query import attribute, broadcast_shape, constant_of, shape_of

__all__ = ["AXIS_LIMIT", "Builder"]

Array = NDArray[Any]
_CONCAT_INPUTS, _CONCAT_AT_MOST = 4, 7
AXIS_LIMIT = 1 << 16  # a longer axis is refused by ST's import ([#import])


class Builder:
    """Collects the nodes of one replacement. Every method returns a value whose shape and type are set.

    Args:
        graph: the graph that will receive the nodes; constants become its initializers.
        prefix: names start with it; the engine makes it unique.
        opset: version of the default operator set of the model.
    """

    def __init__(self, graph: ir.Graph, prefix: str, opset: int) -> None:
        self.graph = graph
        self.prefix = prefix
        self.opset = opset
        self.nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []
        self._count = 0

    def discard(self) -> None:
        """Take back everything that was made."""
        for node in reversed(self.nodes):
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
        self.nodes.clear()
        for value in self._constants:
            self.graph.initializers.pop(str(value.name), None)

    def constant(self, array: Any, dtype: type = np.float32) -> ir.Value:
        """An initializer."""
        data: Array = np.ascontiguousarray(np.asarray(array, dtype=dtype))
        name = self._name("c")
        value = ir.Value(
            name=name,
            shape=ir.Shape(data.shape),
            type=ir.TensorType(_DTYPES[np.dtype(dtype)]),
            const_value=ir.Tensor(data, name=name),
        )
        self.graph.register_initializer(value)
        self._constants.append(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        shapes: Sequence[Sequence[int]],
        **attributes: Any,
    ) -> tuple[ir.Value, ...]:
        """A node with as many outputs as shapes are given; element type as the first input.

        Args:
            op: ONNX operator.
            inputs: values; None for one that is left out.
            shapes: of the outputs, which also say how many there are.
        """
        kind = next((v.type for v in inputs if v is not None), ir.TensorType(ir.DataType.FLOAT))
        outputs = [ir.Value(name=self._name(op.lower()), shape=ir.Shape(list(s)), type=kind) for s in shapes]
        name = outputs[0].name
        self.nodes.append(
            ir.node(op, inputs, {k: v for k, v in attributes.items() if v is not None}, outputs=outputs, name=name)
        )
        return tuple(outputs)

    def unary(self, op: str, x: ir.Value, **attributes: Any) -> ir.Value:
        """An operator that keeps the shape."""
        return self.node(op, [x], [shape(x)], **attributes)[0]

    def binary(self, op: str, a: ir.Value, b: ir.Value | Array | float) -> ir.Value:
        """Add, Sub, Mul ... with numpy's broadcasting; arrays and numbers become constants.

        Args:
            op: ONNX operator.
            a: an activation.
            b: the other operand.
        """
        other = b if isinstance(b, ir.Value) else self.constant(b)
        return self.node(op, [a, other], [broadcast_shape(shape(a), shape(other))])[0]

    def add(self, a: ir.Value, b: ir.Value | Array | float) -> ir.Value:
        """a + b."""
        return self.binary("Add", a, b)

    def sub(self, a: ir.Value, b: ir.Value | Array | float) -> ir.Value:
        """a - b."""
        return self.binary("Sub", a, b)

    def mul(self, a: ir.Value, b: ir.Value | Array | float) -> ir.Value:
        """a * b."""
        return self.binary("Mul", a, b)

    def reshape(self, x: ir.Value, to: Sequence[int]) -> ir.Value:
        """The same elements in another shape; nothing when the shape is that already."""
        if shape(x) == tuple(to):
            return x
        data = constant_of(x)
        if data is not None:
            return self.constant(data.reshape(to), data.dtype.type)
        return self._held("Reshape", x, to) or self.node("Reshape", [x, self.constant(list(to), np.int64)], [to])[0]

    def transpose(self, x: ir.Value, perm: Sequence[int]) -> ir.Value:
        """Axes in another order; nothing for the order they have."""
        if list(perm) == list(range(len(perm))):
            return x
        data = constant_of(x)
        if data is not None:
            return self.constant(data.transpose(perm), data.dtype.type)
        to = [shape(x)[p] for p in perm]
        order = [p for p in perm if p and shape(x)[p] != 1]
        if perm[0] == 0 and shape(x)[0] == 1 and len(order) < len(perm) - 1 and len(order) <= 2:  # axes of size 1
            return self.swap(x, shape(x)[order[1]], to) if order != sorted(order) else self.reshape(x, to)
        return self._held("Transpose", x, to, list(perm)) or self.node("Transpose", [x], [to], perm=list(perm))[0]

    def swap(self, x: ir.Value, first: int, to: Sequence[int]) -> ir.Value:
        """[1, first, rest] -> [1, rest, first], seen as ``to``: the transpose that every core does in hardware.

        A side above the compiler's limit of 65,535 is taken as two axes: (0,2,3,1) and (0,3,1,2) are hardware as well.

        Args:
            x: [1, first * rest elements].
            first: length of the outer block.
            to: shape of the result.
        """
        rest = math.prod(shape(x)) // first
        if rest >= AXIS_LIMIT:
            turned = self.transpose(self.reshape(x, [1, first, *_factors(rest)]), [0, 2, 3, 1])
        elif first >= AXIS_LIMIT:
            turned = self.transpose(self.reshape(x, [1, *_factors(first), rest]), [0, 3, 1, 2])
        else:
            turned = self.transpose(self.reshape(x, [1, first, rest]), [0, 2, 1])
        return self.reshape(turned, to)

    def as_map(self, x: ir.Value, axis: int) -> ir.Value:
        """A tensor with its channels along ``axis``, the second of four or the last one, as a map [1, C, h, w]."""
        full = shape(x)
        if (axis, len(full)) == (1, 4):
            return x
        rows = math.prod(full) // full[axis]
        return self.swap(x, rows, [1, full[axis], 1, rows])

    def from_map(self, y: ir.Value, axis: int, to: Sequence[int]) -> ir.Value:
        """The way back from :meth:`as_map`, to the shape ``to``.

        Args:
            y: [1, c, h, w], as :meth:`as_map` made it.
            axis: the axis that became the channels.
            to: shape of the result.
        """
        return y if (axis, len(to)) == (1, 4) else self.swap(y, shape(y)[1], to)

    def conv(
        self, x: ir.Value, weight: Array | ir.Value, bias: Array | ir.Value | None = None, **attributes: Any
    ) -> ir.Value:
        """Convolution of [1, I, H, W] with weights [O, I/groups, kh, kw]; attributes as in ONNX.

        Args:
            x: [1, I, H, W].
            weight: [O, I/groups, kh, kw].
            bias: [O]; None: no bias.
        """
        weight = weight if isinstance(weight, ir.Value) else self.constant(weight)
        bias = bias if bias is None or isinstance(bias, ir.Value) else self.constant(bias)
        outputs, _, *kernel = shape(weight)
        strides, pads = attributes.get("strides") or [1, 1], attributes.get("pads") or [0, 0, 0, 0]
        dilations = attributes.get("dilations") or [1, 1]
        size = [
            (n + pads[i] + pads[i + 2] - dilations[i] * (k - 1) - 1) // strides[i] + 1
            for i, (n, k) in enumerate(zip(shape(x)[2:], kernel, strict=True))
        ]
        inputs = [x, weight] + ([] if bias is None else [bias])
        return self.node("Conv", inputs, [[1, outputs, *size]], kernel_shape=kernel, **attributes)[0]

    def pointwise(self, x: ir.Value, weight: Array, bias: Array | None = None) -> ir.Value:
        """1x1 convolution with a matrix [O, I] over the channels of [1, I, H, W].

        Args:
            x: [1, I, H, W].
            weight: [O, I].
            bias: [O]; None: no bias.
        """
        return self.conv(x, np.asarray(weight)[:, :, None, None], bias)

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Join along an axis, a few inputs a node (four have been seen in hardware, [#open-questions])."""
        parts = list(values)
        while len(parts) > 1:
            size = len(parts) if len(parts) <= _CONCAT_AT_MOST else _CONCAT_INPUTS
            groups = [parts[i : i + size] for i in range(0, len(parts), size)]
            parts = [g[0] if len(g) == 1 else self._concat(g, axis) for g in groups]
        return parts[0]

    def repeat(self, x: ir.Value, times: int, axis: int) -> ir.Value:
        """The same tensor several times along an axis, by Concats of Concats.

        Args:
            x: any shape.
            times: how often.
            axis: along which the copies lie.
        """
        each = next(
            d for d in (*range(_CONCAT_INPUTS, 1, -1), *range(_CONCAT_INPUTS, _CONCAT_AT_MOST + 1), 1) if times % d == 0
        )
        if times == each:
            return self.concat([x] * times, axis)
        if each > 1:
            return self.repeat(self.concat([x] * each, axis), times // each, axis)
        return self.concat([self.repeat(x, times - 1, axis), x], axis)

    def split(self, x: ir.Value, parts: int | Sequence[int], axis: int) -> tuple[ir.Value, ...]:
        """A number of equal parts, or parts of given sizes, along an axis.

        Args:
            x: any shape.
            parts: how many equal parts, or the length of each.
            axis: that is cut.
        """
        full = shape(x)
        sizes = [full[axis] // parts] * parts if isinstance(parts, int) else list(parts)
        if sum(sizes) != full[axis]:
            raise RewriteError("a split does not add up", place=x.name, limit=full[axis], found=sizes)
        if len(sizes) == 1:
            return (x,)
        shapes = [[size if i == axis else n for i, n in enumerate(full)] for size in sizes]
        if self.opset >= 13:
            return self.node("Split", [x, self.constant(sizes, np.int64)], shapes, axis=axis)
        return self.node("Split", [x], shapes, axis=axis, split=sizes)

    def slice(self, x: ir.Value, axis: int, start: int, stop: int, step: int = 1) -> ir.Value:
        """Every ``step``-th element from start to stop-1 of one axis.

        Args:
            x: any shape.
            axis: that is cut.
            start: first element.
            stop: the one behind the last.
            step: elements from one to the next.
        """
        to = [-(-(stop - start) // step) if i == axis else n for i, n in enumerate(shape(x))]
        if self.opset < 10 and step == 1:
            return self.node("Slice", [x], [to], axes=[axis], starts=[start], ends=[stop])[0]
        ends = [self.constant([v], np.int64) for v in (start, stop, axis, step)[: 3 + (step != 1)]]
        return self.node("Slice", [x, *ends], [to])[0]

    def reduce(self, op: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        """A reduction whose axes stay, of length 1.

        Args:
            op: ReduceSum, ReduceMax ...
            x: any shape.
            axes: counted from the front.
        """
        to = [1 if i in axes else n for i, n in enumerate(shape(x))]
        if op == "ReduceSum" or self.opset >= 18:  # before, axes were attributes of the others
            return self.node(op, [x, self.constant(axes, np.int64)], [to], keepdims=1)[0]
        return self.node(op, [x], [to], axes=list(axes), keepdims=1)[0]

    def mean_last(self, x: ir.Value) -> ir.Value:
        """Mean over the last axis, kept: [1, R, n] -> [1, R, 1] as the global pool the compiler would make of it."""
        return self._pool_last("GlobalAveragePool", x)

    def max_last(self, x: ir.Value) -> ir.Value:
        """Maximum over the last axis, kept."""
        return self._pool_last("GlobalMaxPool", x)

    def clip(self, x: ir.Value, low: float | None, high: float | None) -> ir.Value:
        """min(max(x, low), high) with the bounds as initializers.

        Args:
            x: any shape.
            low: least value; None: no bound.
            high: largest value; None: no bound.
        """
        if self.opset < 11:
            return self.unary("Clip", x, min=low, max=high)
        bounds = [None if v is None else self.constant(np.float32(v)) for v in (low, high)]
        return self.node("Clip", [x, *bounds], [shape(x)])[0]

    def _held(self, op: str, x: ir.Value, to: Sequence[int], perm: list[int] | None = None) -> ir.Value | None:
        """The output of an equal Reshape or Transpose of x that is there already."""
        for node in x.consumers():
            same = node.op_type == op and node.inputs[0] is x and shape_of(node.outputs[0]) == tuple(to)
            if same and (perm is None or attribute(node, "perm") == perm):
                return node.outputs[0]
        return None

    def _pool_last(self, op: str, x: ir.Value) -> ir.Value:
        full = shape(x)
        rows = self.reshape(x, [1, math.prod(full[:-1]), full[-1]])
        return self.reshape(self.node(op, [rows], [[1, shape(rows)[1], 1]])[0], [*full[:-1], 1])

    def _concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        to = list(shape(values[0]))
        to[axis] = sum(shape(v)[axis] for v in values)
        return self.node("Concat", values, [to], axis=axis)[0]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self.prefix}.{kind}{self._count}"


def _factors(size: int) -> tuple[int, int]:
    """Two factors of about the same size."""
    first = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
    return first, size // first


_DTYPES = {
    np.dtype(np.float32): ir.DataType.FLOAT,
    np.dtype(np.float64): ir.DataType.DOUBLE,
    np.dtype(np.int64): ir.DataType.INT64,
    np.dtype(np.int32): ir.DataType.INT32,
    np.dtype(np.bool_): ir.DataType.BOOL,
}


def shape(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a value that a rule builds on."""
    dims = shape_of(value)
    if dims is None:
        raise RewriteError(
            "a rewrite needs static shapes", place=value.name, found=str(value.shape), remedy="simplify the model first"
        )
    return dims
