"""Bringing a graph into the form that its readers expect: shapes known, constants as initializers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes import common

if TYPE_CHECKING:
    import onnx

__all__ = ["fill_shapes", "infer_shapes", "inferred", "lift_constants"]

#: bytes of a constant up to which shapes may follow from its values
_SMALL = 1000


def lift_constants(model: ir.Model) -> None:
    """Make every Constant node an initializer, in place, so that a constant has one form only."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def fill_shapes(model: ir.Model) -> None:
    """Fill in types and shapes in place, as far as ONNX knows them; for graphs of our own making."""
    common.ShapeInferencePass()(model)


def inferred(proto: onnx.ModelProto, *, strict: bool = False, data: bool = False) -> onnx.ModelProto:
    """A copy with types and shapes.

    Args:
        proto: with its weights, or inputs in their place.
        strict: types are checked, and what ONNX cannot infer is an error.
        data: values of shapes are followed.

    Raises:
        Exception: ONNX refuses the model; its C++ code raises several types without a common base.
    """
    import onnx.shape_inference

    return onnx.shape_inference.infer_shapes(proto, check_type=strict, strict_mode=strict, data_prop=data)


def infer_shapes(model: ir.Model) -> str | None:
    """Fill in shapes in place; the reason as a sentence when ONNX refuses, else None. Large weights stay outside."""
    reason: list[str] = []

    def infer(proto: onnx.ModelProto) -> onnx.ModelProto:
        try:
            return inferred(proto, strict=True, data=True)
        except Exception as error:  # the C++ code raises several types
            reason.append(_reason(error))
            return inferred(proto, data=True)

    try:
        made = infer(_without_weights(model))
    except Exception as error:
        return reason[0] if reason else _reason(error)
    _merge(model, {info.name: info for info in [*made.graph.value_info, *made.graph.output]})
    return reason[0] if reason else None


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    """The model with inputs in place of its weights; small constants stay, since shapes may follow from them."""
    graph = model.graph
    weights = [v for v in graph.initializers.values() if v.const_value is None or v.const_value.nbytes > _SMALL]
    inputs = list(graph.inputs)
    known = set(inputs)
    tensors = [v.const_value for v in weights]
    try:
        for value, tensor in zip(weights, tensors, strict=True):
            if tensor is not None:
                value.shape = value.shape or ir.Shape(tensor.shape)  # type: ignore[arg-type]
                value.type = value.type or ir.TensorType(tensor.dtype)
            del graph.initializers[value.name or ""]
            value.const_value = None
        graph.inputs.extend(v for v in weights if v not in known)
        return ir.to_proto(model)
    finally:
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        for value, tensor in zip(weights, tensors, strict=True):
            value.const_value = tensor
            graph.initializers.add(value)


def _merge(model: ir.Model, known: dict[str, object]) -> None:
    for node in model.graph:
        for value in node.outputs:
            info = known.get(value.name or "")
            if info is None:
                continue
            fresh = ir.serde.deserialize_value_info_proto(info, None)  # type: ignore[arg-type]
            value.type = value.type or fresh.type
            if fresh.shape is not None and (value.shape is None or not value.shape.is_static()):
                value.shape = fresh.shape


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
