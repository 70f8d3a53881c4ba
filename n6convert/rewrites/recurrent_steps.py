"""The steps of one direction of a recurrent cell, on maps [1, H, 1, B] whose channels are the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.recurrent import GATES, Cell, Function
from n6convert.graph.query import Array, constant_of, grid, shape_of

__all__ = ["Pass", "moved", "pass_of"]

State = ir.Value | Array | None
"""A tensor, a constant, or None for zero."""


def pass_of(build: Builder, cell: Cell, index: int) -> Pass:
    """The pass over the sequence in one of a cell's directions.

    Args:
        build: makes the nodes.
        cell: the node as it was read.
        index: 0 or 1: which direction.
    """
    kinds: dict[str, Callable[[Builder, Cell, int], Pass]] = {"LSTM": _Lstm, "GRU": _Gru, "RNN": _Rnn}
    return kinds[cell.node.op_type](build, cell, index)


def moved(build: Builder, x: ir.Value, first: int, to: Sequence[int]) -> ir.Value:
    """[1, first, rest] -> [1, rest, first] seen as ``to``; a view where one of the two is 1.

    Args:
        build: makes the nodes.
        x: [1, first * rest elements].
        first: length of the outer block.
        to: shape of the result.
    """
    full = shape_of(x) or ()
    return build.reshape(x, to) if first in (1, np.prod(full)) else build.swap(x, first, to)


class Pass(ABC):
    """One direction of a cell, step by step.

    Attributes:
        h, c: state and cell state after the steps so far.
        states: the state after every step, in the order of the steps.
    """

    def __init__(self, build: Builder, cell: Cell, index: int) -> None:
        self.build, self.cell, self.index = build, cell, index
        self.direction = cell.directions[index]
        self.functions = self.direction.functions
        self.h, self.c = self._initial(cell.h), self._initial(cell.c)
        self.states: list[ir.Value] = []
        self._kernels: dict[str, tuple[ir.Value, ir.Value | None]] = {}

    #: gates that one Conv and one function compute together
    groups: tuple[str, ...]

    @abstractmethod
    def step(self, inputs: Mapping[str, ir.Value]) -> State:
        """The next state from ``W x + b`` of every group of gates."""

    def behind(self, group: str) -> Array | None:
        """Bias that must stay with ``R h``; all others join that of ``W x``."""
        return None

    def run(self) -> None:
        """All steps."""
        inputs = {group: self._inputs(group) for group in self.groups}
        order = range(self.cell.steps)
        for t in reversed(order) if self.direction.reverse else order:
            self.h = self.step({group: self._row(values, t) for group, values in inputs.items()})
            assert isinstance(self.h, ir.Value)
            self.states.append(self.h)

    def recur(self, group: str, h: State) -> State:
        """``R h`` for a group of gates."""
        bias = self.behind(group)
        if h is None:
            return None if bias is None else bias[None, :, None, None]
        if not isinstance(h, ir.Value):
            product: Array = np.einsum("oi,nihw->nohw", self._rows(group, self.direction.r), h)
            return product if bias is None else product + bias[None, :, None, None]
        if group not in self._kernels:
            weight = self.build.constant(self._rows(group, self.direction.r)[:, :, None, None])
            self._kernels[group] = weight, None if bias is None else self.build.constant(bias)
        return self.build.conv(h, *self._kernels[group])

    def parts(self, x: ir.Value, group: str, wanted: str) -> dict[str, ir.Value]:
        """The gates of a group that are wanted.

        Args:
            x: gates side by side, as channels.
            group: letters of the gates in ``x``, in order.
            wanted: letters of those that are taken.
        """
        width = self.cell.width
        if set(wanted) == set(group):
            return dict(zip(group, self.build.split(x, len(group), 1), strict=True))
        return {g: self.build.slice(x, 1, group.index(g) * width, (group.index(g) + 1) * width) for g in wanted}

    def apply(self, function: Function, x: ir.Value) -> ir.Value:
        """An activation."""
        build, alpha, beta = self.build, function.alpha, function.beta
        if function.name == "Affine":
            return build.add(build.mul(x, float(alpha or 0)), float(beta or 0))
        if function.name == "ScaledTanh":
            return build.mul(build.unary("Tanh", build.mul(x, float(beta or 0))), float(alpha or 0))
        return build.unary(function.name, x, alpha=alpha, beta=beta)

    def gate(self, function: Function, *sums: State) -> ir.Value:
        """A function of a sum, which is clipped first where the cell says so."""
        total: State = None
        for term in sums:
            total = self.add(total, term)
        assert isinstance(total, ir.Value)
        limit = self.cell.clip
        return self.apply(function, total if limit is None else self.build.clip(total, -limit, limit))

    def add(self, a: State, b: State) -> State:
        """a + b."""
        if a is None or b is None:
            return b if a is None else a
        if isinstance(a, ir.Value):
            return self.build.add(a, b)
        return self.build.add(b, a) if isinstance(b, ir.Value) else a + b

    def mul(self, a: State, b: State) -> State:
        """a * b."""
        if a is None or b is None:
            return None
        if isinstance(a, ir.Value):
            return self.build.mul(a, b)
        return self.build.mul(b, a) if isinstance(b, ir.Value) else a * b

    def _rows(self, group: str, arrays: Array) -> Array:
        """The rows of some gates, one gate below the other."""
        gates = GATES[self.cell.node.op_type]
        return np.concatenate([arrays[gates.index(gate)] for gate in group])

    def _inputs(self, group: str) -> ir.Value:
        """``W x + b`` of all steps: [1, T B, gates H]."""
        d, rows = self.direction, self.cell.steps * self.cell.batch
        weight = self._rows(group, d.w)
        bias = self._rows(group, d.w_bias)
        bias = bias + self._rows(group, d.r_bias) if self.behind(group) is None else bias
        x = moved(self.build, self.cell.x, rows, [1, weight.shape[1], *grid(rows)])
        return moved(self.build, self.build.pointwise(x, weight, bias), weight.shape[0], [1, rows, weight.shape[0]])

    def _row(self, values: ir.Value, t: int) -> ir.Value:
        batch, channels = self.cell.batch, (shape_of(values) or ())[2]
        part = values if self.cell.steps == 1 else self.build.slice(values, 1, t * batch, (t + 1) * batch)
        return moved(self.build, part, batch, [1, channels, 1, batch])

    def _initial(self, value: ir.Value | None) -> State:
        """This direction's part of [D, B, H]."""
        if value is None:
            return None
        cell, known = self.cell, constant_of(value)
        if known is not None:
            constant: Array = np.ascontiguousarray(known[self.index].T[None, :, None, :])
            return constant if constant.any() else None
        count, batch = len(cell.directions), cell.batch
        rows = self.build.reshape(value, [1, count * batch, cell.width])
        part = rows if count == 1 else self.build.slice(rows, 1, self.index * batch, (self.index + 1) * batch)
        return moved(self.build, part, batch, [1, cell.width, 1, batch])


