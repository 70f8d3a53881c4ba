"""From any float ONNX to the form the quantizer works on.

Batch 1, static shapes, opset 13 to 17, IR 8, constants folded, one initializer a use, every operator in a form that
has an INT8 counterpart ([#import], [#quantization]).
"""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from n6convert.errors import QuantizationError
from n6convert.graph.canonical import fill_shapes, lift_constants
from n6convert.graph.folding import anything_to_fold, fold_constants
from n6convert.graph.operators import CONVERSIONS, RUNTIME_QUANTIZATION
from n6convert.graph.opset import drop_newer_attributes
from n6convert.graph.states import KEY
from n6convert.operators.versions import Version
from n6convert.quantization.prepare.activations import name_activations
from n6convert.quantization.prepare.linear import fuse_linear
from n6convert.quantization.prepare.operator_forms import new_constant, normalize
from n6convert.quantization.topology.roles import check_supported, float_operands

__all__ = ["prepare"]

IR_VERSION = 8
OPSETS = (13, 17)
#: of operators that the converter of opsets must not look at
_HIDDEN = "n6convert.hidden"
_QUANTIZED = CONVERSIONS | RUNTIME_QUANTIZATION | {"QAttention"}


def prepare(model: ir.Model, version: Version | None = None) -> ir.Model:
    """A copy of the model, ready to be quantized; the model itself stays as it is.

    Args:
        model: float.
        version: of the compiler; None: only operators that no version takes are refused.

    Raises:
        QuantizationError: already quantized, dynamic shapes, another batch than 1, operators without INT8 form,
            weights that are not finite.
    """
    _refuse_quantized(model)
    model = model.clone()
    _fix_batch(model)
    check_supported(model.graph, version)
    _set_opset(model)
    _fold(model)
    check_supported(model.graph, version)
    _check_shapes(model)
    _own_initializers(model)
    normalize(model.graph)
    name_activations(model.graph)
    fuse_linear(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    _check_weights(model)
    if KEY in model.metadata_props:
        model.graph.metadata_props[KEY] = model.metadata_props[KEY]
    model.ir_version = IR_VERSION
    return model


def _refuse_quantized(model: ir.Model) -> None:
    for node in model.graph.all_nodes():
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            raise QuantizationError(
                "the model is quantized already",
                place=f"node {node.name or node.outputs[0].name}",
                limit="a float model",
                found=node.op_type,
                remedy="give the float model it was made from",
            )


def _fix_batch(model: ir.Model) -> None:
    """A symbolic first dimension becomes 1; other symbolic dimensions are refused."""
    for value in model.graph.inputs:
        shape = value.shape
        if shape is None:
            raise QuantizationError("an input has no shape", place=value.name, remedy="export with static shapes")
        dims = [1 if i == 0 and not isinstance(d, int) else d for i, d in enumerate(shape)]
        if not all(isinstance(d, int) for d in dims):
            found = [str(d) for d in shape]
            raise QuantizationError(
                "an input has a dynamic shape",
                place=value.name,
                limit="fixed dimensions; only the batch may be symbolic",
                found=found,
                remedy="export with static shapes",
            )
        value.shape = ir.Shape(dims)


def _set_opset(model: ir.Model) -> None:
    version = model.graph.opset_imports.get("", 0)
    target = min(max(version, OPSETS[0]), OPSETS[1])
    if version != target:
        from onnxscript import version_converter  # a third of a second

        _fold(model)  # older opsets lack forms of operators that only made constants
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
        hidden = [*_without_count(model), *_pads_of_all_axes(model)] if version > target else []
        version_converter.convert_version(model, target, fallback=True)
        if version > target:
            drop_newer_attributes(model)
        _restore(model, hidden)
    if model.graph.opset_imports.get("") != target:
        raise QuantizationError(
            "the model's opset cannot be converted",
            limit=f"opset {OPSETS[0]} to {OPSETS[1]}",
            found=version,
            remedy=f"export with opset {OPSETS[1]}",
        )
    for domain in [d for d in model.graph.opset_imports if d != ""]:
        if not any(n.domain == domain for n in model.graph.all_nodes()):
            del model.graph.opset_imports[domain]


def _without_count(model: ir.Model) -> list[str]:
    """Give every Split its sizes, as all opsets from 13 on read them, and hide it from the converter.

    ONNX has no way from opset 18 back for the operator, though one with sizes means the same in all of them.

    Returns:
        The names of their first outputs.
    """
    hidden = []
    for node in [n for n in model.graph if n.op_type == "Split" and n.domain == ""]:
        if len(node.inputs) < 2 or node.inputs[1] is None:
            axis = node.attributes.get_int("axis", 0)
            sizes = np.array([v.shape[axis] for v in node.outputs if v.shape], np.int64)
            node.resize_inputs(2)
            node.replace_input_with(1, new_constant(model.graph, f"{node.outputs[0].name}_sizes", sizes))
        node.attributes.pop("num_outputs", None)
        hidden.append(_hide(model, node))
    return hidden


def _pads_of_all_axes(model: ir.Model) -> list[str]:
    """Give every Pad its sizes for all axes, as opsets from 13 on read them, and hide it: its converter knows no way.

    Returns:
        The names of their outputs.
    """
    hidden = []
    for node in [n for n in model.graph if n.op_type == "Pad" and n.domain == ""]:
        axes = node.inputs[3] if len(node.inputs) > 3 else None
        if axes is not None:
            if axes.const_value is None or node.inputs[1] is None or node.inputs[1].const_value is None:
                continue
            assert node.inputs[0] is not None and node.inputs[0].shape is not None
            rank, given = len(node.inputs[0].shape), axes.const_value.numpy().ravel()
            sizes = np.zeros((2, rank), np.int64)
            sizes[:, given] = node.inputs[1].const_value.numpy().reshape(2, -1)
            node.replace_input_with(1, new_constant(model.graph, f"{node.outputs[0].name}_pads", sizes.ravel()))
            node.resize_inputs(3)
        hidden.append(_hide(model, node))
    return hidden


def _hide(model: ir.Model, node: ir.Node) -> str:
    """Take a node out of the converter's sight; the name of its first output."""
    model.graph.opset_imports[_HIDDEN] = 1
    node.domain = _HIDDEN
    return node.outputs[0].name or ""


def _restore(model: ir.Model, hidden: list[str]) -> None:
    for node in model.graph:
        if node.domain == _HIDDEN and node.outputs[0].name in hidden:
            node.domain = ""


def _fold(model: ir.Model) -> None:
    passes.RemoveInitializersFromInputsPass()(model)
    folds = anything_to_fold(model)
    _forget_shapes(model)
    if folds:
        fold_constants(model, input_size_limit=1 << 28, output_size_limit=1 << 28)
    lift_constants(model)
    passes.IdentityEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)
    fill_shapes(model)


