"""A tensor once more, up to a bound: ``min(v, t)`` from tensors whose grids end near t, too.

What makes a wide tensor of values >= 0 is wide itself: the squares in front of a mel filter bank, their real and
imaginary parts. All of it is made anew for small values, with saturation, which in real numbers is exact::

    min(x * x, t)        = c * c, c = min(max(x, -sqrt(t)), sqrt(t))
    min(a + b, t)        = min(min(a, t) + min(b, t), t)
    min(sqrt(a), t)      = sqrt(min(a, t^2))
    min(mean_n(a), t)    = min(mean_n(min(a, n t)), t)
    min(W q + b, t)      = min(sum_j min(W l_j, t) + b, t),  l_j = min(max(q, s_j-1), s_j) - s_j-1,  W, b >= 0

The lanes ``l_j`` of the last line cut the operand at any levels ``s_0 = 0 < s_1 < ...``; each has a grid of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, static_dims

__all__ = ["BoundedCopies", "copy_of"]

#: operators whose exact results a grid rounds
_LINEAR = frozenset({"Conv", "Gemm", "MatMul"})
_MAKERS = _LINEAR | {"GlobalAveragePool", "AveragePool", "ReduceMean", "Add", "Sub", "Mul"}
_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad"})
_POSITIVE = frozenset({"Relu", "Abs", "Sqrt", "Exp", "Sigmoid", "Softmax"})
#: operators above a tensor that are made again
_DEEPEST = 24
#: a level of a layer's operand over that of its result, divided by the usual largest weight of a row
_ROOM = 2.0
#: elements of a mean up to which its operand may be that many times larger
_FEW = 16


class BoundedCopies:
    """Copies of a graph's tensors up to each of some levels.

    Args:
        build: gets the nodes.
    """

    def __init__(self, build: Builder) -> None:
        self.build = build
        self._made: dict[tuple[ir.Value, float], ir.Value | None] = {}

    def upto(self, value: ir.Value, levels: Sequence[float], index: int, depth: int = 0) -> ir.Value | None:
        """``min(value, levels[index])`` of a value >= 0; None where nothing has it finer than it is.

        Args:
            value: at least 0.
            levels: bounds, rising.
            index: of the bound.
            depth: operators that were looked through already.
        """
        key = (value, levels[index])
        if key not in self._made:
            node = value.producer() if depth < _DEEPEST else None
            whole = node is not None and len(node.outputs) == 1
            self._made[key] = self._again(node, levels, index, depth + 1) if node is not None and whole else None
        return self._made[key]

    def _again(self, node: ir.Node, levels: Sequence[float], index: int, depth: int) -> ir.Value | None:
        level, kind = levels[index], node.op_type
        source = next((v for v in node.inputs if v is not None and not is_constant(v)), None)
        if source is None:
            return None
        if kind == "Mul" and node.inputs[0] is node.inputs[1]:
            root = self._within(source, math.sqrt(level)) or source
            return self.build.clip(self.build.mul(root, root), 0.0, level)
        rule = self._rule(node, source, level)
        if rule is not None:
            return rule(node, source, levels, index, depth)
        if kind in _MAKERS and not _by_constant(node):
            return self.build.clip(copy_of(self.build, node, None), -level, level)
        return None

    def _rule(self, node: ir.Node, source: ir.Value, level: float) -> Callable[..., ir.Value | None] | None:
        kind = node.op_type
        if kind in ("Relu", "Abs"):
            return self._rectified
        if kind in _MOVES or (kind == "Clip" and _floor(node) <= level):
            return self._moved if kind != "Clip" or is_nonnegative(source) else self._rectified
        if kind == "Sqrt":
            return self._root
        if kind in ("GlobalAveragePool", "AveragePool") and is_nonnegative(source):
            return self._mean
        if kind in ("Add", "Mul") and all(is_nonnegative(v) for v in node.inputs if v is not None):
            return self._scaled if kind == "Mul" and _by_constant(node) else self._sum if kind == "Add" else None
        return self._layer if kind in _LINEAR and is_nonnegative(node.outputs[0]) else None

    def _within(self, value: ir.Value, bound: float) -> ir.Value | None:
        """A value of either sign, within +-bound."""
        node = value.producer()
        if node is None or len(node.outputs) != 1:
            return None
        if node.op_type in _MAKERS and not _by_constant(node):
            return self.build.clip(copy_of(self.build, node, None), -bound, bound)
        source = node.inputs[0]
        made = self._within(source, bound) if node.op_type in _MOVES and source is not None else None
        return copy_of(self.build, node, made) if made is not None else None

    def _rectified(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        made = self._within(source, levels[index])
        return copy_of(self.build, node, made) if made is not None else None

    def _moved(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        made = self.upto(source, levels, index, depth)
        return copy_of(self.build, node, made) if made is not None else None

    def _root(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        return self._moved(node, source, [level**2 for level in levels], index, depth)

    def _mean(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        count = _averaged(node, source)
        made = self.upto(source, [level * count for level in levels], index, depth) if count <= _FEW else None
        return self.build.clip(copy_of(self.build, node, made), 0.0, levels[index])

    def _scaled(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        factors = constant(next(v for v in node.inputs if is_constant(v)))
        least = float(factors.min(initial=np.inf))
        made = self.upto(source, [level / least for level in levels], index, depth) if least > 0 else None
        return self.build.clip(copy_of(self.build, node, made), 0.0, levels[index]) if made is not None else None

    def _sum(self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int) -> ir.Value | None:
        if _by_constant(node):
            made = self.upto(source, levels, index, depth)
            return self.build.clip(copy_of(self.build, node, made), 0.0, levels[index]) if made is not None else None
        first, second = (self.upto(v, levels, index, depth) or v for v in node.inputs if v is not None)
        return self.build.clip(self.build.add(first, second), 0.0, levels[index])

    def _layer(
        self, node: ir.Node, source: ir.Value, levels: Sequence[float], index: int, depth: int
    ) -> ir.Value | None:
        """Lanes of the operand through the layer one by one, the bias in the first."""
        gain = _gain(node)
        cuts = [_ROOM * level / gain for level in levels] if gain > 0 else []
        finer = [self.upto(source, cuts, i, depth) for i in range(len(cuts))]
        lanes = [v for v in finer if v is not None]
        if len(lanes) < len(cuts) or not lanes:
            return self.build.clip(copy_of(self.build, node, None), 0.0, levels[index])
        total: ir.Value | None = None
        for lane, below in zip([*lanes, source], [0.0, *cuts], strict=True):
            lane = self.build.unary("Relu", self.build.add(lane, -below)) if below else lane
            part = self.build.clip(copy_of(self.build, node, lane, bias=not below), 0.0, levels[index])
            total = part if total is None else self.build.add(total, part)
        assert total is not None
        return self.build.clip(total, 0.0, levels[index])


def is_nonnegative(value: ir.Value | None, depth: int = 0) -> bool:
    """Whether what makes a value tells that it is never below zero."""
    if value is None or is_constant(value):
        return value is None or bool(constant(value).min(initial=0.0) >= 0)
    node = value.producer()
    if node is None or depth > _DEEPEST:
        return False
    if node.op_type in _POSITIVE or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1]):
        return True
    if node.op_type == "Clip":
        return 0 <= _floor(node) < np.inf or is_nonnegative(node.inputs[0], depth + 1)
    if node.op_type in _MOVES:
        return is_nonnegative(node.inputs[0], depth + 1)
    sums = node.op_type in _MAKERS - {"Sub"}
    return sums and all(is_nonnegative(v, depth + 1) for v in node.inputs)


def copy_of(build: Builder, node: ir.Node, source: ir.Value | None, *, bias: bool = True) -> ir.Value:
    """A node once more, on another operand where one is given; constants become its own.

    Args:
        build: gets the node.
        node: what is copied.
        source: stands for the node's first operand that is no constant.
        bias: whether a layer keeps its bias, or gets zeros.
    """
    replaced = next((v for v in node.inputs if v is not None and not is_constant(v)), None)

    def operand(index: int, value: ir.Value | None) -> ir.Value | None:
        if value is None or not is_constant(value):
            return source if source is not None and value is replaced else value
        array = constant(value)
        zeros = not bias and index == 2 and node.op_type in _LINEAR
        return build.constant(np.zeros_like(array) if zeros else array, array.dtype.type)

    dims = static_dims(node.outputs[0].shape or ir.Shape([]))
    attributes = {name: a.value for name, a in node.attributes.items()}
    operands = [operand(i, v) for i, v in enumerate(node.inputs)]
    return build.node(node.op_type, operands, [dims], **attributes)[0]


def _by_constant(node: ir.Node) -> bool:
    """A sum or product with constants, which leaves the steps of its operand as coarse as they are."""
    return node.op_type in ("Add", "Sub", "Mul") and any(is_constant(v) for v in node.inputs)


def _floor(node: ir.Node) -> float:
    """The lower bound of a Clip; none: -inf; one that is computed: inf."""
    low = node.inputs[1] if len(node.inputs) > 1 else None
    if low is None:
        return -np.inf
    return float(constant(low).max()) if is_constant(low) else np.inf


def _averaged(node: ir.Node, source: ir.Value) -> int:
    """Elements of each mean."""
    if node.op_type == "AveragePool":
        return math.prod(node.attributes.get_ints("kernel_shape", []))
    return math.prod(static_dims(source.shape or ir.Shape([]))[2:])


def _gain(node: ir.Node) -> float:
    """The usual largest weight of what makes one result."""
    weight = np.abs(constant(node.inputs[1]))
    if node.op_type == "Conv" or (node.op_type == "Gemm" and node.attributes.get_int("transB")):
        return float(np.median(weight.reshape(weight.shape[0], -1).max(1, initial=0.0)))
    return float(np.median(weight.max(axis=-2))) if weight.ndim > 1 else 0.0
