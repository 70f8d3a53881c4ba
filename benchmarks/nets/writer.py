"""Writing an ONNX graph node by node; what the writers of benchmarks and tests have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NodeWriter"]


class NodeWriter:
    """Nodes and initializers of a graph while it grows; values are known by name.

    Args:
        name: of the graph.
        opset: of ONNX.
    """

    def __init__(self, name: str, opset: int = 17) -> None:
        self.name, self.opset = name, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def declare(self, name: str, shape: Sequence[int]) -> str:
        """A float input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def constant(self, array: Any, dtype: type | None = None, name: str | None = None) -> str:
        """An initializer.

        Args:
            array: its values.
            dtype: of its elements; None: those of the array.
            name: None: one that is free.
        """
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def write(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """A node.

        Args:
            op: ONNX operator.
            inputs: names; empty for one that is left out.
            outputs: how many; their names are given back.
        """
        stem = f"{op.lower()}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=stem, **attributes))
        return names

    def finish(self, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished model, of IR 8."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, list(outputs), self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
