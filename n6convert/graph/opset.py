"""Bringing a model into an opset that rules and quantizer write and ST Edge AI reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.graph.canonical import inferred

if TYPE_CHECKING:
    import onnx

__all__ = ["convert_opset", "drop_counts_of_parts", "drop_newer_attributes", "lower_opset", "upgrade_opset"]

_MIN_OPSET = 13
_MAX_OPSET = 20
#: HardSwish exists from here on; older models spell it out
_WANTED_OPSET = 14
_GROUP_NORM_BY_CHANNEL = 21
#: Split has ``num_outputs`` from here on
_COUNTED_PARTS = 18
#: the newest that the quantizer takes, and operators beyond it that a rule writes in older ones
_QUANTIZED_OPSET, _REWRITTEN = 17, frozenset({"Gelu"})


def upgrade_opset(model: ir.Model, place: object) -> ir.Model:
    """The model in an opset from 14 (HardSwish) to 20 (the newest ST reads), or in 13 (per-channel Q/DQ) if need be.

    Raises:
        GraphError: ONNX's converter cannot do it.
    """
    opset = model.opset_imports.get("", 0)
    if opset < _WANTED_OPSET:
        try:
            return _converted(model, _WANTED_OPSET, place)
        except GraphError:
            if opset < _MIN_OPSET:
                return _converted(model, _MIN_OPSET, place)
    return lower_opset(model, place)


def lower_opset(model: ir.Model, place: object) -> ir.Model:
    """The model in an opset up to 20, which onnxruntime and ST read.

    Raises:
        GraphError: ONNX's converter cannot do it.
    """
    if model.opset_imports.get("", 0) > _MAX_OPSET:
        model = _converted(model, _MAX_OPSET, place)
    return _without_newer(model)


def _without_newer(model: ir.Model) -> ir.Model:
    """The model with what the quantizer's opset lacks and no rule knows written out: Mish, GroupNormalization."""
    newer = _newer(model, _QUANTIZED_OPSET) - _REWRITTEN
    if not newer:
        return model
    folder = _folder(model)
    result = ir.from_proto(_inlined(ir.to_proto(model), newer))
    if folder is not None:
        ir.external_data.set_base_dir(result.graph, folder)
    return result


def _newer(model: ir.Model, wanted: int) -> set[str]:
    """Kinds that the model's own opset has and the wanted one has not."""
    from onnx import defs

    kinds = {n.op_type for n in model.graph if not n.domain}
    return {op for op in kinds if not _exists(op, wanted) and defs.has(op, model.opset_imports.get("", 0), "")}


def convert_opset(model: ir.Model, wanted: int) -> ir.Model:
    """The model in exactly that opset. Raises GraphError: ONNX's converter cannot do it."""
    return model if model.opset_imports.get("", 0) == wanted else _converted(model, wanted, model.graph.name)


def _converted(model: ir.Model, wanted: int, place: object) -> ir.Model:
    import onnx

    opset, folder = model.opset_imports.get("", 0), _folder(model)
    try:
        converted = onnx.version_converter.convert_version(_written_out(model, wanted), wanted)
        if folder is None:  # the checker would look for weights in the working folder
            onnx.checker.check_model(converted)
    except Exception as error:  # the C++ converter raises RuntimeError, ConvertError, protobuf errors
        raise GraphError(
            f"the model cannot be converted to opset {wanted}",
            place=place,
            found=f"opset {opset}: {_reason(model, wanted) or str(error).strip()[:200]}",
            limit=f"{_MIN_OPSET}..{_MAX_OPSET}",
            remedy="export it again with opset_version=17",
        ) from error
    result = ir.from_proto(converted)
    drop_newer_attributes(result)
    if folder is not None:
        ir.external_data.set_base_dir(result.graph, folder)
    return result


def drop_newer_attributes(model: ir.Model) -> None:
    """Remove attributes that the model's opset does not know where they say what it does anyway.

    ONNX's converter leaves them: ``noop_with_empty_axes=0`` of reductions, which torch's exporter writes out.

    Raises:
        GraphError: an attribute says something that the opset has no word for.
    """
    from onnx import defs

    opset = model.opset_imports.get("", 0)
    for node in model.graph.all_nodes():
        if node.domain or not defs.has(node.op_type, opset, ""):
            continue
        known = defs.get_schema(node.op_type, opset, "").attributes
        for name in [name for name in node.attributes if name not in known]:
            _drop_default(node, name, opset)


