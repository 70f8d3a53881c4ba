"""Reading the operators between a tensor and a result as one piecewise function, comparisons and masks among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.patterns.piecewise import IDENTITY, Piecewise, constant
from n6convert.graph.query import attribute, constant_of, producer

__all__ = ["COMPARISONS", "Reader", "compared"]

Read = Piecewise | None
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_MOST_NODES = 40
_ONE, _ZERO = constant(1.0), constant(0.0)


class Reader:
    """What values are as functions of one tensor.

    Attributes:
        compares: whether a comparison was among the operators read.
    """

    def __init__(self, x: ir.Value) -> None:
        self.compares = False
        self._known: dict[ir.Value, Read] = {x: IDENTITY}

    def __call__(self, value: ir.Value | None) -> Read:
        """The function; None where it depends on more than x, or in a way that is not piecewise polynomial."""
        if value is None or value in self._known or len(self._known) > _MOST_NODES:
            return None if value is None else self._known.get(value)
        self._known[value] = None
        data = constant_of(value)
        if data is not None:
            self._known[value] = constant(data) if np.isfinite(data).all() else None
        else:
            node = producer(value, *_READERS)
            self._known[value] = None if node is None else _READERS[node.op_type](self, node)
        return self._known[value]

    def all(self, node: ir.Node) -> list[Piecewise] | None:
        """The functions of all inputs of a node."""
        found = [self(v) for v in node.inputs]
        return None if any(f is None for f in found) else [f for f in found if f is not None]


def compared(value: ir.Value | None) -> list[ir.Value]:
    """Tensors that comparisons behind a value look at, the nearest first, then those they are made from."""
    tests = [v for v in _behind([value]) if producer(v, *COMPARISONS) is not None]
    operands = [v for test in tests for v in _operands(test)]
    return _behind(operands) if operands else []


def _behind(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    """Activations, and those that they are made from by operators that can be read; the nearest first."""
    found = {v: None for v in values if v is not None and constant_of(v) is None}
    queue = list(found)
    while queue and len(found) < _MOST_NODES:
        new = [v for v in _operands(queue.pop(0)) if v not in found]
        found |= dict.fromkeys(new)
        queue += new
    return list(found)


def _operands(value: ir.Value) -> list[ir.Value]:
    node = producer(value, *_READERS)
    inputs = () if node is None else node.inputs
    return [v for v in inputs if v is not None and constant_of(v) is None]


def _pair(how: Callable[[Piecewise, Piecewise], Read]) -> Callable[[Reader, ir.Node], Read]:
    def read(reader: Reader, node: ir.Node) -> Read:
        found = reader.all(node)
        return None if found is None or len(found) != 2 else how(*found)

    return read


def _divided(reader: Reader, node: ir.Node) -> Read:
    a, divisor = reader(node.inputs[0]), constant_of(node.inputs[1])
    return None if a is None or divisor is None or not divisor.all() else a * constant(1 / divisor.astype(np.float64))


def _comparison(reader: Reader, node: ir.Node) -> Read:
    found = reader.all(node)
    reader.compares = True
    if found is None:
        return None
    a, b = found if node.op_type.startswith("Greater") else found[::-1]
    return a.above(b, equal=node.op_type.endswith("OrEqual"))


def _where(reader: Reader, node: ir.Node) -> Read:
    found = reader.all(node)
    return None if found is None else _chosen(*found)


def _chosen(mask: Read, a: Piecewise, b: Piecewise) -> Read:
    """a where the mask holds, else b."""
    gap = a - b
    part = None if gap is None or mask is None else mask * gap
    return None if part is None else part + b


def _cast(reader: Reader, node: ir.Node) -> Read:
    x = node.inputs[0]
    whole = attribute(node, "to") in (int(ir.DataType.FLOAT), int(ir.DataType.DOUBLE))
    return reader(x) if x is not None and (whole or x.dtype == ir.DataType.BOOL) else None


def _or(a: Piecewise, b: Piecewise) -> Read:
    total, both = a + b, a * b
    return None if total is None or both is None else total - both


def _larger(a: Piecewise, b: Piecewise) -> Read:
    return _chosen(a.above(b, equal=False), a, b)


def _smaller(a: Piecewise, b: Piecewise) -> Read:
    return _chosen(a.above(b, equal=False), b, a)


def _relu(reader: Reader, node: ir.Node) -> Read:
    x = reader(node.inputs[0])
    if x is None:
        return None
    slope = attribute(node, "alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
    below = x * constant(slope)
    bound = constant(attribute(node, "alpha", 1.0)) if node.op_type == "ThresholdedRelu" else _ZERO
    return None if below is None else _chosen(x.above(bound, equal=False), x, below)


def _clip(reader: Reader, node: ir.Node) -> Read:
    x = reader(node.inputs[0])
    for value, how in zip([*node.inputs, None, None][1:3], (_larger, _smaller), strict=True):
        bound = constant_of(value)
        if value is not None and bound is None:
            return None
        if x is not None and bound is not None and np.isfinite(bound).all():
            x = how(x, constant(bound))
    return x


def _absolute(reader: Reader, node: ir.Node) -> Read:
    x = reader(node.inputs[0])
    minus = None if x is None else _ZERO - x
    return None if x is None or minus is None else _larger(x, minus)


def _one(how: Callable[[Piecewise], Read]) -> Callable[[Reader, ir.Node], Read]:
    def read(reader: Reader, node: ir.Node) -> Read:
        x = reader(node.inputs[0])
        return None if x is None else how(x)

    return read


_READERS: Mapping[str, Callable[[Reader, ir.Node], Any]] = {
    "Add": _pair(Piecewise.__add__),
    "Sub": _pair(Piecewise.__sub__),
    "Mul": _pair(Piecewise.__mul__),
    "Div": _divided,
    "Neg": _one(lambda x: _ZERO - x),
    "Identity": _one(lambda x: x),
    "Cast": _cast,
    **dict.fromkeys(COMPARISONS, _comparison),
    "And": _pair(Piecewise.__mul__),
    "Or": _pair(_or),
    "Not": _one(lambda x: _ONE - x),
    "Where": _where,
    "Max": _pair(_larger),
    "Min": _pair(_smaller),
    "Relu": _relu,
    "LeakyRelu": _relu,
    "ThresholdedRelu": _relu,
    "Clip": _clip,
    "Abs": _absolute,
}
