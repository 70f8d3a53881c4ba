"""Gemm and MatMul: 1x1 convolutions, one for each head when both operands are activations ([#gemm],
[#dynamic-matmul])."""

from __future__ import annotations

import math

from n6convert.errors import GraphError
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry, Where
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules import Rule

__all__: list[str] = []

_MOST_MATRICES = 4096
"""Each matrix is one software epoch; more would never finish on the board."""
_CHAINS_OF_COPIES = 4
"""Layout copies of heads that share one epoch (SEEN r15)."""


@lowers("Gemm", "MatMul")
def _product(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if min(len(lowerer.shape(name)) for name in node.inputs[:2]) == 0:
        raise GraphError("a matrix product needs matrices", place=node.name)
    if rule.name == "matmul-of-activations":
        _heads(lowerer, node, rule)
    elif rule.where is Where.HW:
        _linear(lowerer, node, rule)
    elif sum(not lowerer.tensors[name].constant for name in node.inputs[:2]) == 1:
        _linear_in_software(lowerer, node, rule)
    else:
        geometry = _linear_geometry(lowerer, node)
        lowerer.emit("Conv" if node.op == "Gemm" else node.op, node, rule, node.inputs, node.outputs, conv=geometry)


def _linear_in_software(lowerer: Lowerer, node: Node, rule: Rule) -> None:
    """A 1x1 convolution between two views, and its bias as an Add of its own (SEEN r58 3 of 3, in float)."""
    geometry = _linear_geometry(lowerer, node)
    constant_first = lowerer.tensors[node.inputs[0]].constant
    source, weights = node.inputs[1::-1] if constant_first else node.inputs[:2]
    bias, result = node.inputs[2:], node.outputs[0]
    kind = "float32" if rule.float else None
    x = lowerer.fresh(source, "reshape_x", (1, geometry.in_channels, 1, geometry.in_hw[1]))
    lowerer.view(node, source, x)
    y = lowerer.fresh(result, "conv", (1, geometry.out_channels, 1, geometry.in_hw[1]), kind)
    lowerer.emit("Conv", node, rule, [x, weights], [y], conv=geometry)
    if not bias or not bias[0]:
        lowerer.view(node, y, result)
        return
    squeezed = lowerer.fresh(result, "squeeze_y", dtype=kind)
    lowerer.view(node, y, squeezed)
    lowerer.emit("Add", node, rule, [squeezed, *bias], [result])


def _linear_geometry(lowerer: Lowerer, node: Node) -> ConvGeometry:
    """[1, K, 1, R] -> [1, N, 1, R] for R rows of a product with K summed and N result columns."""
    weights = lowerer.shape(node.inputs[1])
    elements = math.prod(lowerer.shape(node.outputs[0]))
    constant_first = lowerer.tensors[node.inputs[0]].constant
    matrix = lowerer.shape(node.inputs[0]) if constant_first else weights
    if len(matrix) < 2 or not all(matrix):
        matrix = (*matrix, 1) if matrix and all(matrix) else (1, 1)
    columns, depth = matrix[-1], matrix[-2]
    if constant_first or node.attributes.get("transB"):
        columns, depth = depth, columns
    rows = max(1, elements // max(1, columns))
    return ConvGeometry(columns, depth, (1, 1), in_hw=(1, rows), out_hw=(1, rows))


def _linear(lowerer: Lowerer, node: Node, rule: Rule) -> None:
    geometry = _linear_geometry(lowerer, node)
    rows = geometry.in_hw[1]
    constant_first = lowerer.tensors[node.inputs[0]].constant
    source = node.inputs[1] if constant_first else node.inputs[0]
    parameters = [node.inputs[0]] if constant_first else list(node.inputs[1:])
    result = node.outputs[0]
    x = lowerer.shifted(node, source) if rows == 1 or constant_first else _turned(lowerer, node, source, geometry)
    units = lowerer.conv_units(geometry, source, result)
    y = lowerer.fresh(result, "conv", (1, geometry.out_channels, 1, rows))
    lowerer.emit("Conv", node, rule, [x, *parameters], [y], units=units, conv=geometry)
    if rows == 1 or constant_first:
        lowerer.view(node, y, result)
    else:
        lowerer.emit("Transpose", node, lowerer.pick("Copy", node), [y], [result], fused=True)


def _turned(lowerer: Lowerer, node: Node, source: str, geometry: ConvGeometry) -> str:
    """The operand as [1, K, 1, R]: a Transpose and a packing copy, shared by products of the same operand."""
    key = (source, "rows")
    if key not in lowerer.cache:
        shape = (1, geometry.in_channels, 1, geometry.in_hw[1])
        turned = lowerer.fresh(source, "transp_x", shape)
        packed = lowerer.fresh(source, "packed", shape)
        copy = lowerer.pick("Copy", node)
        lowerer.emit("Transpose", node, copy, [source], [turned])
        lowerer.emit("Identity", node, copy, [turned], [packed])
        lowerer.cache[key] = packed
    return lowerer.cache[key]


def _heads(lowerer: Lowerer, node: Node, rule: Rule) -> None:
    left, right = node.inputs[:2]
    a, b = lowerer.shape(left), lowerer.shape(right)
    if min(len(a), len(b)) < 2:
        raise GraphError("a product of two activations needs matrices", place=node.name, found=[list(a), list(b)])
    heads = max(1, math.prod(a[:-2]), math.prod(b[:-2]))
    if heads > _MOST_MATRICES:
        raise GraphError(
            "a product of two activations has too many matrices",
            place=node.name,
            limit=_MOST_MATRICES,
            found=heads,
            remedy="move the batch into the rows",
        )
    as_float = rule.float
    weights = _split_heads(lowerer, node, left, heads) if not as_float else [left] * heads
    maps = _split_heads(lowerer, node, right, heads) if not as_float else [right] * heads
    if not as_float:
        maps = _copies(lowerer, node, maps)
    geometry = ConvGeometry(a[-2], a[-1], (1, 1), in_hw=(1, b[-1]), out_hw=(1, b[-1]))
    result = node.outputs[0]
    if heads == 1:
        lowerer.emit("Conv", node, rule, [maps[0], weights[0]], [result], conv=geometry)
        return
    parts = [lowerer.fresh(result, "head", (1, a[-2], b[-1])) for _ in range(heads)]
    for part, x, w in zip(parts, maps, weights, strict=True):
        lowerer.emit("Conv", node, rule, [x, w], [part], conv=geometry)
    views = [lowerer.fresh(result, "head", (1, a[-2], b[-1])) for _ in range(heads)]
    for part, seen in zip(parts, views, strict=True):
        lowerer.view(node, part, seen)
    lowerer.emit("Concat", node, lowerer.pick("Copy", node), views, [result])


def _split_heads(lowerer: Lowerer, node: Node, source: str, heads: int) -> list[str]:
    if heads == 1:
        return [source]
    shape = lowerer.shape(source)
    if math.prod(shape[:-2]) == 1:
        return [source] * heads
    flat = lowerer.fresh(source, "heads")
    lowerer.view(node, source, flat)
    source = flat
    single = (*(1 for _ in shape[:-2]), *shape[-2:])
    parts = [lowerer.fresh(source, "part", single) for _ in range(heads)]
    split = lowerer.decide(Node(node.name, "Split", (source,), tuple(parts)))
    lowerer.emit("Split", node, split, [source], parts)
    views = [lowerer.fresh(part, "matrix", shape[-2:]) for part in parts]
    for part, seen in zip(parts, views, strict=True):
        lowerer.view(node, part, seen)
    return views


def _copies(lowerer: Lowerer, node: Node, parts: list[str]) -> list[str]:
    copies = [lowerer.fresh(part, "packed") for part in parts]
    rule = lowerer.pick("Copy", node)
    for start in range(0, len(parts), _CHAINS_OF_COPIES):
        group = slice(start, start + _CHAINS_OF_COPIES)
        chains = len(parts[group])
        lowerer.emit("Identity", node, rule, parts[group], copies[group], chains=chains)
    return copies
