"""Convolutions, transposed convolutions, pools and padding ([#geometry], [#resize], [#pad])."""

from __future__ import annotations

import math
from dataclasses import replace

from n6convert.errors import GraphError
from n6convert.graph.operators import SUMS_AND_PRODUCTS, WINDOW_POOLS
from n6convert.npu.chaining import DEPTHWISE_BLOCK
from n6convert.npu.cycles import INFLATED_GROUP, conv_plan, depthwise_group, is_fast, largest_divisor
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry, Units, Where
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import (
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    KERNEL_WIDTH_STRIDED,
    LINE_BUFFER,
    POOL_WINDOW,
)
from n6convert.operators.versions import has

__all__ = ["geometry_of", "repacked"]

_SMALL_DENSE = 8
"""Dense kernels above 1x1 and long accumulations read a copy on maps up to this width (SEEN r02, r03)."""
_SMALL_DEPTHWISE = 4
"""Depthwise kernels read a copy on maps up to this width before 2.2 (SEEN 5/5 r01, r03; not r39 on 2.2)."""
ELEMENTWISE_BLOCKS = SUMS_AND_PRODUCTS | {"PRelu"}
_MOST_PARTS = 1024
"""Native kernels that one operator may be split into; more than any real network needs."""
_FUSED_TURN = 32
"""A pool whose channels are a multiple of this writes its planes in the order of a channel Pad (SEEN r27 at 32, 64)."""


def _two(values: list[int] | None, default: int) -> tuple[int, int]:
    if not values:
        return (default, default)
    return (int(values[0]), int(values[-1])) if len(values) > 1 else (1, int(values[0]))


