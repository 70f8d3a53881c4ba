"""A thin layer over onnx-ir for writing the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass
from onnx_ir.tape import Tape

__all__ = ["Writer"]

_OPSET, _IR_VERSION = 17, 8


class Writer:
    """Collects named nodes and closes them into a model of opset 17, IR 8."""

    def __init__(self, name: str) -> None:
        self._tape = Tape()
        self._name = name
        self._shapes: dict[tuple[int, ...], ir.Value] = {}

    def op(self, kind: str, name: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """One node with one output; both carry ``name``."""
        value = self._tape.op(kind, inputs, attributes, name=name)
        value.name = name
        return value

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """An initializer."""
        return self._tape.initializer(ir.tensor(np.ascontiguousarray(array), name=name), name)

    def conv(
        self,
        name: str,
        x: ir.Value,
        weight: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> ir.Value:
        """A convolution with "same" padding for odd kernels."""
        kernel = list(weight.shape[2:])
        inputs = [x, self.constant(f"{name}.weight", weight)]
        inputs += [] if bias is None else [self.constant(f"{name}.bias", bias)]
        pads = [k // 2 for k in kernel] * 2
        return self.op("Conv", name, *inputs, kernel_shape=kernel, strides=[stride] * 2, pads=pads, group=groups)

    def split(self, name: str, x: ir.Value, sizes: Sequence[int], axis: int = 1) -> Sequence[ir.Value]:
        """Parts of the given sizes along an axis."""
        parts = self._tape.op_multi_out(
            "Split", [x, self.integers(sizes)], {"axis": axis}, num_outputs=len(sizes), name=name
        )
        for i, part in enumerate(parts):
            part.name = f"{name}.{i}"
        return parts

    def slice(self, name: str, x: ir.Value, start: int, stop: int, axis: int = -1) -> ir.Value:
        """Elements start..stop-1 of an axis."""
        return self.op("Slice", name, x, *(self.integers([value]) for value in (start, stop, axis)))

    def reshape(self, name: str, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A Reshape to constant sizes."""
        return self.op("Reshape", name, x, self.integers(shape))

    def finish(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
        """The model, with all shapes inferred."""
        graph = ir.Graph(
            inputs, outputs, nodes=self._tape.nodes, initializers=self._tape.initializers,
            opset_imports={"": _OPSET}, name=self._name,
        )  # fmt: skip
        model = ir.Model(graph, ir_version=_IR_VERSION, producer_name="n6convert")
        return ShapeInferencePass()(model).model

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """An initializer of shapes, axes and ends; equal ones are one."""
        key = tuple(numbers)
        if key not in self._shapes:
            self._shapes[key] = self.constant(f"numbers_{'_'.join(map(str, key))}", np.array(key, np.int64))
        return self._shapes[key]
