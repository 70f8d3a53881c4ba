"""Writing the INT8 QDQ model: a quantize/dequantize pair on every activation, integers for every constant.

Form ([#quantization]): int8 activations with one scale per tensor, int8 weights with one per channel and zero point
0, int32 bias with scale ``s_input * s_weight``. The graph keeps float inputs and outputs; the pairs at its boundary
become the int8 interface when ST Edge AI reads it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from n6convert.graph.canonical import fill_shapes
from n6convert.graph.initializers import add_initializer
from n6convert.graph.states import KEY
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.plan import Plan, QuantizedWeight
from n6convert.quantization.prepare.batch_norm import forget
from n6convert.quantization.topology.roles import Operand, activations, float_operands

__all__ = ["bias_scales", "least_weight_scales", "write_qdq"]

_INT32 = (1 << 31) - 1


def write_qdq(model: ir.Model, plan: Plan) -> ir.Model:
    """The INT8 model for a prepared float model and a plan that has a grid for every activation and constant."""
    model = model.clone()
    writer = _Writer(model.graph, plan)
    _drop_absorbed(model.graph, plan)
    values = activations(model.graph)
    for node in list(model.graph):
        for operand in list(float_operands(node)):
            if operand.role != "activation":
                writer.constant(node, operand)
    for value in values:
        writer.activation(value)
    forget(model.graph)
    model.graph.metadata_props.pop(KEY, None)
    model.producer_name = "n6convert"
    passes.RemoveUnusedNodesPass()(model)
    if not all(_is_known(value) for node in model.graph for value in node.outputs):
        fill_shapes(model)
    return model


def _is_known(value: ir.Value) -> bool:
    return value.dtype is not None and value.shape is not None and value.shape.is_static()


def _drop_absorbed(graph: ir.Graph, plan: Plan) -> None:
    """Remove operators that their input's grid replaces; the producer takes over the output's name."""
    for node in list(graph):
        output = node.outputs[0]
        if output.name not in plan.absorbed:
            continue
        source, name = node.inputs[0], output.name
        assert source is not None
        is_output = output.is_graph_output()
        output.replace_all_uses_with(source, replace_graph_outputs=is_output)
        graph.remove(node, safe=True)
        output.name = f"{name}_unused"
        source.name = name


class _Writer:
    def __init__(self, graph: ir.Graph, plan: Plan) -> None:
        self.graph = graph
        self.plan = plan

    def activation(self, value: ir.Value) -> None:
        """Put Q and DQ behind a value; all its consumers read the DQ."""
        name = value.name or ""
        uses, is_output = list(value.uses()), value.is_graph_output()
        if not uses and not is_output:
            return
        scale, zero = self._parameters(name, self.plan.grids[name])
        quantize = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}_QuantizeLinear")
        code = _named(quantize.outputs[0], f"{name}_QuantizeLinear_Output", ir.DataType.INT8, value.shape)
        dequantize = ir.node("DequantizeLinear", [code, scale, zero], name=f"{name}_DequantizeLinear")
        result = _named(dequantize.outputs[0], f"{name}_DequantizeLinear_Output", ir.DataType.FLOAT, value.shape)
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], [quantize, dequantize])
        else:
            self.graph.insert_after(producer, [quantize, dequantize])
        for node, index in uses:
            node.replace_input_with(index, result)
        if is_output:
            self._swap_output(value, result)

    def _swap_output(self, value: ir.Value, result: ir.Value) -> None:
        """The graph output keeps its name, which now belongs to the dequantized value."""
        name = value.name
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = result
        if value.producer() is not None:
            value.name = f"{name}_QuantizeLinear_Input"
            result.name = name

    def constant(self, node: ir.Node, operand: Operand) -> None:
        """Replace one constant operand by its integers and a DQ."""
        value = operand.value
        assert value.const_value is not None
        if operand.role == "weight":
            self._weight(node, operand)
        elif operand.role == "bias":
            self._bias(node, operand, value.const_value.numpy())
        else:
            grid = self.plan.grids[value.name or ""]
            codes = grid.codes(value.const_value.numpy())
            scale, zero = self._parameters(value.name or "", grid)
            self._dequantize(node, operand.index, self._store(f"{value.name}_quantized", codes), scale, zero)

    def _weight(self, node: ir.Node, operand: Operand) -> None:
        weight = self.plan.weights[operand.value.name or ""]
        name = operand.value.name
        codes = self._store(f"{name}_quantized", weight.codes)
        scale = self._store(f"{name}_scale", weight.scales)
        zero = self._store(f"{name}_zero_point", np.zeros(weight.scales.shape, np.int8))
        self._dequantize(node, operand.index, codes, scale, zero, axis=weight.axis)

    def _bias(self, node: ir.Node, operand: Operand, bias: NDArray[np.float32]) -> None:
        weight = self.plan.weights[self._original(node, 1)]
        scales = bias_scales(node, self.plan.grids[self._original(node, 0)], weight, bias.size)
        codes = np.clip(np.rint(bias.reshape(-1).astype(np.float64) / scales), -_INT32, _INT32).astype(np.int32)
        name = operand.value.name
        stored = self._store(f"{name}_quantized", codes)
        scale = self._store(f"{name}_quantized_scale", scales)
        zero = self._store(f"{name}_quantized_zero_point", np.zeros(codes.shape, np.int32))
        self._dequantize(node, operand.index, stored, scale, zero, axis=0)

    def _original(self, node: ir.Node, index: int) -> str:
        """The planned name of an operand, whether or not its DQ is in place already."""
        value = node.inputs[index]
        assert value is not None and value.name is not None
        return value.name.removesuffix("_DequantizeLinear_Output")

    def _dequantize(
        self, node: ir.Node, index: int, codes: ir.Value, scale: ir.Value, zero: ir.Value, axis: int | None = None
    ) -> None:
        name = (codes.name or "").removesuffix("_quantized")
        attributes = None if axis is None else {"axis": axis}
        new = ir.node("DequantizeLinear", [codes, scale, zero], attributes, name=f"{name}_DequantizeLinear")
        result = _named(new.outputs[0], f"{name}_DequantizeLinear_Output", ir.DataType.FLOAT, codes.shape)
        self.graph.insert_before(node, new)
        old = node.inputs[index]
        node.replace_input_with(index, result)
        if old is not None and old.name is not None and old.name in self.graph.initializers and not old.uses():
            del self.graph.initializers[old.name]

    def _parameters(self, name: str, grid: Grid) -> tuple[ir.Value, ir.Value]:
        scale = self._store(f"{name}_scale", np.array(grid.scale, np.float32))
        return scale, self._store(f"{name}_zero_point", np.array(grid.zero_point, np.int8))

    def _store(self, name: str, array: NDArray[Any]) -> ir.Value:
        return add_initializer(self.graph, name, array)


def bias_scales(node: ir.Node, grid: Grid, weight: QuantizedWeight, size: int) -> NDArray[np.float32]:
    """Scale of each bias element: ``s_input * s_weight`` (groups of a ConvTranspose share the weight's channels).

    Args:
        node: the layer.
        grid: of its input.
        weight: with its scales.
        size: elements of the bias.
    """
    scales = np.float32(grid.scale) * weight.scales
    return np.tile(scales, size // scales.size).astype(np.float32)


def least_weight_scales(node: ir.Node, grid: Grid, bias: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Weight scales below these would push the bias out of int32 (with room for the accumulated products).

    Args:
        node: the layer.
        grid: of its input.
        bias: float ``[channels]``.
        channels: of the weight's scales.
    """
    largest: NDArray[np.float32] = np.abs(bias.reshape(-1, channels)).max(axis=0) / (grid.scale * (_INT32 // 2))
    return largest.astype(np.float32, copy=False)


def _named(value: ir.Value, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
    value.name, value.dtype, value.shape = name, dtype, shape
    return value