def _map(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an activation; rank 3 is one row."""
    if len(shape) < 3:
        return (1, 1)
    return (1, shape[2]) if len(shape) == 3 else (shape[2], math.prod(shape[3:]))


def geometry_of(lowerer: Lowerer, node: Node, kernel: tuple[int, int], out_channels: int, groups: int) -> ConvGeometry:
    """Geometry of a convolution or pool; raises :class:`GraphError` for ranks that the compiler does not know.

    Args:
        lowerer: knows the shapes.
        node: the convolution or pool.
        kernel: height and width.
        out_channels: channels of the result.
        groups: of channels.
    """
    shape, result = lowerer.shape(node.inputs[0]), lowerer.shape(node.outputs[0])
    if len(shape) not in (3, 4) or len(result) != len(shape):
        raise GraphError(
            "only 1-D and 2-D convolutions and pools are supported, by ST's import too",
            place=node.name,
            found=list(shape),
            remedy="`n6convert rewrite` writes 3-D ones as 2-D",
        )
    geometry = ConvGeometry(
        out_channels=out_channels,
        in_channels=shape[1],
        kernel=kernel,
        strides=_two(node.attributes.get("strides"), 1),
        pads=_pads(node, shape, result, kernel),
        dilations=_two(node.attributes.get("dilations"), 1),
        groups=groups,
        in_hw=_map(shape),
        out_hw=_map(result),
    )
    _check(node, geometry)
    return geometry


def _check(node: Node, geometry: ConvGeometry) -> None:
    top, left, bottom, right = geometry.pads
    room = (geometry.in_hw[0] + top + bottom, geometry.in_hw[1] + left + right)
    sizes = (*geometry.kernel, *geometry.strides, *geometry.dilations, geometry.groups, geometry.out_channels)
    transposed = node.op == "ConvTranspose"
    if min(sizes) < 1 or (not transposed and any(k > r for k, r in zip(geometry.kernel, room, strict=True))):
        raise GraphError(
            "the kernel of a convolution or pool does not fit its input",
            place=node.name,
            limit=f"at most {room[0]}x{room[1]}, strides and dilations from 1",
            found=f"kernel {geometry.kernel}, strides {geometry.strides}, dilations {geometry.dilations}",
        )


def _pads(
    node: Node, shape: tuple[int, ...], result: tuple[int, ...], kernel: tuple[int, int]
) -> tuple[int, int, int, int]:
    pads = node.attributes.get("pads")
    if node.attributes.get("auto_pad", "NOTSET").startswith("SAME"):
        strides = _two(node.attributes.get("strides"), 1)
        sizes = zip(_map(result), strides, kernel, _map(shape), strict=True)
        need = [max((out - 1) * stride + taps - size, 0) for out, stride, taps, size in sizes]
        return (need[0] // 2, need[1] // 2, need[0] - need[0] // 2, need[1] - need[1] // 2)
    if not pads:
        return (0, 0, 0, 0)
    if len(pads) == 2:
        return (0, int(pads[0]), 0, int(pads[1]))
    return (int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3]))


def _check_parts(node: Node, parts: int) -> None:
    if parts > _MOST_PARTS:
        raise GraphError(
            "the kernel of a convolution or pool is too large",
            place=node.name,
            limit=f"{_MOST_PARTS} native kernels",
            found=parts,
            remedy="use smaller kernels, or a global pool",
        )


def _sub_kernels(geometry: ConvGeometry) -> tuple[int, int]:
    """Rows and columns of native kernels that a large kernel is split into ([#geometry])."""
    native = KERNEL_WIDTH if geometry.strides[1] == 1 else KERNEL_WIDTH_STRIDED
    return -(-geometry.kernel[0] // KERNEL_HEIGHT), -(-geometry.kernel[1] // native)


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
    kernel = _two(list(weights[2:]), 1)
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
    rows, columns = _sub_kernels(geometry)
    narrow = geometry.depthwise and geometry.out_hw[1] == 1 and geometry.kernel[1] % KERNEL_WIDTH == 1 and columns > 1
    units = lowerer.conv_units(geometry, source, result)
    x = repacked(lowerer, node, lowerer.shifted(node, source), geometry)
    _check_parts(node, rows * columns)
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


def repacked(lowerer: Lowerer, node: Node, source: str, geometry: ConvGeometry) -> str:
    """The tensor a convolution reads: a copy with another batch depth when the stored one does not suit it.

    Args:
        lowerer: gets the copy.
        node: the convolution.
        source: name of its input.
        geometry: what it wants.
    """
    if not _needs_copy(lowerer, source, geometry):
        return source
    key = (source, "repack")
    if key not in lowerer.cache:
        lowerer.cache[key] = lowerer.fresh(source, "cp_in")
        lowerer.emit("Identity", node, lowerer.pick("Copy", node), [source], [lowerer.cache[key]])
    return lowerer.cache[key]


def _needs_copy(lowerer: Lowerer, source: str, geometry: ConvGeometry) -> bool:
    width, channels = geometry.in_hw[1], geometry.group_channels
    if lowerer.writers.get(source) is None or not has(lowerer.version, "copies_for_convolutions"):
        return False
    tensor = lowerer.tensors[source]
    fast = is_fast(tensor.zero_point, tensor.dtype)
    if geometry.depthwise:
        return not _chained(lowerer, source, geometry, fast) and _regrouped(geometry, fast, lowerer.version)
    if geometry.kernel != (1, 1):
        return channels > 8 and (1 < width <= _SMALL_DENSE or width * channels >= LINE_BUFFER)
    return not fast and _long_accumulation(lowerer, source, geometry)


def _chained(lowerer: Lowerer, source: str, geometry: ConvGeometry, fast: bool) -> bool:
    """True when the kernel takes blocks as they are produced: see :mod:`n6convert.npu.chaining`."""
    writer = lowerer.writers[source]
    if fast:
        return _stored_blocks(lowerer, source) == INFLATED_GROUP and writer.op == "Conv"
    four = depthwise_group(geometry, fast, lowerer.version) == INFLATED_GROUP // 2
    return four and writer.op in ELEMENTWISE_BLOCKS and geometry.in_channels <= DEPTHWISE_BLOCK


def _regrouped(geometry: ConvGeometry, fast: bool, version: tuple[int, int]) -> bool:
    """Depthwise kernels read blocks of 4 or 1 channels from a copy; blocks of 8 from the map as it is stored, but for
    narrow maps before 2.2 (SEEN r27 16 of 16, r29 9 of 9, r56 3 of 3; r01, r03; not r07's whole-map kernel)."""
    if geometry.out_hw == (1, 1):
        return False
    group = depthwise_group(geometry, fast, version)
    in_place = has(version, "narrow_depthwise_in_place")
    narrow = fast and not in_place and 1 < geometry.in_hw[1] <= _SMALL_DEPTHWISE
    return group < INFLATED_GROUP or narrow


def _long_accumulation(lowerer: Lowerer, source: str, geometry: ConvGeometry) -> bool:
    """A 1x1 convolution of several passes reads blocks of its own depth: from a copy where the map is narrow and stored
    whole, or stored in blocks of another depth (SEEN r02, r27, r29, r31; r07, r39: none where the blocks match)."""
    plan = conv_plan(geometry, False, lowerer.version)
    if plan.passes == 1 or geometry.in_hw[1] == 1:
        return False
    blocks = _stored_blocks(lowerer, source)
    if blocks is not None:
        return blocks != plan.batch
    return geometry.in_hw[1] <= _SMALL_DENSE


def _stored_blocks(lowerer: Lowerer, source: str) -> int | None:
    """Depth of the blocks in which a 1x1 convolution, alone or with a sum behind it, stores its result; None for
    maps that are stored whole."""
    writer = lowerer.writers[source]
    makers = [writer] if writer.op != "Add" else [lowerer.writers.get(name) for name in writer.inputs]
    for maker in makers:
        if maker is not None and maker.op == "Conv" and lowerer.shape(maker.inputs[1])[2:] == (1, 1):
            return largest_divisor(lowerer.shape(maker.outputs[0])[1], 24)
    return None


@lowers("ConvTranspose")
def _conv_transpose(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    weights = lowerer.shape(node.inputs[1])
    groups = int(node.attributes.get("group", 1) or 1)
    kernel = _two(list(weights[2:]), 1)
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


@lowers("MaxPool", "AveragePool")
def _pool(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    kernel = _two(node.attributes.get("kernel_shape"), 1)
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
    _check_parts(node, steps)
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
    pad = ConvGeometry(channels, channels, (1, 1), groups=channels, in_hw=_map(shape), out_hw=_map(size))
    lowerer.emit("Conv", node, rule, [source], [result], units=Units(conv=1, arith=1), conv=pad, macs=1)
