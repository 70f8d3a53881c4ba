"""Float inputs in place of the integer ones that ``tf2onnx --dequantize`` leaves, and what that says about pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

__all__ = ["InputGrid", "float_inputs"]

_INTEGERS = {ir.DataType.UINT8, ir.DataType.INT8}


@dataclass(frozen=True)
class InputGrid:
    """How the quantized file read its input: value = (q - zero_point) * scale, with q of ``dtype``."""

    scale: float
    zero_point: float
    dtype: str

    @property
    def mean(self) -> float:
        """Mean in pixel units (0..255): value = (pixel - mean) / std. int8 inputs hold pixel - 128."""
        return self.zero_point + (128 if self.dtype == "int8" else 0)

    @property
    def std(self) -> float:
        """Standard deviation in pixel units."""
        return 1 / self.scale


def float_inputs(model: ir.Model) -> dict[str, InputGrid]:
    """Replace ``Cast -> Sub zero point -> Mul scale`` behind each integer input by a float input, in place.

    Returns:
        the grid of each input that was replaced, by name.
    """
    grids = {}
    for value in model.graph.inputs:
        if value.dtype in _INTEGERS:
            kind = value.dtype.name.lower()
            last, zero, scale = _prologue(value)
            if last is not None:
                last.replace_all_uses_with(value)
                value.type = ir.TensorType(ir.DataType.FLOAT)
                grids[value.name or ""] = InputGrid(scale, zero, kind)
    if grids:
        common.RemoveUnusedNodesPass()(model)
    return grids


def _prologue(value: ir.Value) -> tuple[ir.Value | None, float, float]:
    """(end of the chain, zero point, scale); None when the input is used in another way."""
    end, zero, scale = _sole(value, "Cast"), 0.0, 1.0
    if end is None:
        return None, zero, scale
    after = _sole(end, "Sub")
    if after is not None:
        zero, end = _scalar(after), after
    after = _sole(end, "Mul")
    if after is not None:
        scale, end = _scalar(after), after
    return end, zero, scale


def _sole(value: ir.Value, kind: str) -> ir.Value | None:
    users = [use.node for use in value.uses()]
    if len(users) != 1 or users[0].op_type != kind:
        return None
    return users[0].outputs[0]


def _scalar(value: ir.Value) -> float:
    node = value.producer()
    assert node is not None
    for operand in node.inputs:
        tensor = ir.convenience.get_const_tensor(operand) if operand is not None else None
        if tensor is not None and tensor.size == 1:
            return float(np.ravel(tensor.numpy())[0])
    return 0.0 if node.op_type == "Sub" else 1.0
