"""Copies of its input that a convolution reads instead ([#geometry])."""

from __future__ import annotations

from n6convert.graph.operators import SUMS_AND_PRODUCTS
from n6convert.npu.chaining import DEPTHWISE_BLOCK
from n6convert.npu.cycles import INFLATED_GROUP, conv_plan, depthwise_group, is_fast, largest_divisor
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry
from n6convert.npu.lowering.core import Lowerer
from n6convert.npu.rules.limits import (
    LINE_BUFFER,
)
from n6convert.operators.versions import has

__all__ = ["repacked"]


_SMALL_DENSE = 8
"""Dense kernels above 1x1 and long accumulations read a copy on maps up to this width (SEEN r02, r03)."""


_SMALL_DEPTHWISE = 4
"""Depthwise kernels read a copy on maps up to this width before 2.2 (SEEN 5/5 r01, r03; not r39 on 2.2)."""


ELEMENTWISE_BLOCKS = SUMS_AND_PRODUCTS | {"PRelu"}


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