def drop_counts_of_parts(model: ir.Model) -> None:
    """Remove ``num_outputs`` of Splits below opset 18, whose outputs say how many they are, where parts are equal.

    Folding a sequence of parts writes it in any opset.
    """
    for node in model.graph if model.opset_imports.get("", 0) < _COUNTED_PARTS else ():
        if node.op_type != "Split" or "num_outputs" not in node.attributes:
            continue
        full = node.inputs[0].shape if node.inputs[0] is not None else None
        size = full[node.attributes.get_int("axis", 0)] if full is not None else None
        if len(node.inputs) > 1 or (isinstance(size, int) and size % len(node.outputs) == 0):
            node.attributes.pop("num_outputs")


def _drop_default(node: ir.Node, name: str, opset: int) -> None:
    from onnx import defs

    newer = defs.get_schema(node.op_type, defs.onnx_opset_version(), "").attributes.get(name)
    given = node.attributes[name].value
    default = ir.from_proto(newer.default_value) if newer is not None and newer.default_value.name else None
    dense = name == "dilations" and set(given) == {1}  # what leaving it out means
    if not dense and (not isinstance(default, ir.Attr) or default.value != given):
        raise GraphError(
            f"an attribute has no form in opset {opset}",
            place=f"{name} of node {node.name or node.outputs[0].name}",
            limit=f"attributes of {node.op_type} in opset {opset}",
            found=str(given)[:100],
            remedy=f"export it again with opset_version={_QUANTIZED_OPSET}",
        )
    node.attributes.pop(name)


def _folder(model: ir.Model) -> str | os.PathLike[str] | None:
    """Where the weights lie that are read when needed; None when all are in memory."""
    tensors = (v.const_value for graph in model.graphs() for v in graph.initializers.values())
    return next((t.base_dir for t in tensors if isinstance(t, ir.ExternalTensor)), None)


def _written_out(model: ir.Model, wanted: int) -> onnx.ModelProto:
    """The model with operators that came after the wanted opset written out as ONNX itself defines them."""
    proto, newer = ir.to_proto(model), _newer(model, wanted)
    return _inlined(proto, newer) if newer else proto


def _inlined(proto: onnx.ModelProto, kinds: set[str]) -> onnx.ModelProto:
    """The model with operators in place of those that ONNX defines by them; others stay."""
    import onnx.inliner

    _write_defaults(proto, kinds)
    _fill_gaps(proto, kinds)
    typed = {v.name for v in (*proto.graph.value_info, *proto.graph.input)}
    for tensor in proto.graph.initializer:  # the inliner asks for the type of everything
        if tensor.name not in typed:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            proto.graph.value_info.append(info)
    return onnx.inliner.inline_selected_functions(
        inferred(proto), [("", op) for op in sorted(kinds)], inline_schema_functions=True
    )


def _write_defaults(proto: onnx.ModelProto, kinds: set[str]) -> None:
    """Give operators the attributes that they leave out; the inliner does not know their defaults."""
    from onnx import defs

    opset = next(i.version for i in proto.opset_import if i.domain in ("", "ai.onnx"))
    for node in proto.graph.node:
        if node.domain == "" and node.op_type in kinds:
            given = {a.name for a in node.attribute}
            known = defs.get_schema(node.op_type, opset, "").attributes.items()
            node.attribute.extend(a.default_value for name, a in known if name not in given and a.default_value.name)


def _fill_gaps(proto: onnx.ModelProto, kinds: set[str]) -> None:
    """Give an Attention the mask that it leaves out in front of its earlier keys: the inliner knows no such gaps."""
    from onnx import numpy_helper

    shapes = _shapes(proto)
    for node in proto.graph.node:
        if node.op_type not in kinds or node.op_type != "Attention" or len(node.input) < 5 or node.input[3]:
            continue
        queries, keys, past = (shapes.get(node.input[i]) for i in (0, 1, 4))
        if queries and keys and past:
            nothing = np.zeros((queries[-2], past[-2] + keys[-2]), np.float32)
            node.input[3] = f"{node.output[0]}/no_mask"
            proto.graph.initializer.append(numpy_helper.from_array(nothing, node.input[3]))


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Static shapes by tensor name."""
    known = inferred(proto).graph
    shapes = {}
    for value in (*known.value_info, *known.input, *known.output):
        dims = value.type.tensor_type.shape.dim
        if dims and all(d.dim_value > 0 for d in dims):
            shapes[value.name] = [d.dim_value for d in dims]
    return shapes


def _exists(op: str, opset: int) -> bool:
    """Whether an operator means the same in an older opset (GroupNormalization had its scale by group before 21)."""
    from onnx import defs

    return defs.has(op, opset, "") and (op != "GroupNormalization" or opset >= _GROUP_NORM_BY_CHANNEL)


def _reason(model: ir.Model, wanted: int) -> str:
    newer = sorted(_newer(model, wanted))
    return f"{', '.join(newer)} came later and cannot be written in the operators of that opset" if newer else ""
