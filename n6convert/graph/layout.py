"""Algebra of layout changes: any chain of Reshape and Transpose is one permutation of a few blocks of axes.

The axes of the source are cut into factors wherever a Reshape cuts or joins them. The chain then only reorders
factors; factors that stay neighbors are joined again. One block left: the chain is a Reshape. Two: it is
``[1, a, b] -> [1, b, a]``, the transpose that all cores do in hardware (as ``(0,2,1)``, ``(0,2,3,1)`` or ``(0,3,1,2)``,
[#layout]). Three or more: a permutation such as ``(0,2,1,3)`` that costs CPU time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.query import attribute, producer, shape_of, users

__all__ = [
    "Layout",
    "align",
    "axis_behind",
    "axis_in_front",
    "chain_cost",
    "ends_chain",
    "find_layout",
    "layout_chain",
    "layout_of",
    "layout_of_steps",
    "step_of",
    "undo",
]

_MAX_CHAIN = 4
_Axes = list[list[int]]  # factors of every axis, by their number in the source


@dataclass(frozen=True)
class Step:
    """A Transpose (``perm``) or, without, a Reshape to ``shape``."""

    shape: tuple[int, ...]
    perm: tuple[int, ...] | None = None


def step_of(node: ir.Node) -> Step:
    """What a Reshape or Transpose node does."""
    shape = shape_of(node.outputs[0]) or ()
    if node.op_type == "Reshape":
        return Step(shape)
    return Step(shape, tuple(attribute(node, "perm") or range(len(shape))[::-1]))


def undo(node: ir.Node) -> Step:
    """The step that takes a Reshape or Transpose back."""
    shape = shape_of(node.inputs[0]) or ()
    perm = step_of(node).perm
    return Step(shape, None if perm is None else tuple(sorted(range(len(perm)), key=perm.__getitem__)))


@dataclass(frozen=True)
class Layout:
    """A layout change: ``source`` reshaped to ``blocks``, permuted by ``perm``, reshaped to ``target``."""

    source: tuple[int, ...]
    blocks: tuple[int, ...]
    perm: tuple[int, ...]
    target: tuple[int, ...]

    @property
    def cost(self) -> float:
        """For comparing chains: a Reshape is nearly free, a swap of two blocks cheap, the rest not."""
        moved = {1: 0.0, 2: 1.0}.get(len(self.blocks), 10.0)
        return moved + 0.01 * ((self.source != self.target) if moved == 0 else self._reshapes())

    def _reshapes(self) -> int:
        moved = tuple(self.blocks[p] for p in self.perm)
        return (self.source != (1, *self.blocks)) + (self.target != (1, *moved))

    def build(self, build: Builder, x: ir.Value, instead_of: ir.Value | None = None) -> ir.Value:
        """Emit it with at most one Transpose, or find a value (another than ``instead_of``) that holds it.

        Args:
            build: makes the nodes.
            x: the value in its first layout.
            instead_of: a value that is about to go and so cannot be used.
        """
        held = find_layout(x, self, instead_of)
        if held is not None:
            return held
        if len(self.blocks) == 2 and max(self.blocks) >= AXIS_LIMIT:
            return build.swap(x, self.blocks[0], self.target)
        if len(self.blocks) > 1:
            x = build.transpose(build.reshape(x, [1, *self.blocks]), [0, *(p + 1 for p in self.perm)])
        return build.reshape(x, self.target)


def axis_in_front(node: ir.Node, axis: int) -> int | None:
    """Where an axis of the output of a Reshape or Transpose lies in its input; None when it is cut, joined or gone."""
    if node.op_type == "Transpose":
        return (step_of(node).perm or ())[axis]
    return _same_axis(node.outputs[0], node.inputs[0], axis) if node.op_type == "Reshape" else None


def axis_behind(node: ir.Node, axis: int) -> int | None:
    """Where an axis of the input of a Reshape or Transpose lies in its output."""
    if node.op_type == "Transpose":
        return (step_of(node).perm or ()).index(axis)
    return _same_axis(node.inputs[0], node.outputs[0], axis) if node.op_type == "Reshape" else None


def _same_axis(source: ir.Value | None, result: ir.Value | None, axis: int) -> int | None:
    """The axis of a reshaped tensor that has the same length and as many steps in front."""
    old, new = shape_of(source), shape_of(result)
    if old is None or new is None:
        return None
    before = math.prod(old[:axis])
    return next((i for i, n in enumerate(new) if n == old[axis] and math.prod(new[:i]) == before), None)


def layout_chain(value: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """The first value of the Reshape/Transpose chain that ends in ``value``, and the chain's nodes in order."""
    nodes: list[ir.Node] = []
    node = producer(value, "Reshape", "Transpose")
    while node is not None and shape_of(node.inputs[0]) is not None and shape_of(node.outputs[0]) is not None:
        nodes.append(node)
        value = node.inputs[0]  # type: ignore[assignment]
        node = producer(value, "Reshape", "Transpose")
    return value, nodes[::-1]


def ends_chain(value: ir.Value) -> bool:
    """Whether no Reshape or Transpose goes on from a value, so that the chain behind it is the whole one."""
    return not any(user.op_type in ("Reshape", "Transpose") for user in users(value))


def layout_of(nodes: Sequence[ir.Node]) -> Layout | None:
    """The layout change that a chain of nodes makes; None when a Reshape cuts axes at no common factor."""
    return layout_of_steps(shape_of(nodes[0].inputs[0]) or (), [step_of(n) for n in nodes])


