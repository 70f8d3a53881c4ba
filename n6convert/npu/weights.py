"""Bytes of parameters in flash: weights as they are stored, biases and scales, operands of other operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from n6convert.npu.ir import Lowered, Op, Where
from n6convert.npu.streams import stored_weights, vector_bytes
from n6convert.npu.targets import Target
from n6convert.operators.versions import has

__all__ = ["aligned", "weight_bytes"]

_ALIGNMENT = 16
_LARGE_MAP = 13
"""Rows and columns from which 3.0 counts biases and scales as weights: 14 are (MobileNetV1), 12 are not (YOLOX 192)."""


def aligned(address: int) -> int:
    """The next address that a buffer may start at."""
    return -(-address // _ALIGNMENT) * _ALIGNMENT


def weight_bytes(ops: Iterable[Op], lowered: Lowered, target: Target) -> int:
    """Bytes of parameters in flash: inflated weights, vectors, operands, constant outputs, each aligned
    ([#allocation]).

    A weight that several convolutions read is stored once ([#depthwise-weights]).

    Args:
        ops: that stay.
        lowered: operators of the graph.
        target: board and compiler version.
    """
    ops = list(ops)
    named = {name for op in ops if op.kind != "Conv" for name in op.inputs} | set(lowered.outputs)
    tensors = (lowered.tensors[name] for name in named if name in lowered.tensors)
    others = sum(aligned(tensor.nbytes) for tensor in tensors if tensor.constant)
    convolutions = [op for op in ops if op.kind == "Conv" and op.conv is not None]
    # convolutions of one operator read parts of its weights, others the same again
    owners = {op.inputs[1:2]: op.sources for op in reversed(convolutions)}
    stored = ((op, not op.inputs[1:2] or owners[op.inputs[1:2]] == op.sources) for op in convolutions)
    counted = _vectors_counted(convolutions, target)
    return others + sum(aligned(_conv_bytes(op, lowered, target, first, counted(op))) for op, first in stored)


def _vectors_counted(convolutions: Iterable[Op], target: Target) -> Callable[[Op], bool]:
    """Of which convolutions biases and scales count as weights: of all where no controller runs, else by version."""
    geometries = [op.conv for op in convolutions if op.conv is not None]
    if not target.epoch_controller:
        return lambda op: True
    if not has(target.version, "vectors_in_flash"):
        return lambda op: False
    if not has(target.version, "vectors_of_large_maps"):
        return lambda op: True
    depthwise = any(geometry.depthwise for geometry in geometries)
    return lambda op: depthwise and op.conv is not None and min(op.conv.out_hw) >= _LARGE_MAP


def _conv_bytes(op: Op, lowered: Lowered, target: Target, first: bool, counted: bool) -> int:
    """Weights as they are stored, and bias (4 bytes, 2 when zero: r13) and scale (2 bytes where there is one per
    channel), unless they are part of the controller's program (SEEN r01, r25, r32, r33, r41).

    ``first``: no operator before its own reads the same weights; ``counted``: bias and scale are weights.
    """
    assert op.conv is not None
    weights = lowered.tensors.get(op.inputs[1]) if len(op.inputs) > 1 else None
    if weights is not None and not weights.constant:
        return 0
    if op.where is not Where.HW:
        return math.prod(op.conv.weight_shape) * (4 if op.float else 1) * first
    per_channel = weights is not None and weights.per_channel
    bias = lowered.tensors.get(op.inputs[2]) if len(op.inputs) > 2 else None
    width = 0 if bias is None else 2 if bias.zero else 4
    vectors = (width + 2 * per_channel) * op.conv.out_channels
    return stored_weights(op, lowered.tensors, target) * first + (
        vector_bytes(op, lowered.tensors, target) or vectors * counted
    )