class _Rnn(Pass):
    groups = ("i",)

    def step(self, inputs: Mapping[str, ir.Value]) -> State:
        return self.gate(self.functions[0], inputs["i"], self.recur("i", self.h))


class _Gru(Pass):
    groups = ("zr", "h")

    def behind(self, group: str) -> Array | None:
        bias: Array = self.direction.r_bias[2]
        return bias if group == "h" and self.cell.reset_behind and bias.any() else None

    def step(self, inputs: Mapping[str, ir.Value]) -> State:
        h, build = self.h, self.build
        reset = h is not None or self.behind("h") is not None
        gates = self.gate(self.functions[0], inputs["zr"], self.recur("zr", h))
        parts = self.parts(gates, "zr", "zr" if reset else "z")
        z, r = parts["z"], parts.get("r")
        if self.cell.reset_behind:
            new = self.gate(self.functions[1], inputs["h"], self.mul(r, self.recur("h", h)))
        else:
            new = self.gate(self.functions[1], inputs["h"], self.recur("h", self.mul(r, h)))
        if h is None:
            return build.sub(new, build.mul(z, new))
        gap = build.sub(h, new) if isinstance(h, ir.Value) else self.add(build.mul(new, -1.0), h)
        return self.add(new, self.mul(z, gap))


class _Lstm(Pass):
    def __init__(self, build: Builder, cell: Cell, index: int) -> None:
        super().__init__(build, cell, index)
        gates = "io" if cell.coupled else "iof"
        self.groups = (gates, "c") if self.direction.peepholes is None else (*gates, "c")

    def step(self, inputs: Mapping[str, ir.Value]) -> State:
        old = self.c
        new = self.gate(self.functions[1], inputs["c"], self.recur("c", self.h))
        gates = self._gates(inputs)
        if self.cell.coupled and old is not None:
            gap = self.build.sub(new, old) if isinstance(old, ir.Value) else self.add(new, -old)
            self.c = self.add(self.mul(gates["i"], gap), old)
        else:
            self.c = self.add(self.mul(gates["i"], new), self.mul(gates.get("f"), old))
        assert isinstance(self.c, ir.Value)
        return self.mul(gates.get("o") or self._alone("o", inputs), self.apply(self.functions[2], self.c))

    def _gates(self, inputs: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
        """Gates that do not look at the new cell state."""
        forgets = self.c is not None and not self.cell.coupled
        if self.direction.peepholes is not None:
            return {g: self._alone(g, inputs) for g in ("if" if forgets else "i")}
        group = self.groups[0]
        together = self.gate(self.functions[0], inputs[group], self.recur(group, self.h))
        return self.parts(together, group, "iof" if forgets else "io")

    def _alone(self, gate: str, inputs: Mapping[str, ir.Value]) -> ir.Value:
        """A gate that looks at the cell state."""
        assert self.direction.peepholes is not None
        weight = self.direction.peepholes["iof".index(gate)][None, :, None, None]
        return self.gate(self.functions[0], inputs[gate], self.recur(gate, self.h), self.mul(self.c, weight))
