"""Operators of TFLite that move values: joins, slices, views, transposes, padding."""

from __future__ import annotations

import numpy as np

from n6convert.npu.ir import Tensor
from n6convert.npu.layout import permuted
from n6convert.npu.tflite_file import TFLiteOperator
from n6convert.npu.tflite_handlers import broadcast, translates
from n6convert.npu.tflite_translator import Translator

__all__: list[str] = []


@translates("CONCATENATION")
def _concat(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    axis = t.axis(op.option(0), rank)
    t.emit("Concat", [broadcast(t, name, rank) for name in op.inputs], op.outputs, axis=axis)


@translates("PACK")
def _pack(t: Translator, op: TFLiteOperator) -> None:
    axis = op.option(1)
    parts = []
    for name in op.inputs:
        part = t.fresh(name, "item", None)
        t.graph.values[f"{part}/axis"] = np.array([axis])
        t.graph.tensors[f"{part}/axis"] = Tensor(f"{part}/axis", (1,), "int64", constant=True)
        t.emit("Unsqueeze", [t.to_last(name), f"{part}/axis"], [part])
        parts.append(part)
    t.emit("Concat", parts, [t.from_last(op.outputs[0])], axis=axis)


@translates("UNPACK")
def _unpack(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.inputs[0])
    axis = op.option(1) % rank
    shape = t.original(op.inputs[0])
    part = (*shape[:axis], 1, *shape[axis + 1 :])
    pieces = [t.fresh(name, "item", permuted(part, t.perm(rank))) for name in op.outputs]
    t.emit("Split", op.inputs[:1], pieces, axis=t.axis(axis, rank))
    for piece, name in zip(pieces, op.outputs, strict=True):
        t.emit("Reshape", [piece], [name])


@translates("SPLIT", "SPLIT_V")
def _split(t: Translator, op: TFLiteOperator) -> None:
    x, axis = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
    t.emit("Split", [x], op.outputs, axis=t.axis(t.ints(axis)[0], t.rank(x)))


@translates("SLICE", "STRIDED_SLICE")
def _slice(t: Translator, op: TFLiteOperator) -> None:
    x, out = op.inputs[0], op.outputs[0]
    if t.rank(x) == 1 or -1 in t.original(out):
        _constant_slice(t, op)
        return
    shape, result = t.original(x), t.original(out)
    if len(shape) != len(result):
        _view(t, _sliced(t, op, x), out, "")
        return
    axes = [t.axis(i, len(shape)) for i, size in enumerate(result) if size != shape[i]]
    t.emit("Slice", [x], [out], axes=axes)


def _cut_sizes(t: Translator, op: TFLiteOperator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of what a STRIDED_SLICE takes out of a tensor, before axes are dropped or added.

    Bit i of each mask speaks of position i of the bounds: 0: from the start, 1: to the end, 2: all axes that the
    others leave, 3: a new axis, 4: one element, whose axis goes.
    """
    begin, end, steps = (t.ints(name) for name in op.inputs[1:4])
    masks = [op.option(field) for field in range(5)]
    from_start, to_end, rest, new, single = ([bool(m >> i & 1) for i in range(len(begin))] for m in masks)
    sizes, axis = list(shape), 0
    for i, (first, last, step) in enumerate(zip(begin, end, steps, strict=True)):
        if rest[i]:
            axis = len(shape) - sum(not n for n in new[i + 1 :])
        elif not new[i]:
            bounds = slice(None if from_start[i] else first, None if to_end[i] else last, step)
            sizes[axis] = 1 if single[i] else len(range(*bounds.indices(shape[axis])))
            axis += 1
    return tuple(sizes)


def _sliced(t: Translator, op: TFLiteOperator, x: str) -> str:
    shape = _cut_sizes(t, op, t.original(x))
    part = t.fresh(x, "slice", permuted(shape, t.perm(len(shape))))
    whole, old = t.original(x), t.file.tensors[x]
    t.file.tensors[part] = Tensor(part, shape, old.dtype, old.scale, old.zero_point)
    axes = [t.axis(i, len(shape)) for i, size in enumerate(shape) if size != whole[i]]
    t.emit("Slice", [x], [part], axes=axes)
    return part


def _constant_slice(t: Translator, op: TFLiteOperator) -> None:
    """A slice of a shape vector, in ONNX's own form so that its value can be computed."""
    begin, end = op.inputs[1], op.inputs[2]
    shrink = op.kind == "STRIDED_SLICE" and op.option(4) & 1
    if not shrink:
        t.emit("Slice", [t.to_last(op.inputs[0]), begin, end], [t.from_last(op.outputs[0])])
        return
    part = t.fresh(op.outputs[0], "slice", None)
    t.emit("Slice", [op.inputs[0], begin, end], [part])
    t.emit("Squeeze", [part], op.outputs)


@translates("SHAPE")
def _shape(t: Translator, op: TFLiteOperator) -> None:
    t.emit("Shape", [t.to_last(op.inputs[0])], op.outputs)


@translates("GATHER")
def _gather(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.inputs[0])
    t.emit("Gather", op.inputs, op.outputs, axis=t.axis(op.option(0), rank) if rank else 0)


@translates("RESHAPE")
def _reshape(t: Translator, op: TFLiteOperator) -> None:
    _view(t, op.inputs[0], op.outputs[0], op.inputs[1] if len(op.inputs) > 1 else "")


@translates("SQUEEZE", "EXPAND_DIMS")
def _squeeze(t: Translator, op: TFLiteOperator) -> None:
    _view(t, op.inputs[0], op.outputs[0], "")


def _view(t: Translator, x: str, out: str, target: str) -> None:
    before, after = t.original(x), t.original(out)
    ranks = len(before), len(after)
    same_channels = before[-1:] == after[-1:] and -1 not in before[-1:]
    if not t.first or (min(ranks) >= 3 and same_channels) or max(ranks) < 3:
        t.emit("Reshape", [x, target] if -1 in after else [x], [out])
        return
    inputs = [t.to_last(x), *([target] if -1 in after else [])]
    t.emit("Reshape", inputs, [t.from_last(out)])


@translates("TRANSPOSE")
def _transpose(t: Translator, op: TFLiteOperator) -> None:
    perm = t.ints(op.inputs[1])
    inner = t.perm(len(perm))
    composed = [inner.index(perm[axis]) for axis in inner]
    t.emit("Transpose", op.inputs[:1], op.outputs, perm=composed)


@translates("MIRROR_PAD", "PAD", "PADV2")
def _pad(t: Translator, op: TFLiteOperator) -> None:
    amounts = np.reshape(t.ints(op.inputs[1]), (-1, 2))
    perm = t.perm(len(amounts))
    pads = [int(amounts[axis][side]) for side in (0, 1) for axis in perm]
    mode = "reflect" if op.kind == "MIRROR_PAD" else "constant"
    fill = ["", op.inputs[2]] if op.kind == "PADV2" else []
    t.emit("Pad", [op.inputs[0], *fill], op.outputs, pads=pads, mode=mode)


@translates("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _depth(t: Translator, op: TFLiteOperator) -> None:
    kind = "DepthToSpace" if op.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    t.emit(kind, op.inputs, op.outputs, blocksize=op.option(0), mode="DCR")
