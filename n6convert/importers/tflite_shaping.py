"""Operators of TFLite that move values, as ONNX: joins, slices, views, padding, look-ups."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.importers.tflite_builder import Builder, Unknown, reads
from n6convert.npu.tflite_file import TFLiteOperator

__all__: list[str] = []


@reads("CONCATENATION")
def _concat(b: Builder, op: TFLiteOperator) -> None:
    axis = b.axis(op.option(0), b.rank(op.outputs[0]))
    b.put(op.outputs[0], b.op("Concat", [b.value(name) for name in op.inputs], axis=axis), op.option(1, "i8"))


@reads("PACK")
def _pack(b: Builder, op: TFLiteOperator) -> None:
    axis = op.option(1) % b.rank(op.outputs[0])
    parts = [b.op("Unsqueeze", [b.plain(name), b.integers((axis,))]) for name in op.inputs]
    b.put_plain(op.outputs[0], b.op("Concat", parts, axis=axis))


@reads("UNPACK")
def _unpack(b: Builder, op: TFLiteOperator) -> None:
    x = op.inputs[0]
    axis, value = op.option(1) % b.rank(x), b.plain(x)
    for index, name in enumerate(op.outputs):
        part = b.op("Gather", [value, b.constant(np.int64(index))], axis=axis)
        b.put_plain(name, part)


@reads("SPLIT", "SPLIT_V")
def _split(b: Builder, op: TFLiteOperator) -> None:
    x, axis = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
    rank, at = b.rank(x), b.ints(axis)[0]
    sizes = [b.shape(name)[at] for name in op.outputs]
    values = b.writer.split(None, b.value(x), sizes, b.axis(at, rank))
    for name, value in zip(op.outputs, values, strict=True):
        b.put(name, value)


@reads("SLICE")
def _slice(b: Builder, op: TFLiteOperator) -> None:
    x, begin, size = op.inputs
    starts, sizes = b.ints(begin), b.ints(size)
    ends = [b.shape(x)[a] if n < 0 else s + n for a, (s, n) in enumerate(zip(starts, sizes, strict=True))]
    b.put(op.outputs[0], _cut(b, x, starts, ends, [1] * len(starts)))


def _cut(b: Builder, x: str, starts: list[int], ends: list[int], steps: list[int]) -> ir.Value:
    """A slice along the axes on which anything is left out; bounds as Python's slices have them."""
    whole = b.shape(x)
    rank = len(whole)
    axes = [a for a in range(rank) if len(range(*slice(starts[a], ends[a], steps[a]).indices(whole[a]))) < whole[a]]
    axes += [a for a in range(rank) if a not in axes and steps[a] != 1]
    if not axes:
        return b.value(x)
    picked = [[values[a] for a in axes] for values in (starts, ends)]
    inner = [b.axis(a, rank) for a in axes]
    return b.op("Slice", [b.value(x), *map(b.integers, (*picked, inner, [steps[a] for a in axes]))])


@reads("STRIDED_SLICE")
def _strided_slice(b: Builder, op: TFLiteOperator) -> None:
    x = op.inputs[0]
    begin_mask, end_mask, ellipsis, new, shrink = (op.option(i) for i in range(5))
    if ellipsis or new:
        raise Unknown("a slice with an ellipsis or a new axis is not read", place=op.outputs[0])
    begin, end, steps = (b.ints(name) for name in op.inputs[1:4])
    whole, starts, ends, by = b.shape(x), [], [], []
    for axis, size in enumerate(whole):
        start, stop, step = (begin[axis], end[axis], steps[axis]) if axis < len(begin) else (0, size, 1)
        if shrink >> axis & 1:
            start, stop, step = start % size, start % size + 1, 1
        else:
            first, last = (size - 1, -size - 1) if step < 0 else (0, size)
            start, stop = first if begin_mask >> axis & 1 else start, last if end_mask >> axis & 1 else stop
        starts.append(start)
        ends.append(stop)
        by.append(step)
    value, out = _cut(b, x, starts, ends, by), op.outputs[0]
    if not shrink:
        b.put(out, value)
        return
    kept = tuple(len(range(*slice(s, e, t).indices(n))) for s, e, t, n in zip(starts, ends, by, whole, strict=True))
    _reshape_to(b, value, kept, out)


