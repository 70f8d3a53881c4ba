"""Layout changes, splits, resizes and reductions ([#layout] - [#resize])."""

from __future__ import annotations

import math

from n6convert.npu.graph import Node
from n6convert.npu.ir import Units, Where
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules.limits import STREAM_BATCH
from n6convert.operators.versions import has

__all__: list[str] = []


@lowers("Transpose")
def _transpose(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if node.attributes.get("graph_edge") and source in lowerer.graph.inputs:
        lowerer.view(node, source, result, "Transpose")
    elif rule.where is Where.NONE:
        lowerer.view(node, source, result, "Reshape")
    elif rule.where is Where.HW and lowerer.is_float(source) and not lowerer.tensors[result].quantized:
        lowerer.emit("Transpose", node, rule, [lowerer.floats.get(source, source)], [result])
    else:
        lowerer.emit("Transpose", node, rule, [source], [result], stored_last=_to_stored_order(lowerer, node))


def _to_stored_order(lowerer: Lowerer, node: Node) -> bool:
    """True when the permutation only names the order in which a map lies in memory anyway (channel-last)."""
    rank = len(lowerer.shape(node.inputs[0]))
    return rank == 4 and tuple(node.attributes.get("perm") or ()) == (0, 2, 3, 1)


@lowers("Split")
def _split(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if rule.where is Where.NONE:
        lowerer.view(node, node.inputs[0], node.outputs[0])
        return
    outputs = [name for name in node.outputs if name]
    lowerer.emit("Split", node, rule, node.inputs[:1], outputs)
    if rule.where is Where.HW:
        _pack_parts(lowerer, node, outputs)


@lowers("Slice")
def _slice(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if rule.where is Where.NONE:
        lowerer.view(node, node.inputs[0], node.outputs[0])
        return
    lowerer.emit("Slice", node, rule, node.inputs[:1], node.outputs)
    if rule.where is Where.HW:
        _pack_parts(lowerer, node, list(node.outputs))


def _pack_parts(lowerer: Lowerer, node: Node, outputs: list[str]) -> None:
    """Parts that a convolution reads are packed to their full depth, up to core 2.2."""
    if not has(lowerer.version, "packed_parts"):
        return
    rule = lowerer.pick("Copy", node)
    for name in outputs:
        shape = lowerer.shape(name)
        wide = len(shape) == 4 and shape[1] > STREAM_BATCH
        kernels = [n for n in lowerer.readers.get(name, ()) if n.op == "Conv"]
        if wide and kernels:
            packed = lowerer.fresh(name, "packed")
            lowerer.emit("Identity", node, rule, [name], [packed])
            for reader in kernels:
                reader.inputs = tuple(packed if x == name else x for x in reader.inputs)


@lowers("Resize", "Upsample")
def _resize(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if rule.where is not Where.HW:
        lowerer.emit(node.op, node, rule, [source], [result])
        return
    before, after = lowerer.shape(source), lowerer.shape(result)
    factor = math.prod(after[2:]) // max(1, math.prod(before[2:]))
    expanded = lowerer.fresh(source, "expansion", (before[0], before[1] * factor, *before[2:]))
    lowerer.emit("Concat", node, rule, [source], [expanded])
    off = lowerer.pick("DepthToSpace", node)
    lowerer.emit("DepthToSpace", node, off, [expanded], [result])


@lowers("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool")
def _reduce(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    mean = node.op in ("ReduceMean", "GlobalAveragePool")
    kind = "GlobalAveragePool" if mean else "GlobalMaxPool"
    source, result = node.inputs[0], node.outputs[0]
    shape = lowerer.shape(source)
    axes = _axes(lowerer, node, len(shape))
    x = source
    if rule.where is Where.HW and axes and axes != list(range(len(shape) - len(axes), len(shape))):
        order = [axis for axis in range(len(shape)) if axis not in axes] + axes
        x = lowerer.fresh(source, "turned", [shape[axis] for axis in order])
        lowerer.emit("Transpose", node, lowerer.pick("Copy", node), [source], [x])
    lowerer.emit(kind, node, rule, [x], [result], units=Units(pool=1, arith=1))


def _axes(lowerer: Lowerer, node: Node, rank: int) -> list[int]:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = lowerer.graph.ints(node.inputs[1])
    if axes is None:
        return list(range(2, rank)) if node.op.startswith("Global") else list(range(rank))
    return sorted(int(axis) % rank for axis in axes) if rank else []
