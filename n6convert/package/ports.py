"""Graph inputs and outputs as firmware sees them: int8 buffers with a grid and a memory layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.escaping import c_identifier

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Port", "read_ports"]


@dataclass(frozen=True)
class Port:
    """One graph input or output.

    Attributes:
        name: tensor name in the ONNX graph.
        graph_shape: shape in the ONNX graph.
        scale, zero_point: ``real = scale * (q - zero_point)``.
        channel_last: the board's buffer holds the rank-4 tensor ``[N,C,H,W]`` as ``[N,H,W,C]``. That is how the NPU
            computes; the package's compile command asks for it, which saves a transpose epoch a tensor ([#layout]).
    """

    name: str
    graph_shape: tuple[int, ...]
    scale: float
    zero_point: int
    channel_last: bool

    @property
    def c_name(self) -> str:
        return c_identifier(self.name)

    @property
    def board_shape(self) -> tuple[int, ...]:
        """Shape of the buffer in memory, outermost dimension first."""
        if not self.channel_last:
            return self.graph_shape
        n, c, h, w = self.graph_shape
        return (n, h, w, c)

    @property
    def size(self) -> int:
        """Number of elements, which is the number of bytes."""
        return int(np.prod(self.graph_shape))

    def to_board(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """Quantize real values of ``graph_shape`` (round half to even, saturate) into the board's layout."""
        q = np.rint(np.asarray(values, np.float32) / np.float32(self.scale)) + self.zero_point
        q = np.clip(q, -128, 127).astype(np.int8)
        return np.ascontiguousarray(q.transpose(0, 2, 3, 1) if self.channel_last else q)

    def from_board(self, buffer: NDArray[Any]) -> NDArray[np.float32]:
        """Real values of ``graph_shape`` from a board buffer."""
        q = np.asarray(buffer, np.int8).reshape(self.board_shape).astype(np.int32)
        q = q.transpose(0, 3, 1, 2) if self.channel_last else q
        return ((q - self.zero_point) * np.float32(self.scale)).astype(np.float32)


def read_ports(model: ir.Model, *, channel_first: Sequence[str] = ()) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of an INT8 QDQ model.

    Args:
        model: every input goes into a QuantizeLinear, every output comes from a DequantizeLinear.
        channel_first: rank-4 tensors that keep the graph's layout on the board (channel-last graphs name their inputs).

    Raises:
        GraphError: an input or output has no int8 grid or no static shape.
    """
    inputs = tuple(_port(v, _input_grid(v), channel_first) for v in model.graph.inputs)
    outputs = tuple(_port(v, _output_grid(v), channel_first) for v in model.graph.outputs)
    return inputs, outputs


def _port(value: ir.Value, grid: tuple[float, int], channel_first: Sequence[str]) -> Port:
    if value.shape is None or not value.shape.is_static():
        raise GraphError("a graph input or output has no static shape", place=value.name, found=value.shape)
    shape = tuple(int(d) for d in value.shape.numpy())
    spatial = len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1
    return Port(str(value.name), shape, *grid, channel_last=spatial and value.name not in channel_first)


def _input_grid(value: ir.Value) -> tuple[float, int]:
    nodes = [n for n in value.consumers() if n.op_type == "QuantizeLinear"]
    return _grid(nodes[0] if nodes else None, value)


def _output_grid(value: ir.Value) -> tuple[float, int]:
    node = value.producer()
    return _grid(node if node is not None and node.op_type == "DequantizeLinear" else None, value)


def _grid(node: ir.Node | None, value: ir.Value) -> tuple[float, int]:
    if node is None:
        raise GraphError(
            "a graph input or output is not quantized",
            place=value.name,
            remedy="package the INT8 QDQ model, not the float one",
        )
    scale, zero = (_scalar(v) for v in node.inputs[1:3])
    return float(scale), int(zero)


def _scalar(value: ir.Value | None) -> Any:
    if value is None or value.const_value is None:
        raise GraphError("a scale or zero point is not a constant", place=value and value.name)
    return value.const_value.numpy().reshape(-1)[0]
