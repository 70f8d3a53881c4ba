"""TFLite in the channel-first order that ST's front end uses.

Every activation of rank 3 or more is stored with its last (channel) axis moved to position 1, and axes are renamed
accordingly; Reshape keeps the order of TFLite's elements and is therefore bracketed by Transposes (SEEN r02, r03).
Models without convolutions, pools or resizes keep TFLite's order (SEEN r15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph, Node, in_execution_order
from n6convert.npu.ir import Tensor
from n6convert.npu.layout import channel_first, invert, only_ones_move, permuted
from n6convert.npu.quantized import fold_constants
from n6convert.npu.shapes import infer
from n6convert.npu.tflite_file import TFLiteFile, TFLiteOperator

__all__ = ["Translator"]

_SPATIAL = {
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "MAX_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SPACE_TO_DEPTH",
    "TRANSPOSE_CONV",
}


class Translator:
    """State of one translation: the layout, the graph so far, and how to add to it."""

    def __init__(self, file: TFLiteFile, name: str) -> None:
        self.file = file
        self.first = any(op.kind in _SPATIAL for op in file.operators)
        self.graph = Graph(name, [], {}, {}, (), (), style="tflite")
        self.count = 0
        self._turned: dict[tuple[str, str], str] = {}

    def run(self, translate: Callable[[Translator, TFLiteOperator], None]) -> Graph:
        """Translate every operator and finish the graph: order, open shapes, constants."""
        graph, file = self.graph, self.file
        for name, tensor in file.tensors.items():
            if tensor.constant:
                graph.tensors[name] = tensor
            elif -1 not in tensor.shape[1:]:
                shape = (1, *tensor.shape[1:]) if tensor.shape[:1] == (-1,) else tensor.shape
                graph.tensors[name] = Tensor(
                    name, permuted(shape, self.perm(len(shape))), tensor.dtype, tensor.scale, tensor.zero_point
                )
        graph.values.update(file.values)
        graph.inputs = tuple(self._input(name) for name in file.inputs)
        for op in file.operators:
            translate(self, op)
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
            shape = tuple(max(0, size) for size in self.original(name)) if name in self.file.tensors else ()
            self.graph.tensors.setdefault(name, Tensor(name, shape, "int32")).constant = True

    def _constants(self) -> list[str]:
        return [name for name, tensor in self.graph.tensors.items() if tensor.constant]

    def _restore_quantization(self) -> None:
        for name, tensor in self.file.tensors.items():
            known = self.graph.tensors.get(name)
            if known is not None and not known.constant:
                known.dtype, known.scale, known.zero_point = tensor.dtype, tensor.scale, tensor.zero_point

    # layout -----------------------------------------------------------------------------------------------------

    def perm(self, rank: int) -> tuple[int, ...]:
        """From TFLite's order of axes to the inner one."""
        return channel_first(rank) if self.first else tuple(range(rank))

    def axis(self, axis: int, rank: int) -> int:
        """An axis of TFLite in the inner order."""
        return self.perm(rank).index(axis % rank)

    def rank(self, name: str) -> int:
        """Rank of a tensor of the file."""
        return len(self.file.tensors[name].shape)

    def original(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor as the file has it; open sizes are -1."""
        return self.file.tensors[name].shape

    # emission ---------------------------------------------------------------------------------------------------

    def emit(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append one operator.

        Args:
            op: ONNX operator.
            inputs: names of tensors.
            outputs: names of tensors.
        """
        self.count += 1
        name = f"{op}_{self.count}"
        self.graph.nodes.append(Node(name, op, tuple(inputs), tuple(outputs), attributes, (outputs[0],)))

    def fresh(self, like: str, suffix: str, shape: tuple[int, ...] | None) -> str:
        """A new tensor of the type of ``like``; without a shape, or with an open one, it is inferred later.

        Args:
            like: name of the tensor whose type it takes.
            suffix: of its name.
            shape: None or an open one: inferred later.
        """
        self.count += 1
        name = f"{like}/{suffix}_{self.count}"
        if shape is not None and -1 not in shape:
            old = self.file.tensors.get(like) or self.graph.tensors[like]
            kept = (old.dtype, old.scale, old.zero_point, old.constant, old.per_channel)
            self.graph.tensors[name] = Tensor(name, shape, *kept)
        return name

    def turned(self, weights: str, suffix: str, shape: tuple[int, ...]) -> str:
        """Weights in another order; layers that share them share the result.

        Args:
            weights: name of a constant.
            suffix: of the new name.
            shape: of the result.
        """
        key = (weights, suffix)
        if key not in self._turned:
            self._turned[key] = self.fresh(weights, suffix, shape)
        return self._turned[key]

    def ints(self, name: str) -> list[int]:
        """Value of a constant parameter; raises :class:`GraphError` when it is computed."""
        value = self.graph.values.get(name)
        if value is None:
            raise GraphError("an operator of the TFLite file needs a constant parameter", place=name)
        return [int(v) for v in np.ravel(value)]

    def _input(self, name: str) -> str:
        perm = self.perm(self.rank(name))
        inner = self.graph.tensors.get(name)
        if inner is None:
            raise GraphError("an input of the TFLite file has no static shape", place=name)
        if only_ones_move(permuted(inner.shape, invert(perm)), perm):
            return name
        outer = self.fresh(name, "channel_last", permuted(inner.shape, invert(perm)))
        self.emit("Transpose", [outer], [name], perm=list(perm), graph_edge=True)
        return outer

    def _output(self, name: str) -> str:
        inner = self.graph.tensors.get(name)
        perm = invert(self.perm(self.rank(name)))
        if inner is None or inner.constant or only_ones_move(inner.shape, perm):
            return name
        outer = self.fresh(name, "channel_last", permuted(inner.shape, perm))
        self.emit("Transpose", [name], [outer], perm=list(perm), graph_edge=True)
        return outer

    def to_last(self, name: str) -> str:
        """``name`` in TFLite's own order."""
        rank = self.rank(name)
        perm = invert(self.perm(rank))
        if perm == tuple(range(rank)) or self.graph.constant(name):
            return name
        result = self.fresh(name, "nhwc", self.original(name))
        self.emit("Transpose", [name], [result], perm=list(perm))
        return result

    def from_last(self, name: str) -> str:
        """A tensor in TFLite's order that becomes ``name``; returns the name to write to."""
        rank = self.rank(name)
        perm = self.perm(rank)
        if perm == tuple(range(rank)):
            return name
        source = self.fresh(name, "nhwc", self.original(name))
        self.emit("Transpose", [source], [name], perm=list(perm))
        return source
