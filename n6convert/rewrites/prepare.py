"""Getting a graph into the form that rules read: static shapes, constants as initializers, nothing unused."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from n6convert.errors import GraphError
from n6convert.graph.canonical import fill_shapes, lift_constants
from n6convert.graph.folding import fold_constants
from n6convert.graph.query import shape_of

__all__ = ["batch_of_one", "prepare"]

#: numbers of a constant that others are computed from: the mask of an attention over 1,024 places
_MASK = 1 << 20


def prepare(model: ir.Model) -> ir.Model:
    """A copy of a model with folded constants, inferred shapes and a name for every node.

    Raises:
        GraphError: an input has no static shape (an unknown batch is taken as 1).
    """
    copy = batch_of_one(model)
    for value in copy.graph.inputs:
        if shape_of(value) is None and not value.is_initializer():
            raise GraphError(
                "rewrites need static shapes",
                place=f"input {value.name}",
                found=str(value.shape),
                remedy="`n6convert FILE.onnx --set 'options.shapes={NAME: [1, 3, 224, 224]}'` fixes it and converts",
            )
    common.RemoveInitializersFromInputsPass()(copy)
    lift_constants(copy)
    _fold(copy)
    common.RemoveUnusedNodesPass()(copy)
    _name_nodes(copy)
    return copy


def batch_of_one(model: ir.Model) -> ir.Model:
    """A copy in which inputs of an unknown batch have one sample, as ST's import takes them ([#import], hard
    limits)."""
    copy = model.clone()
    open_batch = [v for v in copy.graph.inputs if v.shape is not None and shape_of(v) is None]
    for value in open_batch:
        assert value.shape is not None
        if len(value.shape) > 1 and all(isinstance(d, int) for d in value.shape[1:]):
            value.shape = ir.Shape([1, *value.shape[1:]])
    if open_batch:
        for value in (v for node in copy.graph for v in node.outputs):
            value.shape = None if shape_of(value) is None else value.shape
        fill_shapes(copy)
    return copy


def _fold(model: ir.Model) -> None:
    fill_shapes(model)
    if any(n.op_type in ("Shape", "ConstantOfShape", "Range") or _constant(n) for n in model.graph):
        fold_constants(model, onnx_shape_inference=True, input_size_limit=_MASK)
        lift_constants(model)
        fill_shapes(model)


def _constant(node: ir.Node) -> bool:
    given = [v for v in node.inputs if v is not None]
    return bool(given) and all(v.is_initializer() or v.const_value is not None for v in given)


def _name_nodes(model: ir.Model) -> None:
    for node in model.graph:
        node.name = node.name or str(node.outputs[0].name)
