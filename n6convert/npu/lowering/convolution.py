"""Convolutions and transposed convolutions ([#geometry], [#resize])."""

from __future__ import annotations

import math
from dataclasses import replace

from n6convert.errors import GraphError
from n6convert.npu.cycles import is_fast
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry, Units, Where
from n6convert.npu.lowering.conv_copies import repacked
from n6convert.npu.lowering.conv_geometry import check_parts, geometry_of, row_and_column, sub_kernels
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import (
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
)
from n6convert.operators.versions import has

__all__ = []


def _moved_maps(parts: int, version: tuple[int, int]) -> int:
    """16-bit maps that sub-kernels hand on to later epochs: four of a 7x7 on 2.2, five on 4.0 (SEEN r13)."""
    if parts <= 2:
        return 0
    return parts - 1 if has(version, "sums_one_by_one") else -(-2 * parts // 3)


@lowers("Conv")
def _conv(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    weights = lowerer.shape(node.inputs[1])
    if len(weights) < 3 or not all(weights):
        raise GraphError("convolution weights have an impossible shape", place=node.name, found=list(weights))
    kernel = row_and_column(list(weights[2:]), 1)
    groups = int(node.attributes.get("group", 1) or 1)
    geometry = geometry_of(lowerer, node, kernel, weights[0], groups)
    if geometry.in_channels != weights[1] * groups:
        raise GraphError(
            "channels and weights of a convolution do not fit",
            place=node.name,
            limit=f"{weights[1]} x {groups} groups",
            found=f"{geometry.in_channels} input channels",
        )
    if rule.where is not Where.HW:
        lowerer.emit("Conv", node, rule, node.inputs, node.outputs, conv=geometry)
    elif max(dilated_by(geometry)) > 1:
        _dilated(lowerer, node, rule, geometry)
    elif covers_its_map(geometry):
        _flattened(lowerer, node, rule, geometry)
    else:
        _hw_conv(lowerer, node, rule, geometry)


def dilated_by(geometry: ConvGeometry) -> tuple[int, int]:
    """Dilation of the axes along which the kernel has more than one tap."""
    rows, columns = (d if k > 1 else 1 for d, k in zip(geometry.dilations, geometry.kernel, strict=True))
    return rows, columns


def covers_its_map(geometry: ConvGeometry) -> bool:
    """True for a dense kernel as large as its unpadded map: one value per output channel."""
    whole = geometry.kernel == geometry.in_hw and not any(geometry.pads)
    return whole and geometry.kernel != (1, 1) and geometry.groups == 1


def _dilated(lowerer: Lowerer, node: Node, rule: Rule, geometry: ConvGeometry) -> None:
    """Every d-th row and column becomes a map of its own: SpaceToDepth, a plain convolution, DepthToSpace (6 of 6
    in r18; others agree)."""
    source, result = node.inputs[0], node.outputs[0]
    steps = dilated_by(geometry)
    inner, outer = _spread(geometry.in_hw, steps), _spread(geometry.out_hw, steps)
    gathered = lowerer.fresh(source, "gathered", _gathered(geometry.in_channels, inner, steps))
    parts = lowerer.fresh(result, "parts", _gathered(geometry.out_channels, outer, steps))
    lowerer.emit("SpaceToDepth", node, lowerer.pick("SpaceToDepth", node), [source], [gathered])
    plain = replace(geometry, dilations=(1, 1), in_hw=inner, out_hw=outer)
    units = lowerer.conv_units(plain, source, result)
    lowerer.emit("Conv", node, rule, [gathered, *node.inputs[1:]], [parts], units=units, conv=plain)
    lowerer.emit("DepthToSpace", node, lowerer.pick("DepthToSpace", node), [parts], [result])


def _spread(size: tuple[int, int], steps: tuple[int, int]) -> tuple[int, int]:
    """The next multiples of the steps: maps of unequal size are padded."""
    rows, columns = (-(-length // step) * step for length, step in zip(size, steps, strict=True))
    return rows, columns


def _gathered(channels: int, size: tuple[int, int], steps: tuple[int, int]) -> tuple[int, int, int, int]:
    return (1, channels * math.prod(steps), size[0] // steps[0], size[1] // steps[1])


def _flattened(lowerer: Lowerer, node: Node, rule: Rule, geometry: ConvGeometry) -> None:
    """A kernel that covers its map: SpaceToDepth, then a 1x1 convolution (r27 only, 4 of 4). The offset is taken off
    before, from 2.2 on in 16 bits."""
    source, result = node.inputs[0], node.outputs[0]
    channels = geometry.in_channels * math.prod(geometry.kernel)
    tensor = lowerer.tensors[source]
    x = source
    if not is_fast(tensor.zero_point, tensor.dtype):
        wide = has(lowerer.version, "offset_in_16_bits")
        x = lowerer.fresh(source, "offset", dtype="int16" if wide else None)
        if not wide:
            lowerer.tensors[x].zero_point = 0
        lowerer.emit("Sub", node, lowerer.pick("Copy", node), [source], [x], units=Units(arith=1))
    flat = lowerer.fresh(x, "flat", (1, channels, 1, 1))
    lowerer.emit("SpaceToDepth", node, lowerer.pick("SpaceToDepth", node), [x], [flat])
    plain = replace(geometry, kernel=(1, 1), in_channels=channels, in_hw=(1, 1), strides=(1, 1))
    units = lowerer.conv_units(plain, flat, result)
    lowerer.emit("Conv", node, rule, [flat, *node.inputs[1:]], [result], units=units, conv=plain)


def _hw_conv(lowerer: Lowerer, node: Node, rule: Rule, geometry: ConvGeometry) -> None:
    source, result = node.inputs[0], node.outputs[0]
    rows, columns = sub_kernels(geometry)
    narrow = geometry.depthwise and geometry.out_hw[1] == 1 and geometry.kernel[1] % KERNEL_WIDTH == 1 and columns > 1
    units = lowerer.conv_units(geometry, source, result)
    x = repacked(lowerer, node, lowerer.shifted(node, source), geometry)
    check_parts(node, rows * columns)
    moved = _moved_maps(rows * columns, lowerer.version)
    maps = 1 if narrow else max(moved, rows) if moved else 0
    joined = int(1 < rows * columns <= 2)
    split = Units(conv=min(4, max(units.conv, rows * columns)), arith=min(4, units.arith + joined))
    sums = _partial_sums(lowerer, result, maps) if maps else [result]
    spare = () if narrow else tuple(sums[moved:]) if maps else ()
    lowerer.emit("Conv", node, rule, [x, *node.inputs[1:]], sums, units=split, conv=geometry, spare=spare)
    if narrow:
        sums += [_narrow_part(lowerer, node, geometry, row) for row in range(rows)]
    epochs = rows - 1 if narrow else max(1, maps - 2) if maps else 0
    for index in range(epochs):
        last = index == epochs - 1
        target = result if last else _partial_sums(lowerer, result, 1)[0]
        taken = len(sums) if last or narrow else 2
        lowerer.emit("Add", node, rule, sums[:taken], [target], units=Units(arith=4), spare=spare if last else ())
        sums = [target, *sums[taken:]]


def _partial_sums(lowerer: Lowerer, result: str, number: int) -> list[str]:
    """16-bit results of sub-kernels, all kept until they are added.

    SEEN r13: with the sum 5 maps on 2.2, 6 on 4.0. A 7x7 with stride 2 keeps its three rows: the published memory of
    resnet18, squeezenet 1.0 and SqueezeNext 23 (3.0; 6,683 and 6,806 KiB outside the chip) to the KiB.
    """
    return [lowerer.fresh(result, "partial", dtype="int16") for _ in range(number)]


def _narrow_part(lowerer: Lowerer, node: Node, geometry: ConvGeometry, row: int) -> str:
    """A sub-kernel one column wide on a map of the kernel's size: the M55 computes it in float (SEEN 3/3 r07)."""
    rule = lowerer.pick("DepthwiseRest", node)
    height = min(KERNEL_HEIGHT, geometry.kernel[0] - row * KERNEL_HEIGHT)
    part = replace(geometry, kernel=(height, 1))
    result = lowerer.fresh(node.outputs[0], "rest", dtype="float32")
    lowerer.emit("Conv", node, rule, [node.inputs[0]], [result], conv=part)
    fixed = lowerer.fresh(node.outputs[0], "rest")
    lowerer.emit("Cast", node, rule, [result], [fixed], as_float=False)
    return fixed


@lowers("ConvTranspose")
def _conv_transpose(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    weights = lowerer.shape(node.inputs[1])
    groups = int(node.attributes.get("group", 1) or 1)
    kernel = row_and_column(list(weights[2:]), 1)
    geometry = geometry_of(lowerer, node, kernel, weights[1] * groups, groups)
    dense = replace(geometry, strides=(1, 1), in_hw=geometry.out_hw)
    if rule.where is not Where.HW:
        lowerer.emit("ConvTranspose", node, rule, node.inputs, node.outputs, conv=dense)
        return
    x = node.inputs[0]
    if max(geometry.strides) > 1:
        x = _zero_stuffed(lowerer, node, geometry)
    units = lowerer.conv_units(dense, x, node.outputs[0])
    lowerer.emit("Conv", node, rule, [x, *node.inputs[1:]], node.outputs, units=units, conv=dense)


def _zero_stuffed(lowerer: Lowerer, node: Node, geometry: ConvGeometry) -> str:
    source = node.inputs[0]
    batch, channels, *_ = lowerer.shape(source)
    factor = math.prod(geometry.strides)
    off = lowerer.pick("DepthToSpace", node)
    stuffed = lowerer.fresh(source, "zeros", (batch, channels * factor, *geometry.in_hw))
    lowerer.emit("Concat", node, off, [source], [stuffed])
    size = [a * b for a, b in zip(geometry.in_hw, geometry.strides, strict=True)]
    spread = lowerer.fresh(source, "spread", (batch, channels, *size))
    lowerer.emit("DepthToSpace", node, off, [stuffed], [spread])
    cropped = lowerer.fresh(source, "crop", (batch, channels, *geometry.out_hw))
    crop = ConvGeometry(channels, channels, (1, 1), groups=channels, in_hw=(size[0], size[1]), out_hw=geometry.out_hw)
    rule = lowerer.pick("Conv", node)
    lowerer.emit("Conv", node, rule, [spread], [cropped], units=Units(conv=1, arith=1), conv=crop, where=Where.HW)
    return cropped
