"""Codes, scales and zero points of a QDQ graph, with unsigned codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["INT8", "OFFSET", "UINT8", "Operand", "dtype", "make_unsigned", "numbers", "products", "store"]

INT8, UINT8 = ir.DataType.INT8, ir.DataType.UINT8
#: how much higher a value's unsigned code is than its signed one
OFFSET = 128
#: in front of the names of new constants: a graph's own names may be any others
_OURS = "n6convert.runtime.int8/"
#: beside an unsigned constant: the signed one that it was made from
_SIGNED = "n6convert.signed"


@dataclass(frozen=True)
class Operand:
    """What stands behind a DequantizeLinear, codes unsigned unless they are a bias.

    Attributes:
        axis: of the scales where there is more than one; None for one.
    """

    codes: ir.Value
    scale: ir.Value
    zero_point: ir.Value | None
    axis: int | None

    @classmethod
    def behind(cls, graph: ir.Graph, value: ir.Value | None) -> Operand | None:
        """The operand that a DequantizeLinear makes of codes."""
        node = value.producer() if value is not None else None
        if node is None or node.op_type != "DequantizeLinear" or node.attributes.get_int("block_size"):
            return None
        codes, scale, zero = [*node.inputs, None][:3]
        if codes is None or scale is None or scale.const_value is None:
            return None
        if codes.shape is None or zero is not None and zero.const_value is None:
            return None
        axis = None if numbers(scale).size == 1 else node.attributes.get_int("axis", 1) % len(codes.shape)
        if codes.dtype in (INT8, ir.DataType.INT4) and codes.const_value is not None:
            zero = _shifted(graph, zero) if zero is not None else store(graph, f"{codes.name}_128", np.uint8(OFFSET))
            codes = _shifted(graph, codes)
        return cls(codes, scale, zero, axis)

    @property
    def inputs(self) -> list[ir.Value | None]:
        """Codes, scale and zero point, as inputs of a node."""
        return [self.codes, self.scale, self.zero_point]

    def signed(self) -> Operand:
        """A weight with the int8 codes that it was written with, where it has some; else as it is."""
        codes, zero = (None if v is None else v.meta.get(_SIGNED) for v in (self.codes, self.zero_point))
        if codes is None or codes.const_value.dtype != INT8 or self.codes.graph is None:  # four bits have no kernels
            return self
        if zero is None:
            zero = store(self.codes.graph, f"{codes.name}_0", np.int8(0))
        return Operand(codes, self.scale, zero, self.axis)

    def is_activation(self) -> bool:
        """Whether it is uint8 codes on one grid."""
        return self.codes.dtype == UINT8 and self.axis is None and self.zero_point is not None

    def is_weight(self, axis: int) -> bool:
        """Whether it has one scale, or one along the axis."""
        return self.codes.dtype == UINT8 and self.zero_point is not None and self.axis in (None, axis)

    def is_bias(self, products: NDArray[Any]) -> bool:
        """Whether it counts in steps of the products, as the kernels add it."""
        offset = self.zero_point is not None and bool(numbers(self.zero_point).any())
        same = np.allclose(numbers(self.scale), products, rtol=1e-6, atol=0)
        return self.codes.dtype == ir.DataType.INT32 and same and not offset


def products(source: Operand, weight: Operand) -> NDArray[Any]:
    """Products of an activation's codes and a weight's, less their zero points, as int32."""
    products: NDArray[Any] = numbers(source.scale) * numbers(weight.scale)
    return products


def make_unsigned(graph: ir.Graph) -> None:
    """Give all activations uint8 codes, in place; where codes enter or leave the graph, they stay int8 there.

    So they do where another operator than a DequantizeLinear reads or makes them.
    """
    for node in list(graph):
        if node.op_type == "QuantizeLinear" and dtype(node.inputs, 2) == INT8 and _read_as_values(node.outputs[0]):
            _quantize_unsigned(graph, node)
        elif node.op_type == "DequantizeLinear" and dtype(node.inputs, 2) == INT8:
            _dequantize_unsigned(graph, node)


def _read_as_values(codes: ir.Value) -> bool:
    return all(n.op_type == "DequantizeLinear" and dtype(n.inputs, 2) == INT8 for n in codes.consumers())


def _quantize_unsigned(graph: ir.Graph, node: ir.Node) -> None:
    scale, zero = node.inputs[1:3]
    code = node.outputs[0]
    node.replace_input_with(2, _shifted(graph, zero))
    code.type = ir.TensorType(UINT8)
    if code.is_graph_output():
        name = code.name
        code.name = f"{name}_unsigned"
        pair = _recoding(code, (scale, node.inputs[2]), (scale, zero), INT8)
        graph.insert_after(node, pair)
        graph.outputs[list(graph.outputs).index(code)] = pair[1].outputs[0]
        pair[1].outputs[0].name = name


def _dequantize_unsigned(graph: ir.Graph, node: ir.Node) -> None:
    code, scale, zero = node.inputs[:3]
    if code is None or code.const_value is not None:
        return
    node.replace_input_with(2, _shifted(graph, zero))
    maker = code.producer()
    if maker is None or maker.op_type != "QuantizeLinear" or dtype(maker.inputs, 2) != UINT8:
        pair = _recoding(code, (scale, zero), (scale, node.inputs[2]), UINT8)
        pair[1].outputs[0].name = f"{node.outputs[0].name}_unsigned"
        pair[0].outputs[0].name = f"{node.outputs[0].name}_signed"
        graph.insert_before(node, pair)
        node.replace_input_with(0, pair[1].outputs[0])


_Grid = tuple[ir.Value | None, ir.Value | None]


def _recoding(code: ir.Value, read: _Grid, written: _Grid, dtype: ir.DataType) -> list[ir.Node]:
    """A pair from codes of one sign to the other, for where they enter or leave the graph."""
    values = ir.node("DequantizeLinear", [code, *read])
    codes = ir.node("QuantizeLinear", [values.outputs[0], *written])
    values.outputs[0].name = f"{code.name}_values"
    codes.outputs[0].type, codes.outputs[0].shape = ir.TensorType(dtype), code.shape
    return [values, codes]


def dtype(values: Sequence[ir.Value | None], index: int) -> ir.DataType | None:
    """Element type of a constant, None for other values."""
    value = values[index] if index < len(values) else None
    return value.dtype if value is not None and value.const_value is not None else None


def numbers(value: ir.Value | None) -> NDArray[Any]:
    """A constant's array."""
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def _shifted(graph: ir.Graph, value: ir.Value | None) -> ir.Value:
    """An int8 constant as uint8, 128 higher."""
    assert value is not None
    codes = np.asarray(numbers(value), np.int8)
    unsigned = store(graph, f"{value.name}_unsigned", codes.view(np.uint8) ^ np.uint8(OFFSET))
    unsigned.meta[_SIGNED] = value
    return unsigned


def store(graph: ir.Graph, name: str, array: NDArray[Any] | np.generic) -> ir.Value:
    """An initializer of ours; one of that name is used again.

    Args:
        graph: gets the initializer.
        name: of the initializer.
        array: its values.
    """
    name = f"{_OURS}{name}"
    known = graph.initializers.get(name)
    if known is not None:
        return known
    tensor = ir.Tensor(np.asarray(array), name=name)
    shape = ir.Shape(np.shape(array))
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    graph.register_initializer(value)
    return value