def layout_of_steps(source: Sequence[int], steps: Sequence[Step]) -> Layout | None:
    """As :func:`layout_of`, from the source's shape and the steps."""
    return _layout(tuple(source), tuple(steps))


@lru_cache(maxsize=4096)  # rules ask for the few chains of a network thousands of times
def _layout(source: tuple[int, ...], steps: tuple[Step, ...]) -> Layout | None:
    factors = _Factors(source)
    shape = source
    for step in steps:
        if step.perm is not None:
            factors.transpose(step.perm)
            shape = tuple(shape[p] for p in step.perm)
        elif factors.reshape(step.shape):
            shape = step.shape
        else:
            return None
    blocks, perm = factors.blocks()
    return Layout(source, blocks, perm, shape)


def find_layout(source: ir.Value, wanted: Layout, besides: ir.Value | None = None) -> ir.Value | None:
    """A value that already holds ``source`` in a wanted layout, by Reshape and Transpose, not by way of ``besides``.

    Args:
        source: the value whose elements are wanted.
        wanted: their order.
        besides: a value that may not be on the way.
    """
    if wanted.source == wanted.target and len(wanted.blocks) < 2:
        return source
    queue: list[tuple[ir.Value, list[ir.Node]]] = [(source, [])]
    while queue:
        value, nodes = queue.pop()
        for reader in value.consumers():
            if (
                reader.op_type not in ("Reshape", "Transpose")
                or len(nodes) > _MAX_CHAIN
                or reader.outputs[0] is besides
            ):
                continue
            chain = [*nodes, reader]
            if layout_of(chain) == wanted:
                return reader.outputs[0]
            queue.append((reader.outputs[0], chain))
    return None


def chain_cost(nodes: Sequence[ir.Node]) -> float:
    """Cost of a chain as it is written, on the scale of :attr:`Layout.cost`."""
    return sum(_node_cost(node) for node in nodes)


def _node_cost(node: ir.Node) -> float:
    if node.op_type == "Reshape":
        return 0.01
    layout = layout_of([node])
    moved = len(layout.blocks) if layout is not None else 3
    return {0: 0.02, 1: 0.02, 2: 1.0}.get(moved, 10.0)


class _Factors:
    """Factors of the source, in source order, and how the current axes are made of them."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.sizes = dict(enumerate(shape))
        self.order = list(self.sizes)
        self.axes: _Axes = [[i] for i in self.order]

    def transpose(self, perm: Sequence[int]) -> None:
        self.axes = [self.axes[p] for p in perm]

    def reshape(self, shape: Sequence[int]) -> bool:
        queue = [f for axis in self.axes for f in axis if self.sizes[f] != 1]
        axes: _Axes = []
        for wanted in shape:
            axis: list[int] = []
            while (got := math.prod(self.sizes[f] for f in axis)) < wanted:
                if not queue:
                    return False
                factor = queue.pop(0)
                need = wanted // got
                if self.sizes[factor] > need:
                    if wanted % got or self.sizes[factor] % need:
                        return False
                    queue.insert(0, self._cut(factor, need))
                axis.append(factor)
            if got != wanted:
                return False
            axes.append(axis)
        self.axes = axes
        return not queue

    def _cut(self, factor: int, first: int) -> int:
        """Cut a factor into ``first`` and the rest; the rest gets a new number right behind it."""
        rest = len(self.sizes)
        self.sizes[rest] = self.sizes[factor] // first
        self.sizes[factor] = first
        self.order.insert(self.order.index(factor) + 1, rest)
        return rest

    def owners(self, rank: int) -> dict[int, int]:
        """For every factor the source axis it was cut from (axes are numbered before cuts)."""
        owner: dict[int, int] = {}
        last = 0
        for factor in self.order:
            owner[factor] = factor if factor < rank else last
            last = owner[factor]
        return owner

    def blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the blocks in source order, and for each block of the result its number in the source."""
        rank = {f: i for i, f in enumerate(f for f in self.order if self.sizes[f] != 1)}
        runs: list[list[int]] = []
        for factor in (f for axis in self.axes for f in axis if self.sizes[f] != 1):
            if runs and rank[factor] == rank[runs[-1][-1]] + 1:
                runs[-1].append(factor)
            else:
                runs.append([factor])
        in_source = sorted(runs, key=lambda run: rank[run[0]])
        sizes = tuple(math.prod(self.sizes[f] for f in run) for run in in_source)
        return sizes, tuple(in_source.index(run) for run in runs)


def align(small: Sequence[int], full: Sequence[int], other: Sequence[int]) -> tuple[int, ...] | None:
    """Shape of a broadcast operand after its partner is reshaped from ``full`` to ``other``.

    ``small`` has the rank of ``full`` and the same length or 1 on every axis. None when an axis of ``other`` would be
    partly repeated.

    Args:
        small: shape of the broadcast operand, with the rank of ``full``.
        full: shape of its partner.
        other: shape of the partner after the Reshape.
    """
    factors = _Factors(full)
    if not factors.reshape(other):
        return None
    present = {i for i, (s, f) in enumerate(zip(small, full, strict=True)) if s == f}
    owner = factors.owners(len(full))
    result: list[int] = []
    for axis, size in zip(factors.axes, other, strict=True):
        kept = {owner[f] in present for f in axis if factors.sizes[f] != 1}
        if len(kept) > 1:
            return None
        result.append(size if kept == {True} else 1)
    return tuple(result)
