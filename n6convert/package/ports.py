"""Graph inputs and outputs as firmware sees them: buffers with an element type, a grid and a memory layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.escaping import c_identifier

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Port", "read_ports"]

_SIGNED_TO_UNSIGNED = 128


@dataclass(frozen=True)
class Port:
    """One graph input or output.

    Attributes:
        name: tensor name in the ONNX graph.
        graph_shape: shape in the ONNX graph.
        scale, zero_point: ``real = scale * (q - zero_point)`` of the buffer's elements; 1 and 0 where they are floats.
        channel_last: the board's buffer holds the rank-4 tensor ``[N,C,H,W]`` as ``[N,H,W,C]``. That is how the NPU
            computes; the package's compile command asks for it, which saves a transpose epoch per tensor ([#layout]).
        dtype: of the buffer's elements: ``int8``, ``uint8`` or ``float32`` ([#ends]).
        grid: distance of neighboring values where the buffer holds floats.
    """

    name: str
    graph_shape: tuple[int, ...]
    scale: float
    zero_point: int
    channel_last: bool
    dtype: str = "int8"
    grid: float | None = None

    def compiled_as(self, dtype: str) -> Port:
        """This int8 port with the buffer that the compiler makes when told ``dtype``: uint8 codes are 128 higher."""
        if dtype == "uint8":
            return replace(self, dtype=dtype, zero_point=self.zero_point + _SIGNED_TO_UNSIGNED)
        if dtype == "float32":
            return replace(self, dtype=dtype, scale=1.0, zero_point=0, grid=self.scale)
        return self

    @property
    def step(self) -> float:
        """Real distance of two neighboring codes."""
        return self.scale if self.grid is None else self.grid

    @property
    def limits(self) -> tuple[int, int] | None:
        """Lowest and highest code; None for floats."""
        return {"int8": (-128, 127), "uint8": (0, 255)}.get(self.dtype)

    @property
    def c_name(self) -> str:
        """The name as an identifier of C."""
        return c_identifier(self.name)

    @property
    def board_shape(self) -> tuple[int, ...]:
        """Shape of the buffer in memory, outermost dimension first."""
        if not self.channel_last:
            return self.graph_shape
        n, c, h, w = self.graph_shape
        return (n, h, w, c)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.graph_shape))

    @property
    def size(self) -> int:
        """Bytes of the buffer."""
        return self.elements * np.dtype(self.dtype).itemsize

    def to_board(self, values: NDArray[Any]) -> NDArray[Any]:
        """Real values of ``graph_shape`` as the buffer holds them: codes are rounded half to even and saturate."""
        real = np.asarray(values, np.float32)
        if self.limits is not None:
            real = np.clip(np.rint(real / np.float32(self.scale)) + self.zero_point, *self.limits)
        codes = real.astype(self.dtype)
        return np.ascontiguousarray(codes.transpose(0, 2, 3, 1) if self.channel_last else codes)

    def from_board(self, buffer: NDArray[Any]) -> NDArray[np.float32]:
        """Real values of ``graph_shape`` from a board buffer."""
        q = np.asarray(buffer, self.dtype).reshape(self.board_shape)
        q = q.transpose(0, 3, 1, 2) if self.channel_last else q
        if self.limits is None:
            return q.astype(np.float32)
        return ((q.astype(np.int32) - self.zero_point) * np.float32(self.scale)).astype(np.float32)


def read_ports(model: ir.Model, *, channel_first: Sequence[str] = ()) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of an INT8 QDQ model, int8 as it stands.

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
