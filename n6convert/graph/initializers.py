"""Constants of a graph: made and registered in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["add_initializer"]


def add_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """An initializer of this name, whose shape and type are set.

    Args:
        graph: gets it.
        name: that no other value has.
        array: any shape and type that ONNX knows.
    """
    tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value
