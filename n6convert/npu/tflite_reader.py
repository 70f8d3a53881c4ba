"""INT8 TFLite to :class:`~n6convert.npu.graph.Graph`, in the channel-first order that ST's front end uses.

Every activation of rank 3 or more is stored with its last (channel) axis moved to position 1, and axes are renamed
accordingly; Reshape keeps the order of TFLite's elements and is therefore bracketed by Transposes (SEEN r02, r03).
Models without convolutions, pools or resizes keep TFLite's order (SEEN r15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph, Node, in_execution_order
from n6convert.npu.ir import Tensor
from n6convert.npu.layout import channel_first, invert, only_ones_move, permuted
from n6convert.npu.quantized import fold_constants
from n6convert.npu.shapes import infer
from n6convert.npu.tflite_file import TFLiteFile, TFLiteOperator, read_tables

__all__ = ["read_tflite"]

_SPATIAL = {
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "TRANSPOSE_CONV",
}

_SAME: dict[str, str] = {
    "ABS": "Abs",
    "ADD": "Add",
    "CAST": "Cast",
    "CEIL": "Ceil",
    "COS": "Cos",
    "DEQUANTIZE": "DequantizeLinear",
    "DIV": "Div",
    "ELU": "Elu",
    "EQUAL": "Equal",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "FLOOR_DIV": "Div",
    "FLOOR_MOD": "Mod",
    "GELU": "Gelu",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "HARD_SWISH": "HardSwish",
    "L2_NORMALIZATION": "LpNormalization",
    "LEAKY_RELU": "LeakyRelu",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOCAL_RESPONSE_NORMALIZATION": "LRN",
    "LOG": "Log",
    "LOGICAL_AND": "And",
    "LOGICAL_NOT": "Not",
    "LOGICAL_OR": "Or",
    "LOGISTIC": "Sigmoid",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "MUL": "Mul",
    "NEG": "Neg",
    "POW": "Pow",
    "PRELU": "PRelu",
    "QUANTIZE": "QuantizeLinear",
    "RELU": "Relu",
    "RELU6": "Clip",
    "RELU_0_TO_1": "Clip",
    "RELU_N1_TO_1": "Clip",
    "ROUND": "Round",
    "SELECT": "Where",
    "SELECT_V2": "Where",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "SUB": "Sub",
    "TANH": "Tanh",
    "WHERE": "NonZero",
}
"""Operators that act element by element: only the broadcast of their constants depends on the layout."""

_REDUCE = {
    "MEAN": "ReduceMean",
    "SUM": "ReduceSum",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
    "ARG_MAX": "ArgMax",
    "ARG_MIN": "ArgMin",
}

_RESHAPE = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def read_tflite(path: Path) -> Graph:
    """Read a TFLite file.

    Raises:
        SourceError: no such file.
        GraphError: damaged, not static, or an operator's parameters cannot be understood.
    """
    file = read_tables(path)
    importer = _Importer(file, path.stem)
    try:
        graph = importer.run()
    except (IndexError, KeyError, TypeError, ZeroDivisionError) as error:
        raise GraphError("an operator of the TFLite file is damaged", place=path, found=repr(error)[:200]) from error
    return graph


class _Importer:
    """Translates one subgraph operator by operator."""

    def __init__(self, file: TFLiteFile, name: str) -> None:
        self.file = file
        self.first = any(op.kind in _SPATIAL for op in file.operators)
        self.graph = Graph(name, [], {}, {}, (), (), style="tflite")
        self.count = 0
        special: dict[str, Callable[[TFLiteOperator], None]] = {
            "AVERAGE_POOL_2D": self._pool,
            "BATCH_MATMUL": self._matmul,
            "CONCATENATION": self._concat,
            "CONV_2D": self._conv,
            "DEPTHWISE_CONV_2D": self._conv,
            "DEPTH_TO_SPACE": self._depth,
            "FULLY_CONNECTED": self._gemm,
            "GATHER": self._gather,
            "MAX_POOL_2D": self._pool,
            "MIRROR_PAD": self._pad,
            "PACK": self._pack,
            "PAD": self._pad,
            "PADV2": self._pad,
            "RESIZE_BILINEAR": self._resize,
            "RESIZE_NEAREST_NEIGHBOR": self._resize,
            "RSQRT": self._rsqrt,
            "SHAPE": self._shape,
            "SLICE": self._slice,
            "SOFTMAX": self._softmax,
            "SPACE_TO_DEPTH": self._depth,
            "SPLIT": self._split,
            "SPLIT_V": self._split,
            "SQUARE": self._square,
            "SQUARED_DIFFERENCE": self._squared_difference,
            "STRIDED_SLICE": self._slice,
            "TRANSPOSE": self._transpose,
            "TRANSPOSE_CONV": self._conv_transpose,
            "UNPACK": self._unpack,
        }
        self.special = special

    def run(self) -> Graph:
        graph, file = self.graph, self.file
        for name, tensor in file.tensors.items():
            if tensor.constant:
                graph.tensors[name] = tensor
            elif -1 not in tensor.shape[1:]:
                shape = (1, *tensor.shape[1:]) if tensor.shape[:1] == (-1,) else tensor.shape
                graph.tensors[name] = Tensor(
                    name, permuted(shape, self._perm(len(shape))), tensor.dtype, tensor.scale, tensor.zero_point
                )
        graph.values.update(file.values)
        graph.inputs = tuple(self._input(name) for name in file.inputs)
        for op in file.operators:
            self._operator(op)
        graph.outputs = tuple(self._output(name) for name in file.outputs)
        self._constants_without_data()
        graph.nodes = in_execution_order(graph.nodes, ["", *graph.inputs, *self._constants()])
        infer(graph, 13)
        self._restore_quantization()
        fold_constants(graph)
        graph.prune()
        graph.check()
        return graph

    def _constants_without_data(self) -> None:
        """Tensors that nobody writes and that have no data (empty shapes, variables) count as constants."""
        written = {name for node in self.graph.nodes for name in node.outputs} | set(self.graph.inputs)
        for name in {name for node in self.graph.nodes for name in node.inputs} - written - {""}:
            shape = tuple(max(0, size) for size in self._original(name)) if name in self.file.tensors else ()
            self.graph.tensors.setdefault(name, Tensor(name, shape, "int32")).constant = True

    def _constants(self) -> list[str]:
        return [name for name, tensor in self.graph.tensors.items() if tensor.constant]

    def _restore_quantization(self) -> None:
        for name, tensor in self.file.tensors.items():
            known = self.graph.tensors.get(name)
            if known is not None and not known.constant:
                known.dtype, known.scale, known.zero_point = tensor.dtype, tensor.scale, tensor.zero_point

    # layout -----------------------------------------------------------------------------------------------------

    def _perm(self, rank: int) -> tuple[int, ...]:
        return channel_first(rank) if self.first else tuple(range(rank))

    def _axis(self, axis: int, rank: int) -> int:
        return self._perm(rank).index(axis % rank)

    def _rank(self, name: str) -> int:
        return len(self.file.tensors[name].shape)

    def _original(self, name: str) -> tuple[int, ...]:
        return self.file.tensors[name].shape

    # emission ---------------------------------------------------------------------------------------------------

    def _emit(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.count += 1
        name = f"{op}_{self.count}"
        self.graph.nodes.append(Node(name, op, tuple(inputs), tuple(outputs), attributes, (outputs[0],)))

    def _fresh(self, like: str, suffix: str, shape: tuple[int, ...] | None) -> str:
        self.count += 1
        name = f"{like}/{suffix}_{self.count}"
        if shape is not None and -1 not in shape:
            old = self.file.tensors.get(like) or self.graph.tensors[like]
            kept = (old.dtype, old.scale, old.zero_point, old.constant, old.per_channel)
            self.graph.tensors[name] = Tensor(name, shape, *kept)
        return name

    def _ints(self, name: str) -> list[int]:
        value = self.graph.values.get(name)
        if value is None:
            raise GraphError("an operator of the TFLite file needs a constant parameter", place=name)
        return [int(v) for v in np.ravel(value)]

    def _input(self, name: str) -> str:
        perm = self._perm(self._rank(name))
        inner = self.graph.tensors.get(name)
        if inner is None:
            raise GraphError("an input of the TFLite file has no static shape", place=name)
        if only_ones_move(permuted(inner.shape, invert(perm)), perm):
            return name
        outer = self._fresh(name, "channel_last", permuted(inner.shape, invert(perm)))
        self._emit("Transpose", [outer], [name], perm=list(perm), graph_edge=True)
        return outer

    def _output(self, name: str) -> str:
        inner = self.graph.tensors.get(name)
        perm = invert(self._perm(self._rank(name)))
        if inner is None or inner.constant or only_ones_move(inner.shape, perm):
            return name
        outer = self._fresh(name, "channel_last", permuted(inner.shape, perm))
        self._emit("Transpose", [name], [outer], perm=list(perm), graph_edge=True)
        return outer

    def _to_last(self, name: str) -> str:
        """``name`` in TFLite's own order."""
        rank = self._rank(name)
        perm = invert(self._perm(rank))
        if perm == tuple(range(rank)) or self.graph.constant(name):
            return name
        result = self._fresh(name, "nhwc", self._original(name))
        self._emit("Transpose", [name], [result], perm=list(perm))
        return result

    def _from_last(self, name: str) -> str:
        """A tensor in TFLite's order that becomes ``name``; returns the name to write to."""
        rank = self._rank(name)
        perm = self._perm(rank)
        if perm == tuple(range(rank)):
            return name
        source = self._fresh(name, "nhwc", self._original(name))
        self._emit("Transpose", [source], [name], perm=list(perm))
        return source

    # operators --------------------------------------------------------------------------------------------------

    def _operator(self, op: TFLiteOperator) -> None:
        if op.kind in self.special:
            self.special[op.kind](op)
        elif op.kind in _SAME:
            self._elementwise(op)
        elif op.kind in _REDUCE:
            self._reduce(op)
        elif op.kind in _RESHAPE:
            self._reshape(op.inputs[0], op.outputs[0], op.inputs[1] if op.kind == "RESHAPE" else "")
        else:
            self._emit(op.kind, op.inputs, op.outputs)

    def _elementwise(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.outputs[0])
        inputs = [self._broadcast(name, rank) for name in op.inputs]
        self._emit(_SAME[op.kind], inputs, op.outputs)

    def _broadcast(self, name: str, rank: int) -> str:
        if not name or not self.first or (self._rank(name) == rank and not self.graph.constant(name)):
            return name
        shape = (1,) * (rank - self._rank(name)) + self._original(name)
        inner = permuted(shape, self._perm(rank))
        if self.graph.constant(name):
            return self._fresh(name, "view", inner)
        view = self._fresh(name, "view", inner)
        self._emit("Reshape", [name], [view])
        return view

    def _conv(self, op: TFLiteOperator) -> None:
        x, weights, *bias = op.inputs
        depthwise = op.kind == "DEPTHWISE_CONV_2D"
        shape = self._original(weights)
        order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        dilation = 5 if depthwise else 4
        strides = [op.option(2, default=1), op.option(1, default=1)]
        dilations = [op.option(dilation + 1, default=1), op.option(dilation, default=1)]
        w = self._fresh(weights, "oihw", permuted(shape, order))
        pads = self._padding(op, x, op.outputs[0], [shape[1], shape[2]], strides, dilations)
        group = self._original(x)[-1] // (1 if depthwise else shape[3])
        self._emit(
            "Conv",
            [x, w, *bias],
            op.outputs,
            kernel_shape=[shape[1], shape[2]],
            strides=strides,
            dilations=dilations,
            pads=pads,
            group=group,
        )

    def _padding(
        self, op: TFLiteOperator, x: str, y: str, kernel: list[int], strides: list[int], dilations: list[int]
    ) -> list[int]:
        if op.option(0, "i8") != 0:
            return [0, 0, 0, 0]
        begin, end = [], []
        for axis in (0, 1):
            size, out = self._original(x)[axis + 1], self._original(y)[axis + 1]
            span = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((out - 1) * strides[axis] + span - size, 0)
            begin.append(total // 2)
            end.append(total - total // 2)
        return begin + end

    def _conv_transpose(self, op: TFLiteOperator) -> None:
        weights, x, *bias = op.inputs[1:]
        shape = self._original(weights)
        strides = [op.option(2, default=1), op.option(1, default=1)]
        w = self._fresh(weights, "iohw", permuted(shape, (3, 0, 1, 2)))
        self._emit(
            "ConvTranspose", [x, w, *bias], op.outputs, kernel_shape=list(shape[1:3]), strides=strides, group=1
        )

    def _pool(self, op: TFLiteOperator) -> None:
        strides = [op.option(2, default=1), op.option(1, default=1)]
        kernel = [op.option(4, default=1), op.option(3, default=1)]
        pads = self._padding(op, op.inputs[0], op.outputs[0], kernel, strides, [1, 1])
        kind = "MaxPool" if op.kind == "MAX_POOL_2D" else "AveragePool"
        self._emit(kind, op.inputs, op.outputs, kernel_shape=kernel, strides=strides, pads=pads)

    def _gemm(self, op: TFLiteOperator) -> None:
        x, weights, *bias = op.inputs
        out = op.outputs[0]
        columns, rows = self._original(weights)
        x = self._to_last(x)
        if self._rank(op.inputs[0]) != 2:
            flat = self._fresh(x, "rows", (-1, rows) if -1 in self._original(op.inputs[0]) else self._rows(op, rows))
            self._emit("Reshape", [x], [flat])
            x = flat
        if self._rank(out) == 2:
            self._emit("Gemm", [x, weights, *bias], [out], transB=1)
            return
        flat = self._fresh(out, "rows", (self._rows(op, rows)[0], columns))
        self._emit("Gemm", [x, weights, *bias], [flat], transB=1)
        self._emit("Reshape", [flat], [self._from_last(out)])

    def _rows(self, op: TFLiteOperator, width: int) -> tuple[int, int]:
        total = int(np.prod(self._original(op.inputs[0])))
        return total // width, width

    def _matmul(self, op: TFLiteOperator) -> None:
        a, b = (self._to_last(name) for name in op.inputs)
        for flag, name in ((0, 0), (1, 1)):
            if op.options is not None and op.options.flag(flag):
                a, b = (self._swapped(a), b) if name == 0 else (a, self._swapped(b))
        self._emit("MatMul", [a, b], [self._from_last(op.outputs[0])])

    def _swapped(self, name: str) -> str:
        shape = self.graph.tensors[name].shape if name in self.graph.tensors else self._original(name)
        perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        result = self._fresh(name, "swapped", permuted(shape, perm))
        self._emit("Transpose", [name], [result], perm=list(perm))
        return result

    def _concat(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.outputs[0])
        axis = self._axis(op.option(0), rank)
        self._emit("Concat", [self._broadcast(name, rank) for name in op.inputs], op.outputs, axis=axis)

    def _pack(self, op: TFLiteOperator) -> None:
        axis = op.option(1)
        parts = []
        for name in op.inputs:
            part = self._fresh(name, "item", None)
            self.graph.values[f"{part}/axis"] = np.array([axis])
            self.graph.tensors[f"{part}/axis"] = Tensor(f"{part}/axis", (1,), "int64", constant=True)
            self._emit("Unsqueeze", [self._to_last(name), f"{part}/axis"], [part])
            parts.append(part)
        self._emit("Concat", parts, [self._from_last(op.outputs[0])], axis=axis)

    def _unpack(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.inputs[0])
        axis = op.option(1) % rank
        shape = self._original(op.inputs[0])
        part = (*shape[:axis], 1, *shape[axis + 1 :])
        pieces = [self._fresh(name, "item", permuted(part, self._perm(rank))) for name in op.outputs]
        self._emit("Split", op.inputs[:1], pieces, axis=self._axis(axis, rank))
        for piece, name in zip(pieces, op.outputs, strict=True):
            self._emit("Reshape", [piece], [name])

    def _split(self, op: TFLiteOperator) -> None:
        x, axis = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
        self._emit("Split", [x], op.outputs, axis=self._axis(self._ints(axis)[0], self._rank(x)))

    def _slice(self, op: TFLiteOperator) -> None:
        x, out = op.inputs[0], op.outputs[0]
        if self._rank(x) == 1 or -1 in self._original(out):
            self._constant_slice(op)
            return
        shape, result = self._original(x), self._original(out)
        if len(shape) != len(result):
            self._reshape(self._sliced(op, x), out, "")
            return
        axes = [self._axis(i, len(shape)) for i, size in enumerate(result) if size != shape[i]]
        self._emit("Slice", [x], [out], axes=axes)

    def _sliced(self, op: TFLiteOperator, x: str) -> str:
        shrink = op.option(4)
        begin, end = self._ints(op.inputs[1]), self._ints(op.inputs[2])
        shape = list(self._original(x))
        for axis in range(min(len(shape), len(begin))):
            if shrink >> axis & 1:
                shape[axis] = 1
            elif not (op.option(0) >> axis & 1 and op.option(1) >> axis & 1):
                shape[axis] = len(range(*slice(begin[axis], end[axis]).indices(shape[axis])))
        part = self._fresh(x, "slice", permuted(tuple(shape), self._perm(len(shape))))
        self.file.tensors[part] = Tensor(part, tuple(shape), self.file.tensors[x].dtype)
        whole = self._original(x)
        axes = [self._axis(i, len(shape)) for i, size in enumerate(shape) if size != whole[i]]
        self._emit("Slice", [x], [part], axes=axes)
        return part

    def _constant_slice(self, op: TFLiteOperator) -> None:
        """A slice of a shape vector, in ONNX's own form so that its value can be computed."""
        begin, end = op.inputs[1], op.inputs[2]
        shrink = op.kind == "STRIDED_SLICE" and op.option(4) & 1
        if not shrink:
            self._emit("Slice", [self._to_last(op.inputs[0]), begin, end], [self._from_last(op.outputs[0])])
            return
        part = self._fresh(op.outputs[0], "slice", None)
        self._emit("Slice", [op.inputs[0], begin, end], [part])
        self._emit("Squeeze", [part], op.outputs)

    def _shape(self, op: TFLiteOperator) -> None:
        self._emit("Shape", [self._to_last(op.inputs[0])], op.outputs)

    def _gather(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.inputs[0])
        self._emit("Gather", op.inputs, op.outputs, axis=self._axis(op.option(0), rank) if rank else 0)

    def _reduce(self, op: TFLiteOperator) -> None:
        x, out = op.inputs[0], op.outputs[0]
        rank = self._rank(x)
        axes = sorted(self._axis(a, rank) for a in self._ints(op.inputs[1]))
        if self._rank(out) == rank or self.graph.constant(x) or rank < 3:
            self._emit(_REDUCE[op.kind], [x], [out], axes=axes, keepdims=int(self._rank(out) == rank))
            return
        kept = [1 if i in axes else size for i, size in enumerate(permuted(self._original(x), self._perm(rank)))]
        part = self._fresh(out, "keepdims", tuple(kept))
        self._emit(_REDUCE[op.kind], [x], [part], axes=axes, keepdims=1)
        self._emit("Reshape", [part], [out])

    def _reshape(self, x: str, out: str, target: str) -> None:
        before, after = self._original(x), self._original(out)
        ranks = len(before), len(after)
        same_channels = before[-1:] == after[-1:] and -1 not in before[-1:]
        if not self.first or (min(ranks) >= 3 and same_channels) or max(ranks) < 3:
            self._emit("Reshape", [x, target] if -1 in after else [x], [out])
            return
        inputs = [self._to_last(x), *([target] if -1 in after else [])]
        self._emit("Reshape", inputs, [self._from_last(out)])

    def _transpose(self, op: TFLiteOperator) -> None:
        perm = self._ints(op.inputs[1])
        inner = self._perm(len(perm))
        composed = [inner.index(perm[axis]) for axis in inner]
        self._emit("Transpose", op.inputs[:1], op.outputs, perm=composed)

    def _softmax(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.inputs[0])
        self._emit("Softmax", op.inputs, op.outputs, axis=self._axis(rank - 1, rank))

    def _resize(self, op: TFLiteOperator) -> None:
        nearest = op.kind == "RESIZE_NEAREST_NEIGHBOR"
        corners, centers = (0, 1) if nearest else (2, 3)
        flags = [op.options is not None and op.options.flag(i) for i in (corners, centers)]
        mode = "align_corners" if flags[0] else "half_pixel" if flags[1] else "asymmetric"
        self._emit(
            "Resize",
            op.inputs[:1],
            op.outputs,
            mode="nearest" if nearest else "linear",
            coordinate_transformation_mode=mode,
            nearest_mode="floor",
        )

    def _pad(self, op: TFLiteOperator) -> None:
        amounts = np.reshape(self._ints(op.inputs[1]), (-1, 2))
        perm = self._perm(len(amounts))
        pads = [int(amounts[axis][side]) for side in (0, 1) for axis in perm]
        self._emit("Pad", op.inputs[:1], op.outputs, pads=pads)

    def _depth(self, op: TFLiteOperator) -> None:
        kind = "DepthToSpace" if op.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
        self._emit(kind, op.inputs, op.outputs, blocksize=op.option(0), mode="DCR")

    def _square(self, op: TFLiteOperator) -> None:
        self._emit("Mul", [op.inputs[0], op.inputs[0]], op.outputs)

    def _squared_difference(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.outputs[0])
        shape = permuted(self._original(op.outputs[0]), self._perm(rank))
        difference = self._fresh(op.outputs[0], "difference", shape)
        self._emit("Sub", [self._broadcast(name, rank) for name in op.inputs], [difference])
        self._emit("Mul", [difference, difference], op.outputs)

    def _rsqrt(self, op: TFLiteOperator) -> None:
        rank = self._rank(op.outputs[0])
        root = self._fresh(op.outputs[0], "sqrt", permuted(self._original(op.outputs[0]), self._perm(rank)))
        self._emit("Sqrt", op.inputs, [root])
        self._emit("Reciprocal", [root], op.outputs)