def _forget_shapes(model: ir.Model) -> None:
    """Drop stored shapes of inner tensors, which may be stale; shape inference finds them again ([#import-4])."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None


def _check_shapes(model: ir.Model) -> None:
    for node in model.graph:
        for value in node.outputs:
            if value.shape is not None and not value.shape.is_static():
                raise QuantizationError(
                    "a tensor has a dynamic shape",
                    place=f"{value.name} of node {node.name}",
                    limit="fixed dimensions everywhere",
                    found=str(value.shape),
                    remedy="export with static shapes",
                )


def _own_initializers(model: ir.Model) -> None:
    """Give every use of a float initializer its own copy, since each use may need another scale."""
    graph = model.graph
    for initializer in list(graph.initializers.values()):
        for node, index in list(initializer.uses())[1:]:
            if initializer.dtype != ir.DataType.FLOAT:
                continue
            name = f"{initializer.name}_{node.name}_{index}"
            tensor = initializer.const_value
            copy = ir.Value(name=name, type=initializer.type, shape=initializer.shape, const_value=tensor)
            graph.register_initializer(copy)
            node.replace_input_with(index, copy)


def _check_weights(model: ir.Model) -> None:
    for node in model.graph:
        for operand in float_operands(node):
            tensor = operand.value.const_value
            if tensor is not None and operand.role in ("weight", "bias") and not np.isfinite(tensor.numpy()).all():
                raise QuantizationError(
                    "a weight is not finite",
                    place=f"{operand.value.name} of node {node.name}",
                    limit="finite numbers",
                    found="NaN or infinity",
                    remedy="check the checkpoint; training may have diverged",
                )
