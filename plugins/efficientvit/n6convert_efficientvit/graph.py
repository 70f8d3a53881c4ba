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
#: inputs of one Concat that were seen in hardware (SPEC m.9)
_CONCAT_INPUTS = 4


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
            "Split", [x, self._integers(sizes)], {"axis": axis}, num_outputs=len(sizes), name=name
        )
        for i, part in enumerate(parts):
            part.name = f"{name}.{i}"
        return parts

    def concat(self, name: str, parts: Sequence[ir.Value]) -> ir.Value:
        """Equal parts joined on the channel axis, a few at a time."""
        level, rest = 0, list(parts)
        while len(rest) > 1:
            groups = [rest[i : i + _CONCAT_INPUTS] for i in range(0, len(rest), _CONCAT_INPUTS)]
            last = len(groups) == 1
            rest = [
                g[0] if len(g) == 1 else self.op("Concat", name if last else f"{name}.{level}.{i}", *g, axis=1)
                for i, g in enumerate(groups)
            ]
            level += 1
        return rest[0]

    def reshape(self, name: str, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        return self.op("Reshape", name, x, self._integers(shape))

    def finish(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
        """The model, with all shapes inferred."""
        graph = ir.Graph(
            inputs, outputs, nodes=self._tape.nodes, initializers=self._tape.initializers,
            opset_imports={"": _OPSET}, name=self._name,
        )  # fmt: skip
        model = ir.Model(graph, ir_version=_IR_VERSION, producer_name="n6convert")
        return ShapeInferencePass()(model).model

    def _integers(self, numbers: Sequence[int]) -> ir.Value:
        key = tuple(numbers)
        if key not in self._shapes:
            self._shapes[key] = self.constant(f"numbers_{'_'.join(map(str, key))}", np.array(key, np.int64))
        return self._shapes[key]
