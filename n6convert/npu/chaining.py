"""Which convolutions start in the epoch of the operator that they read, up to core 2.2 ([#epoch-rules] rule 2).

A convolution that follows in the same epoch takes its input as it is produced, so the blocks of channels must match:
a convolution writes ``kernels`` channels at a time, a depthwise one reads 8 (or 4), a 1x1 one all of few channels.
Taken from r01, r03, r29, r33, r56 (9 of 9 pairs with equal blocks, none with unequal ones); r39 (-O0) agrees in 1 of
2; from 3.0 on never (r01). A depthwise kernel with a stride does not follow a convolution: no report has such a pair;
memory and time of the six st_yolo_x_nano on 2.0 say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from n6convert.graph.operators import SUMS_AND_PRODUCTS
from n6convert.npu.cycles import INFLATED_GROUP, depthwise_group, is_fast, largest_divisor, plan_of
from n6convert.npu.ir import Op, Tensor, Units
from n6convert.operators.versions import has

__all__ = ["DEPTHWISE_BLOCK", "can_chain", "pooled_first", "split_scale"]

_SCALE = "/scale"
_ELEMENTWISE = SUMS_AND_PRODUCTS | {"Relu", "Clip"}
DEPTHWISE_BLOCK = 24
"""Elementwise results of up to this many channels are one block for a depthwise kernel (r27 16, r56 24; not 32)."""
_POINTWISE_BLOCK = 16
"""The same for a 1x1 convolution (SEEN r02 16; not r39 24). Behind the second half of a depthwise kernel's scaling only
the one block that the kernel wrote (SEEN 8 in r01, r03, r33; the memory of two MobileNetV1 0.5 on 2.0 rules 16 out)."""


def can_chain(op: Op, before: Op, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> bool:
    """True when a convolution takes the blocks that ``before`` produces, in the same epoch.

    Args:
        op: the later convolution.
        before: the operator in front of it.
        tensors: by name.
        version: of the compiler.
    """
    if not has(version, "chained_blocks") or op.conv is None or op.units.conv != 1:
        return False
    source = tensors[op.inputs[0]]
    fast = is_fast(source.zero_point, source.dtype) or _becomes_unsigned(source)
    group = depthwise_group(op.conv, fast, version)
    wanted = group if op.conv.depthwise else _whole(op, tensors, version)
    if wanted is None or wanted == 1 or not (fast or group == 4):
        return False
    if before.conv is not None:
        strided = op.conv.depthwise and max(op.conv.strides) > 1
        return fast and not strided and _block(before) == wanted and (op.conv.depthwise or before.conv.depthwise)
    if op.conv.depthwise:
        return before.kind in _ELEMENTWISE and op.conv.in_channels <= DEPTHWISE_BLOCK and not _is_scale(before)
    limit = INFLATED_GROUP if _is_scale(before) else _POINTWISE_BLOCK
    return before.kind in _ELEMENTWISE and op.conv.in_channels <= limit


def _becomes_unsigned(tensor: Tensor) -> bool:
    return tensor.dtype == "int8" and tensor.zero_point == -128


def _whole(op: Op, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> int | None:
    """Channels of a 1x1 convolution that reads all of them at once with one unit."""
    plan = plan_of(op, tensors, version)
    if plan is None or op.conv is None or op.conv.kernel != (1, 1) or plan.units != 1 or plan.passes != 1:
        return None
    return plan.batch


def _block(op: Op) -> int:
    """Channels that a convolution writes at a time (232 and 328 channels: eight, SEEN r01)."""
    assert op.conv is not None
    pointwise = op.conv.kernel == (1, 1) and not op.conv.depthwise
    return largest_divisor(op.conv.out_channels, 24 if pointwise else 8)


def _is_scale(op: Op) -> bool:
    """The second half of a convolution's scaling: a depthwise kernel waits for it (SEEN r03, r33)."""
    return op.name.endswith(_SCALE)


def split_scale(op: Op, free: int, tensors: dict[str, Tensor]) -> tuple[Op, Op]:
    """A convolution with as many of its ARITH units as are free, and the rest of its scaling for the next epoch; a
    16-bit map lies between them (SEEN r33, r39, r56).

    Args:
        op: a convolution.
        free: ARITH units left in its epoch.
        tensors: by name; the map between the two is added.
    """
    result = op.outputs[0]
    partial = f"{result}/partial"
    tensors[partial] = replace(tensors[result], name=partial, dtype="int16")
    here = min(free, op.units.arith)
    first = replace(op, outputs=(partial,), units=Units(conv=op.units.conv, arith=here))
    rest = replace(
        op, name=f"{op.name}{_SCALE}", kind="Add", inputs=(partial,), conv=None, macs=0,
        units=Units(arith=op.units.arith - here),
    )  # fmt: skip
    return first, rest


def pooled_first(op: Op, tensors: dict[str, Tensor]) -> tuple[Op, Op]:
    """A global pool behind sums that left it no ARITH unit: it pools in their epoch and is scaled in the next one, a
    value per channel (SEEN r13: the last epoch behind a 7x7 takes 1,000 NPU cycles, not a map's 131,072).

    Args:
        op: a global pool.
        tensors: by name; the pooled values are added.
    """
    result = op.outputs[0]
    pooled = f"{result}/pooled"
    tensors[pooled] = replace(tensors[result], name=pooled, dtype="int16")
    first = replace(op, outputs=(pooled,), units=replace(op.units, arith=0))
    return first, replace(op, name=f"{op.name}{_SCALE}", kind="Mul", inputs=(pooled,), units=Units(arith=1))
