"""A graph's inputs and outputs as plugins and samples see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.errors import GraphError
from n6convert.types import ModelInfo, TensorInfo

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["interface_of"]


def interface_of(model: ir.Model) -> ModelInfo:
    """Names, static shapes and dtypes of a graph's inputs and outputs, with its metadata."""
    inputs = tuple(_tensor_info(v) for v in model.graph.inputs if v.name not in model.graph.initializers)
    return ModelInfo(inputs, tuple(_tensor_info(v) for v in model.graph.outputs), dict(model.metadata_props))


def _tensor_info(value: ir.Value) -> TensorInfo:
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        found = f"{value.dtype} {value.shape}" if value.shape is not None else "no shape"
        raise GraphError(
            "a graph input or output has no static shape",
            place=value.name,
            limit="fixed sizes, batch 1",
            found=found,
            remedy="export the model with fixed sizes",
        )
    return TensorInfo(value.name or "", tuple(int(d) for d in value.shape.numpy()), value.dtype.numpy().name)
