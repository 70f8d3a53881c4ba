"""The ONNX graph of a TFLite file while it grows, and the register of what makes its operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from n6convert.errors import GraphError
from n6convert.graph.network import NetworkWriter
from n6convert.npu.layout import channel_first, invert, only_ones_move, permuted
from n6convert.npu.tflite_file import TFLiteFile, TFLiteOperator

__all__ = ["HANDLERS", "Builder", "Unknown", "reads"]

Handler = Callable[["Builder", TFLiteOperator], None]
HANDLERS: dict[str, Handler] = {}
_ACTIVATIONS = {0: None, 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_INTEGERS = ("int8", "uint8")


class Unknown(GraphError):
    """The file has something that this reader does not know."""


def reads(*kinds: str) -> Callable[[Handler], Handler]:
    """Register what makes operators of these kinds."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


class Builder:
    """The graph while it grows, in TFLite's names and the graph's order of axes.

    Attributes:
        file: tables of the TFLite file.
        writer: what makes the nodes.
    """

    def __init__(self, file: TFLiteFile, path: Path) -> None:
        self.file, self.path = file, path
        self.writer = NetworkWriter(path.stem)
        spatial = ("CONV", "POOL_2D", "RESIZE_", "DEPTH")
        self._first = any(part in op.kind.upper() for op in file.operators for part in spatial)
        self._values: dict[str, ir.Value] = {}
        self._plain: dict[str, ir.Value] = {}
        self._constants = 0

    def model(self) -> ir.Model:
        """The finished graph, with inputs and outputs as the file has them."""
        inputs = [self._input(name) for name in self.file.inputs]
        for op in self.file.operators:
            HANDLERS[op.kind](self, op)
        outputs = [self._output(name) for name in self.file.outputs]
        return RemoveUnusedNodesPass()(self.writer.finish(inputs, outputs)).model

    # tensors --------------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape as the file has it."""
        return self.file.tensors[name].shape

    def rank(self, name: str) -> int:
        """Number of axes of a tensor."""
        return len(self.shape(name))

    def perm(self, rank: int) -> tuple[int, ...]:
        """From TFLite's order of axes to the graph's."""
        return channel_first(rank) if self._first else tuple(range(rank))

    def axis(self, axis: int, rank: int) -> int:
        """An axis of TFLite in the graph's order."""
        return self.perm(rank).index(axis % rank)

    def is_constant(self, name: str) -> bool:
        """Whether the file holds the tensor's values."""
        return name in self.file.values

    def data(self, name: str) -> NDArray[Any]:
        """A constant in TFLite's order; quantized ones as the float numbers they stand for."""
        if name not in self.file.values:
            raise Unknown("an operator takes a computed parameter", place=name, limit="a constant")
        raw, grid = self.file.values[name], self.file.grids.get(name)
        if grid is None or raw.dtype.kind == "f":
            return raw.astype(np.float32) if raw.dtype == np.float16 else raw
        shape = [1] * raw.ndim
        if grid.scales.size > 1:
            shape[grid.axis] = grid.scales.size
        return ((raw.astype(np.int64) - grid.zero_points.reshape(shape)) * grid.scales.reshape(shape)).astype(
            np.float32
        )

    def ints(self, name: str) -> list[int]:
        """A constant parameter such as axes or sizes."""
        return [int(v) for v in np.ravel(self.data(name))]

    def constant(self, array: Any) -> ir.Value:
        """A new constant of the graph."""
        self._constants += 1
        return self.writer.constant(f"constant_{self._constants}", array)

    def integers(self, values: Sequence[int]) -> ir.Value:
        """An int64 constant."""
        return self.writer.integers(values)

    def value(self, name: str) -> ir.Value:
        """A tensor in the graph's order."""
        if name not in self._values:
            array = self.data(name)
            self._values[name] = self.constant(array.transpose(self.perm(array.ndim)))
        return self._values[name]

    def aligned(self, name: str, rank: int) -> ir.Value:
        """A tensor for an element-wise operator of a rank: sizes of 1 in front, then the graph's order."""
        if self.rank(name) == rank:
            return self.value(name)
        shape = (1,) * (rank - self.rank(name)) + self.shape(name)
        if self.is_constant(name):
            return self.constant(self.data(name).reshape(shape).transpose(self.perm(rank)))
        return self.turned(self.op("Reshape", [self.plain(name), self.integers(shape)]), shape, self.perm(rank))

    def plain(self, name: str) -> ir.Value:
        """A tensor in TFLite's own order."""
        if self.is_constant(name):
            return self.constant(self.data(name))
        if name not in self._plain:
            perm = self.perm(self.rank(name))
            self._plain[name] = self.turned(self.value(name), permuted(self.shape(name), perm), invert(perm))
        return self._plain[name]

    def op(self, kind: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """One operator with one output."""
        return self.writer.op(kind, None, *inputs, **attributes)

    def put(self, name: str, value: ir.Value, activation: int = 0) -> None:
        """The operator's result in the graph's order, behind its fused activation.

        Args:
            name: of TFLite's tensor.
            value: the result.
            activation: number of the fused activation.
        """
        if activation not in _ACTIVATIONS:
            raise Unknown("a fused activation is not read", place=name, found=f"number {activation}")
        bounds = _ACTIVATIONS[activation]
        self._values[name] = value if bounds is None else self.clipped(value, *bounds)

    def put_plain(self, name: str, value: ir.Value, activation: int = 0) -> None:
        """The operator's result in TFLite's order.

        Args:
            name: of TFLite's tensor.
            value: the result.
            activation: number of the fused activation.
        """
        self.put(name, self.turned(value, self.shape(name), self.perm(self.rank(name))), activation)
        if _ACTIVATIONS[activation] is None:
            self._plain[name] = value

    def clipped(self, value: ir.Value, low: float, high: float | None) -> ir.Value:
        """Between bounds; a Relu where there is but the lower one, 0.

        Args:
            value: any shape.
            low: least value.
            high: largest value; None: no bound.
        """
        if high is None:
            return self.op("Relu", [value])
        return self.op("Clip", [value, *(self.constant(np.float32(bound)) for bound in (low, high))])

    def turned(self, value: ir.Value, shape: tuple[int, ...], perm: tuple[int, ...]) -> ir.Value:
        """A Transpose of a value of this shape, a Reshape where no element moves, or nothing.

        Args:
            value: to be turned.
            shape: its shape.
            perm: axis of the input by axis of the result.
        """
        if perm == tuple(range(len(perm))):
            return value
        if only_ones_move(shape, perm):
            return self.op("Reshape", [value, self.integers(permuted(shape, perm))])
        return self.op("Transpose", [value], perm=list(perm))

    # ends -----------------------------------------------------------------------------------------------------------

    def _input(self, name: str) -> ir.Value:
        tensor = self.file.tensors[name]
        dtype = ir.DataType[{"float32": "FLOAT"}.get(tensor.dtype, tensor.dtype.upper())]
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(tensor.shape))
        inner, grid = value, self.file.grids.get(name)
        if grid is not None and tensor.dtype in _INTEGERS:
            inner = self.op("Cast", [value], to=ir.DataType.FLOAT)
            inner = self.op("Sub", [inner, self.constant(np.float32(grid.zero_points[0]))])
            inner = self.op("Mul", [inner, self.constant(np.float32(grid.scales[0]))])
        self._values[name] = self.turned(inner, tensor.shape, self.perm(len(tensor.shape)))
        return value

    def _output(self, name: str) -> ir.Value:
        """The end of the graph under the file's name; another node where the value has one already."""
        value = self.plain(name)
        if value.name in self.file.tensors or value.producer() is None:
            value = self.op("Identity", [value])
        tensor = self.file.tensors[name]
        value.name = name
        integer = tensor.dtype in _INTEGERS and name in self.file.grids
        dtype = "FLOAT" if integer or tensor.dtype == "float32" else tensor.dtype.upper()
        value.type, value.shape = ir.TensorType(ir.DataType[dtype]), ir.Shape(tensor.shape)
        return value
