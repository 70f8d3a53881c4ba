"""A permutation that costs CPU time as swaps of two blocks, which do not ([#layout]).

``[s, u, v] -> [s, v, u]`` (``(0,1,3,2)``) is the swap of u and v in every one of the s slices on the outermost axis.
Any other permutation is that between two rotations, which are swaps of two blocks themselves, with what remains to be
permuted in every slice one block shorter. The block that takes the fewest slices is taken for s. Slices of a 1x1 Conv's
output channels are convolutions with slices of its weights: the head split of attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import Layout, ends_chain, layout_chain, layout_of
from n6convert.graph.operators import UNARY
from n6convert.graph.patterns.conv import conv_parameters, rebuild_conv
from n6convert.graph.query import attribute, constant_of, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["TransposeBySlices"]

_MAX_SLICES = 64


@dataclass
class _Permuted:
    source: ir.Value
    layout: Layout

    @property
    def start(self) -> _Blocks:
        """The blocks in the source's order."""
        return tuple((i, size) for i, size in enumerate(self.layout.blocks))

    @property
    def goal(self) -> _Blocks:
        """The blocks in the result's order."""
        return tuple(self.start[p] for p in self.layout.perm)


class TransposeBySlices(Rewrite[_Permuted]):
    """Take permutations of three blocks of axes apart into swaps of two."""

    name = "transpose-by-slices"
    roots = frozenset({"Reshape", "Transpose"})
    late = True

    def pattern(self, node: ir.Node) -> _Permuted | None:
        if not ends_chain(node.outputs[0]):
            return None
        source, nodes = layout_chain(node.outputs[0])
        for start in range(len(nodes)):
            layout = layout_of(nodes[start:])
            if layout is not None and len(layout.blocks) > 2:
                return _Permuted(nodes[start].inputs[0] or source, layout)
        return None

    def check(self, found: _Permuted, context: Context) -> str | None:
        slices = _plan(found.start, found.goal).slices
        return f"it would take {slices} slices, more than {_MAX_SLICES}" if slices > _MAX_SLICES else None

    def replace(self, found: _Permuted, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.reshape(_permute(build, found.source, found.start, found.goal), found.layout.target)]


_Blocks = tuple[tuple[int, int], ...]
"""Blocks of axes from the outermost to the innermost: a number that names each, and its size."""


@dataclass(frozen=True)
class _Plan:
    """Which block's slices are taken, how many slices that makes in all, and what it costs."""

    block: tuple[int, int] | None
    slices: int
    cost: float


@lru_cache(maxsize=1024)
def _plan(start: _Blocks, goal: _Blocks) -> _Plan:
    start, goal = _joined(start, goal)
    if len(start) < 3:
        return _Plan(None, 1, float(len(start) - 1))
    plans = []
    for block in start:
        inner = _plan(_after(start, block), _after(goal, block))
        turns = 0.5 * ((start[0] != block) + (goal[0] != block))
        plans.append(_Plan(block, block[1] * inner.slices, block[1] * (1 + inner.cost) + turns))
    return min(plans, key=lambda plan: plan.cost)


def _permute(build: Builder, x: ir.Value, start: _Blocks, goal: _Blocks) -> ir.Value:
    """The elements of x, blocks ``start``, in the order ``goal``."""
    start, goal = _joined(start, goal)
    if start == goal:
        return x
    block = _plan(start, goal).block
    if block is None:
        return _rotate(build, x, start, goal[0])
    x = _rotate(build, x, start, block)
    rest, order = _after(start, block), _after(goal, block)
    to = [1, 1, order[0][1], _size(order[1:])]
    parts = [build.reshape(_permute(build, p, rest, order), to) for p in _slices(build, x, block[1], _size(rest))]
    return _rotate(build, build.concat(parts, axis=1), (block, *order), goal[0])


def _joined(start: _Blocks, goal: _Blocks) -> tuple[_Blocks, _Blocks]:
    """With blocks that stay neighbors taken as one."""
    follows = dict(zip(goal, goal[1:], strict=False))
    runs: list[list[tuple[int, int]]] = []
    for block in start:
        if runs and follows.get(runs[-1][-1]) == block:
            runs[-1].append(block)
        else:
            runs.append([block])
    whole = {run[0]: (run[0][0], _size(run)) for run in runs}
    return tuple(whole.values()), tuple(whole[b] for b in goal if b in whole)


def _after(blocks: _Blocks, first: tuple[int, int]) -> _Blocks:
    """The others, in a circle from behind one of them."""
    at = blocks.index(first)
    return blocks[at + 1 :] + blocks[:at]


def _size(blocks: Sequence[tuple[int, int]]) -> int:
    return math.prod(size for _, size in blocks)


def _rotate(build: Builder, x: ir.Value, blocks: _Blocks, first: tuple[int, int]) -> ir.Value:
    """Bring a block to the front, the others following in a circle."""
    at = blocks.index(first)
    sizes = [size for _, size in (first, *_after(blocks, first))]
    to = sizes if len(sizes) < 4 else [sizes[0], math.prod(sizes[1:-1]), sizes[-1]]
    return build.swap(x, _size(blocks[:at]), [1, *to]) if at else x


def _slices(build: Builder, x: ir.Value, parts: int, size: int) -> Sequence[ir.Value]:
    return _conv_slices(build, x, parts) or build.split(build.reshape(x, [1, parts, size]), parts, axis=1)


def _conv_slices(build: Builder, x: ir.Value, parts: int) -> list[ir.Value]:
    """Channel groups of a Conv, with unary functions behind it applied to each; empty when x is no such thing."""
    node = producer(x)
    if node is not None and node.op_type in UNARY and len(node.inputs) == 1 and node.inputs[0] is not None:
        kept = {k: attribute(node, k) for k in node.attributes}
        return [build.unary(node.op_type, part, **kept) for part in _conv_slices(build, node.inputs[0], parts)]
    if node is None or node.op_type != "Conv" or not _sliceable(node, parts):
        return []
    weight, bias = conv_parameters(node)
    step = weight.shape[0] // parts
    cuts = [slice(i * step, (i + 1) * step) for i in range(parts)]
    return [rebuild_conv(build, node, weight[cut], bias[cut]) for cut in cuts]


def _sliceable(conv: ir.Node, parts: int) -> bool:
    full = shape_of(conv.outputs[0])
    constant = all(constant_of(v) is not None for v in conv.inputs[1:])
    return full is not None and full[1] % parts == 0 and constant and attribute(conv, "group", 1) == 1