def _reshape_to(b: Builder, value: ir.Value, shape: tuple[int, ...], out: str) -> None:
    """A view of a value in the graph's order, whose shape in TFLite's order is given."""
    from n6convert.npu.layout import invert, permuted

    perm = b.perm(len(shape))
    plain = b.turned(value, permuted(shape, perm), invert(perm))
    b.put_plain(out, b.op("Reshape", [plain, b.integers(b.shape(out))]))


@reads("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(b: Builder, op: TFLiteOperator) -> None:
    x, out = op.inputs[0], op.outputs[0]
    before, after = b.shape(x), b.shape(out)
    same_ends = min(len(before), len(after)) >= 3 and (before[0], before[-1]) == (after[0], after[-1])
    if before == after:
        b.put(out, b.value(x))
    elif same_ends:  # the order of what lies between batch and channels is the same in both layouts
        b.put(out, b.op("Reshape", [b.value(x), b.integers([after[axis] for axis in b.perm(len(after))])]))
    else:
        b.put_plain(out, b.op("Reshape", [b.plain(x), b.integers(b.shape(out))]))


@reads("TRANSPOSE")
def _transpose(b: Builder, op: TFLiteOperator) -> None:
    perm = b.ints(op.inputs[1])
    inner = b.perm(len(perm))
    composed = [inner.index(perm[axis]) for axis in inner]
    value = b.value(op.inputs[0])
    b.put(op.outputs[0], value if composed == sorted(composed) else b.op("Transpose", [value], perm=composed))


@reads("PAD", "PADV2", "MIRROR_PAD")
def _pad(b: Builder, op: TFLiteOperator) -> None:
    x, amounts, *fill = op.inputs
    pairs = np.reshape(b.ints(amounts), (-1, 2))
    pads = b.integers([int(pairs[axis][side]) for side in (0, 1) for axis in b.perm(len(pairs))])
    if op.kind == "MIRROR_PAD":
        if op.option(0, "i8") != 0:
            raise Unknown("symmetric mirror padding is not read", place=op.outputs[0])
        b.put(op.outputs[0], b.op("Pad", [b.value(x), pads], mode="reflect"))
        return
    value = [b.constant(b.data(name).reshape(()).astype(np.float32)) for name in fill]
    b.put(op.outputs[0], b.op("Pad", [b.value(x), pads, *value], mode="constant"))


@reads("GATHER")
def _gather(b: Builder, op: TFLiteOperator) -> None:
    if op.option(1):
        raise Unknown("a Gather with batches is not read", place=op.outputs[0])
    axis = op.option(0) % b.rank(op.inputs[0])
    b.put_plain(op.outputs[0], b.op("Gather", [b.plain(name) for name in op.inputs], axis=axis))


@reads("GATHER_ND")
def _gather_nd(b: Builder, op: TFLiteOperator) -> None:
    indices = b.op("Cast", [b.plain(op.inputs[1])], to=ir.DataType.INT64)
    b.put_plain(op.outputs[0], b.op("GatherND", [b.plain(op.inputs[0]), indices]))


@reads("TILE")
def _tile(b: Builder, op: TFLiteOperator) -> None:
    sizes = zip(b.shape(op.outputs[0]), b.shape(op.inputs[0]), strict=True)
    repeats = b.integers([after // before for after, before in sizes])
    b.put_plain(op.outputs[0], b.op("Tile", [b.plain(op.inputs[0]), repeats]))


@reads("BROADCAST_TO")
def _broadcast(b: Builder, op: TFLiteOperator) -> None:
    out = op.outputs[0]
    b.put_plain(out, b.op("Expand", [b.plain(op.inputs[0]), b.integers(b.shape(out))]))


@reads("FILL")
def _fill(b: Builder, op: TFLiteOperator) -> None:
    out = op.outputs[0]
    b.put_plain(out, b.op("Expand", [b.plain(op.inputs[1]), b.integers(b.shape(out))]))


@reads("SHAPE")
def _shape(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.constant(np.array(b.shape(op.inputs[0]), np.int32)))
