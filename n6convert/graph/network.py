"""Writing a network from nothing, node by node; rules use :class:`n6convert.graph.builder.Builder` instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from n6convert.graph.canonical import fill_shapes

__all__ = ["NetworkWriter"]

_IR_VERSION = 8


class NetworkWriter:
    """Collects nodes and initializers and closes them into a model of IR 8.

    Args:
        name: of the graph.
        opset: of ONNX.
    """

    def __init__(self, name: str, opset: int = 17) -> None:
        self._tape = Tape()
        self._name, self._opset = name, opset
        self._initializers: dict[str, ir.Value] = {}

    def input(self, name: str, shape: Sequence[int]) -> ir.Value:
        """A float input; :meth:`finish` takes it in the order that is wanted."""
        return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(list(shape)))

    def op(
        self, kind: str, name: str | None, *inputs: ir.Value | None, named: bool = True, **attributes: Any
    ) -> ir.Value:
        """One node with one output.

        Args:
            kind: ONNX operator.
            name: of node and output; None: ones that are free.
            inputs: None for one that is left out.
            named: False: only the node has the name.
        """
        value = self._tape.op(kind, list(inputs), attributes, name=name)
        if name is not None and named:
            value.name = name
        return value

    def constant(self, name: str, array: Any) -> ir.Value:
        """An initializer; a name that was used before gives the same one again."""
        if name not in self._initializers:
            tensor = ir.tensor(np.array(array, order="C"), name=name)
            self._initializers[name] = self._tape.initializer(tensor, name)
        return self._initializers[name]

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """An initializer of shapes, axes and ends; equal ones are one."""
        return self.constant(f"numbers_{'_'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def conv(
        self, name: str, x: ir.Value, weight: Any, bias: Any | None = None, *,
        stride: int = 1, groups: int | None = 1, pads: Sequence[int] | None = None, named: bool = True,
    ) -> ir.Value:  # fmt: skip
        """A convolution.

        Args:
            name: of the layer.
            x: [1, I, H, W].
            weight: [O, I/groups, kh, kw].
            bias: [O]; None: no bias.
            stride: of rows and columns.
            groups: of channels; None: one, which is not stated.
            pads: top, left, bottom, right; None: "same" for odd kernels.
            named: False: only the node has the name, not its output.
        """
        kernel = list(weight.shape[2:])
        inputs = [x, self.constant(f"{name}.weight", weight)]
        inputs += [] if bias is None else [self.constant(f"{name}.bias", bias)]
        around = [k // 2 for k in kernel] * 2 if pads is None else list(pads)
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": around}
        attributes |= {} if groups is None else {"group": groups}
        return self.op("Conv", name, *inputs, named=named, **attributes)

    def split(self, name: str | None, x: ir.Value, sizes: Sequence[int], axis: int = 1) -> Sequence[ir.Value]:
        """Parts of the given sizes along an axis.

        Args:
            name: of the node; None: one that is free.
            x: any shape.
            sizes: of the parts.
            axis: that is cut.
        """
        parts = self._tape.op_multi_out(
            "Split", [x, self.integers(sizes)], {"axis": axis}, num_outputs=len(sizes), name=name
        )
        if name is not None:
            for i, part in enumerate(parts):
                part.name = f"{name}.{i}"
        return parts

    def slice(self, name: str, x: ir.Value, start: int, stop: int, axis: int = -1) -> ir.Value:
        """Elements start..stop-1 of an axis.

        Args:
            name: of the node.
            x: any shape.
            start: first element.
            stop: the one behind the last.
            axis: that is cut.
        """
        return self.op("Slice", name, x, *(self.integers([value]) for value in (start, stop, axis)))

    def reshape(self, name: str, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A Reshape to constant sizes.

        Args:
            name: of the node.
            x: any shape.
            shape: of the result.
        """
        return self.op("Reshape", name, x, self.integers(shape))

    def finish(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
        """The model, with all shapes inferred."""
        graph = ir.Graph(
            inputs, outputs, nodes=self._tape.nodes, initializers=self._tape.initializers,
            opset_imports={"": self._opset}, name=self._name,
        )  # fmt: skip
        model = ir.Model(graph, ir_version=_IR_VERSION, producer_name="n6convert")
        fill_shapes(model)
        return model
