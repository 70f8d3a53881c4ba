"""A thin layer over onnx-ir for writing graphs layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass
from onnx_ir.tape import Tape

from n6convert_yolov8.parameters import Conv

__all__ = ["GraphBuilder"]

#: what ST Edge AI reads in every version ([#import]): opset 13, IR 8
_OPSET, _IR_VERSION = 13, 8


class GraphBuilder:
    """Collects nodes with readable names and closes them into a model of opset 13, IR 8."""

    def __init__(self, name: str) -> None:
        self._tape = Tape()
        self._name = name
        self._initializers: dict[str, ir.Value] = {}

    def op(self, kind: str, name: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """One node with one output; node and output carry ``name``."""
        value = self._tape.op(kind, inputs, attributes, name=name)
        value.name = name
        return value

    def constant(self, name: str, array: Any) -> ir.Value:
        """An initializer; a name that was used before gives the same one again."""
        if name not in self._initializers:
            tensor = ir.tensor(np.array(array, order="C"), name=name)
            self._initializers[name] = self._tape.initializer(tensor, name)
        return self._initializers[name]

    def split(self, name: str, x: ir.Value, sizes: Sequence[int], axis: int = 1) -> Sequence[ir.Value]:
        """Parts of the given sizes along an axis."""
        lengths = self.constant(f"split_{'_'.join(map(str, sizes))}", np.array(sizes, np.int64))
        parts = self._tape.op_multi_out("Split", [x, lengths], {"axis": axis}, num_outputs=len(sizes), name=name)
        for i, part in enumerate(parts):
            part.name = f"{name}.{i}"
        return parts

    def conv(self, name: str, x: ir.Value, conv: Conv, stride: int = 1, groups: int = 1) -> ir.Value:
        """A convolution with "same" padding for odd kernels."""
        kernel = list(conv.weight.shape[2:])
        weight = self.constant(f"{name}.weight", conv.weight)
        bias = self.constant(f"{name}.bias", conv.bias)
        pads = [k // 2 for k in kernel] * 2
        more = {"group": groups} if groups > 1 else {}
        return self.op("Conv", name, x, weight, bias, kernel_shape=kernel, strides=[stride] * 2, pads=pads, **more)

    def silu(self, x: ir.Value) -> ir.Value:
        """``x * Sigmoid(x)``, the form that the compiler merges into one Swish ([#onnx-operators])."""
        return self.op("Mul", f"{x.name}.silu", x, self.op("Sigmoid", f"{x.name}.sigmoid", x))

    def reshape(self, name: str, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        target = self.constant(f"shape_{'x'.join(map(str, shape))}", np.array(shape, np.int64))
        return self.op("Reshape", name, x, target)

    def finish(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
        """The model, with all shapes inferred."""
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=self._tape.nodes,
            initializers=self._tape.initializers,
            opset_imports={"": _OPSET},
            name=self._name,
        )
        model = ir.Model(graph, ir_version=_IR_VERSION, producer_name="n6convert")
        return ShapeInferencePass()(model).model
