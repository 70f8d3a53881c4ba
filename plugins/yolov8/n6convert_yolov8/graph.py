"""The graphs of this family, written layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.plugin.graphs import NetworkWriter
from n6convert_yolov8.parameters import Conv

__all__ = ["GraphBuilder"]

#: what ST Edge AI reads in every version ([#import])
_OPSET = 13


class GraphBuilder(NetworkWriter):
    """Collects nodes with readable names and closes them into a model of opset 13, IR 8."""

    def __init__(self, name: str) -> None:
        super().__init__(name, _OPSET)

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """An initializer of the sizes of parts."""
        return self.constant(f"split_{'_'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def layer(self, name: str, x: ir.Value, conv: Conv, stride: int = 1, groups: int = 1) -> ir.Value:
        """A convolution with "same" padding for odd kernels.

        Args:
            name: of the layer.
            x: [1, C, H, W].
            conv: its weights and bias.
            stride: of rows and columns.
            groups: of channels.
        """
        return self.conv(name, x, conv.weight, conv.bias, stride=stride, groups=groups if groups > 1 else None)

    def silu(self, x: ir.Value) -> ir.Value:
        """``x * Sigmoid(x)``, the form that the compiler merges into one Swish ([#onnx-operators])."""
        return self.op("Mul", f"{x.name}.silu", x, self.op("Sigmoid", f"{x.name}.sigmoid", x))

    def reshape(self, name: str, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A Reshape to constant sizes.

        Args:
            name: of the node.
            x: any shape.
            shape: of the result.
        """
        target = self.constant(f"shape_{'x'.join(map(str, shape))}", np.array(shape, np.int64))
        return self.op("Reshape", name, x, target)
