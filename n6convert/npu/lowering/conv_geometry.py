"""Geometry of convolutions and pools, checked ([#geometry])."""

from __future__ import annotations

import math

from n6convert.errors import GraphError
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry
from n6convert.npu.lowering.core import Lowerer
from n6convert.npu.rules.limits import (
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    KERNEL_WIDTH_STRIDED,
)

__all__ = ["check_parts", "geometry_of", "map_size", "sub_kernels", "row_and_column"]


_MOST_PARTS = 1024
"""Native kernels that one operator may be split into; more than any real network needs."""


def row_and_column(values: list[int] | None, default: int) -> tuple[int, int]:
    """Values for rows and columns of an attribute that has one, two or none."""
    if not values:
        return (default, default)
    return (int(values[0]), int(values[-1])) if len(values) > 1 else (1, int(values[0]))


def map_size(shape: tuple[int, ...]) -> tuple[int, int]:
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
        strides=row_and_column(node.attributes.get("strides"), 1),
        pads=_pads(node, shape, result, kernel),
        dilations=row_and_column(node.attributes.get("dilations"), 1),
        groups=groups,
        in_hw=map_size(shape),
        out_hw=map_size(result),
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
        strides = row_and_column(node.attributes.get("strides"), 1)
        sizes = zip(map_size(result), strides, kernel, map_size(shape), strict=True)
        need = [max((out - 1) * stride + taps - size, 0) for out, stride, taps, size in sizes]
        return (need[0] // 2, need[1] // 2, need[0] - need[0] // 2, need[1] - need[1] // 2)
    if not pads:
        return (0, 0, 0, 0)
    if len(pads) == 2:
        return (0, int(pads[0]), 0, int(pads[1]))
    return (int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3]))


def check_parts(node: Node, parts: int) -> None:
    """Refuse a kernel of more native ones than any real network needs.

    Raises:
        GraphError: it has more.
    """
    if parts > _MOST_PARTS:
        raise GraphError(
            "the kernel of a convolution or pool is too large",
            place=node.name,
            limit=f"{_MOST_PARTS} native kernels",
            found=parts,
            remedy="use smaller kernels, or a global pool",
        )


def sub_kernels(geometry: ConvGeometry) -> tuple[int, int]:
    """Rows and columns of native kernels that a large kernel is split into ([#geometry])."""
    native = KERNEL_WIDTH if geometry.strides[1] == 1 else KERNEL_WIDTH_STRIDED
    return -(-geometry.kernel[0] // KERNEL_HEIGHT), -(-geometry.kernel[1] // native)
