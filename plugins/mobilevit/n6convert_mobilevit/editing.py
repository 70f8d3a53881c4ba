"""Small tools for changing a graph in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import GraphError

__all__ = ["Editor", "shape_of", "source_of"]


class Editor:
    """Adds nodes to a graph, named after the node whose place they take; their order is left to a later sort."""

    def __init__(self, model: ir.Model, anchor: ir.Node) -> None:
        self._graph, self._name = model.graph, anchor.name or anchor.outputs[0].name

    def node(self, kind: str, inputs: Sequence[ir.Value | None], role: str, **attributes: Any) -> ir.Value:
        """A node with one output.

        Args:
            kind: ONNX operator.
            inputs: None for one that is left out.
            role: end of its name.
        """
        return self._node(kind, inputs, [f"{self._name}.{role}"], attributes)[0]

    def split(self, value: ir.Value, sizes: Sequence[int], role: str) -> Sequence[ir.Value]:
        """Parts along axis 1.

        Args:
            value: [1, C, ...].
            sizes: channels of each part.
            role: end of its name.
        """
        names = [f"{self._name}.{role}{i}" for i in range(len(sizes))]
        lengths = self.constant(f"{role}.sizes", np.array(sizes, np.int64))
        return self._node("Split", [value, lengths], names, {"axis": 1})

    def reshape(self, value: ir.Value, shape: Sequence[int], role: str) -> ir.Value:
        """A Reshape to constant sizes.

        Args:
            value: any shape.
            shape: of the result.
            role: end of its name.
        """
        return self.node("Reshape", [value, self.constant(f"{role}.shape", np.array(shape, np.int64))], role)

    def constant(self, role: str, array: NDArray[Any]) -> ir.Value:
        """An initializer."""
        name = f"{self._name}.{role}"
        value = ir.val(name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
        self._graph.register_initializer(value)
        return value

    def numbers(self, value: ir.Value | None) -> NDArray[np.float32]:
        """The array behind a constant. Raises GraphError for anything computed."""
        tensor = ir.convenience.get_const_tensor(value) if value is not None else None
        if tensor is None:
            raise GraphError("weights are expected to be constants", place=self._name)
        return np.asarray(tensor.numpy(), np.float32)

    def _node(
        self, kind: str, inputs: Sequence[ir.Value | None], names: Sequence[str], attributes: dict[str, Any]
    ) -> Sequence[ir.Value]:
        outputs = [ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT)) for name in names]
        self._graph.append(ir.node(kind, inputs, attributes, outputs=outputs, name=names[0]))
        return outputs


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The known dimensions of a value."""
    return tuple(d for d in value.shape or () if isinstance(d, int))


def source_of(value: ir.Value | None, kinds: Sequence[str]) -> ir.Value | None:
    """The tensor before a chain of operators of these kinds."""
    while value is not None and (node := value.producer()) is not None and node.op_type in kinds:
        value = node.inputs[0]
    return value
