"""Pools and padding ([#geometry], [#pad])."""

from __future__ import annotations

from dataclasses import replace

from n6convert.graph.operators import WINDOW_POOLS
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry, Units, Where
from n6convert.npu.lowering.conv_geometry import check_parts, geometry_of, map_size, row_and_column
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import (
    POOL_WINDOW,
)
from n6convert.operators.versions import has

__all__ = []


_FUSED_TURN = 32
"""A pool whose channels are a multiple of this writes its planes in the order of a channel Pad (SEEN r27 at 32, 64)."""


@lowers("MaxPool", "AveragePool")
def _pool(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    kernel = row_and_column(node.attributes.get("kernel_shape"), 1)
    channels = lowerer.shape(node.inputs[0])[1]
    geometry = geometry_of(lowerer, node, kernel, channels, channels)
    whole = kernel == geometry.in_hw and not any(geometry.pads)
    if rule.where is not Where.HW or max(kernel) <= POOL_WINDOW or (whole and node.op == "AveragePool"):
        lowerer.emit(node.op, node, rule, node.inputs[:1], node.outputs[:1], units=_pool_units(node.op), window=kernel)
        return
    _decomposed_pool(lowerer, node, rule, geometry)


def _pool_units(op: str) -> Units:
    return Units(pool=1, arith=1 if op == "AveragePool" else 0)


def _decomposed_pool(lowerer: Lowerer, node: Node, rule: Rule, geometry: ConvGeometry) -> None:
    """A padding convolution and a chain of native pools, two to an epoch (SEEN r02)."""
    source = node.inputs[0]
    top, left, bottom, right = geometry.pads
    size = (geometry.in_hw[0] + top + bottom, geometry.in_hw[1] + left + right)
    x = lowerer.fresh(source, "pad", (1, geometry.in_channels, *size))
    pad = replace(geometry, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), out_hw=size)
    lowerer.emit("Conv", node, rule, [source], [x], units=Units(conv=1), conv=pad, macs=1)
    steps = -(-(max(geometry.kernel) - 1) // (POOL_WINDOW - 1))
    check_parts(node, steps)
    for step in range(steps):
        result = node.outputs[0] if step == steps - 1 else lowerer.fresh(source, "pool")
        lowerer.emit(node.op, node, rule, [x], [result], units=_pool_units(node.op), window=(POOL_WINDOW, POOL_WINDOW))
        x = result


@lowers("Pad")
def _pad(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if rule.where is not Where.HW:
        lowerer.emit("Pad", node, rule, node.inputs[:1], node.outputs)
        return
    source, result = node.inputs[0], node.outputs[0]
    if rule.name == "pad-spatial" or len(lowerer.shape(source)) < 3:  # a vector has no rows to turn
        _padding_conv(lowerer, node, rule, source, result)
        return
    turn = lowerer.pick("Transpose", node, perm=(0, 2, 1, *range(3, len(lowerer.shape(source)))))
    before, after = _turned(lowerer, source), _turned(lowerer, result)
    if _turned_by_pool(lowerer, source):
        lowerer.emit("Transpose", node, lowerer.pick("Copy", node), [source], [before], fused=True)
    else:
        lowerer.emit("Transpose", node, turn, [source], [before])
        before = _planar(lowerer, node, before)
    _padding_conv(lowerer, node, rule, before, after)
    lowerer.emit("Transpose", node, turn, [after], [result])


def _turned(lowerer: Lowerer, name: str) -> str:
    """A map with its channels as rows: those of a spatial Pad (SEEN r27, r56)."""
    batch, channels, *rows = lowerer.shape(name)
    return lowerer.fresh(name, "turned", (batch, *rows[:1], channels, *rows[1:]))


def _turned_by_pool(lowerer: Lowerer, source: str) -> bool:
    """The first Transpose of a channel Pad rides along with a pool before it (SEEN r27 at 32 and 64 channels, not at
    16; not r56 at 28, 42)."""
    writer = lowerer.writers.get(source)
    return writer is not None and writer.op in WINDOW_POOLS and lowerer.shape(source)[1] % _FUSED_TURN == 0


def _planar(lowerer: Lowerer, node: Node, source: str) -> str:
    """Software stores whole pixels; the padding convolution reads planes, up to 2.2 from a copy (SEEN r27, r56)."""
    if not has(lowerer.version, "copies_for_convolutions"):
        return source
    planes = lowerer.fresh(source, "planes")
    lowerer.emit("Identity", node, lowerer.pick("Copy", node), [source], [planes])
    return planes


def _padding_conv(lowerer: Lowerer, node: Node, rule: Rule, source: str, result: str) -> None:
    shape, size = lowerer.shape(source), lowerer.shape(result)
    channels = shape[1] if len(shape) > 1 else 1
    pad = ConvGeometry(channels, channels, (1, 1), groups=channels, in_hw=map_size(shape), out_hw=map_size(size))
    lowerer.emit("Conv", node, rule, [source], [result], units=Units(conv=1, arith=1), conv=pad, macs=1)
