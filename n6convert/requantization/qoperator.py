"""QOperator files as QDQ: ``QLinearConv`` and its like as the float operator between its grids.

Both forms say the same: codes with a scale and a zero point go in, codes with others come out. The model zoo of ONNX
holds this form, and onnxruntime's older tools write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.graph.query import constant_of, place_of

__all__ = ["as_qdq"]


@dataclass(frozen=True)
class _Form:
    """The float operator of a quantized one, and where its operands and its result have their grids."""

    op: str
    operands: tuple[int, ...] = (0,)
    """Positions of codes, each with scale and zero point behind it."""
    result: int = 3
    """Position of the result's scale, its zero point behind it."""
    axis: int | None = None
    """Of the weight's channels, where they have grids of their own; None: the last."""
    bias: int | None = None


_FORMS = {
    "QLinearConv": _Form("Conv", (0, 3), 6, axis=0, bias=8),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6),
    "QGemm": _Form("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": _Form("Add", (0, 3), 6),
    "QLinearMul": _Form("Mul", (0, 3), 6),
    "QLinearSigmoid": _Form("Sigmoid"),
    "QLinearLeakyRelu": _Form("LeakyRelu"),
    "QLinearSoftmax": _Form("Softmax"),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool"),
    "QLinearAveragePool": _Form("AveragePool"),
    "QLinearReduceMean": _Form("ReduceMean"),
}
_CONCAT = "QLinearConcat"
#: attributes that only the quantized operators have
_OWN = frozenset({"channels_last", "opset"})


def as_qdq(model: ir.Model, place: object) -> None:
    """Write quantized operators as DequantizeLinear, the float operator and QuantizeLinear, in place.

    Args:
        model: in QOperator form.
        place: the file, for messages.

    Raises:
        SourceError: an operator that is not known, or in a form that has no float operator.
    """
    graph = model.graph
    kinds = {n.op_type for n in graph if n.op_type.startswith("QLinear") or n.op_type == "QGemm"}
    if unknown := kinds - {*_FORMS, _CONCAT}:
        raise SourceError(
            "the model is in QOperator form with operators that have no QDQ form here", place=place,
            limit=", ".join(sorted([*_FORMS, _CONCAT])), found=", ".join(sorted(unknown)),
            remedy="quantize it in QDQ form (onnxruntime: quantize_static(..., quant_format=QuantFormat.QDQ)), or "
            "convert the float model it was made from",
        )  # fmt: skip
    for node in [n for n in graph if n.op_type in kinds]:
        if bool(node.attributes.get_int("channels_last", 0)):
            raise SourceError(
                "a quantized operator has its channels last", place=f"{place}, node {node.name}",
                limit="channels behind the batch", remedy="quantize the float model it was made from in QDQ form",
            )  # fmt: skip
        nodes = _concat(node) if node.op_type == _CONCAT else _between_grids(node, _FORMS[node.op_type])
        old, new = node.outputs[0], nodes[-1].outputs[0]
        new.shape, new.type = old.shape, old.type
        graph.insert_before(node, nodes)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        graph.remove(node, safe=True)


def _between_grids(node: ir.Node, form: _Form) -> list[ir.Node]:
    given = list(node.inputs)
    if form.op == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        form = replace(form, axis=0)
    before = [_dequantized(given[at : at + 3], form) for at in form.operands]
    operands = [n.outputs[0] for n in before]
    if form.bias is not None and len(given) > form.bias and given[form.bias] is not None:
        before.append(_bias(node, form))
        operands.append(before[-1].outputs[0])
    kept = [a for a in node.attributes.values() if a.name not in _OWN]
    made = ir.Node("", form.op, operands, kept, name=node.name)
    return [*before, made, *_quantized(made, given[form.result : form.result + 2])]


def _concat(node: ir.Node) -> list[ir.Node]:
    """Inputs are the result's scale and zero point, then codes, scale and zero point of each part."""
    given = list(node.inputs)
    before = [_dequantized(given[at : at + 3], _Form("Concat")) for at in range(2, len(given), 3)]
    made = ir.Node("", "Concat", [n.outputs[0] for n in before], list(node.attributes.values()), name=node.name)
    return [*before, made, *_quantized(made, given[:2])]


def _dequantized(given: Sequence[ir.Value | None], form: _Form) -> ir.Node:
    codes, scale = given[0], constant_of(given[1]) if given[1] is not None else None
    several = scale is not None and scale.size > 1
    rank = len(codes.shape or ()) if codes is not None else 0
    axis = (form.axis if form.axis is not None else rank - 1) if several else None
    attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
    return ir.Node("", "DequantizeLinear", _present(given), attributes)


def _bias(node: ir.Node, form: _Form) -> ir.Node:
    """The bias counts in steps of the product of both scales."""
    scales = [constant_of(node.inputs[at + 1]) for at in form.operands]
    if any(s is None for s in scales):
        raise SourceError("a scale is computed by the network", place=place_of(node), limit="constant grids")
    steps = np.prod(np.broadcast_arrays(*(np.asarray(s).reshape(-1) for s in scales)), axis=0).astype(np.float32)
    steps = steps.reshape(()) if steps.size == 1 else steps
    graph, name = node.graph, f"{node.outputs[0].name}_bias_scale"
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), const_value=ir.tensor(steps, name=name))
    value.shape = ir.Shape(steps.shape)
    assert isinstance(graph, ir.Graph) and form.bias is not None
    graph.register_initializer(value)
    attributes = [ir.AttrInt64("axis", 0)] if steps.size > 1 else []
    return ir.Node("", "DequantizeLinear", [node.inputs[form.bias], value], attributes)


def _quantized(made: ir.Node, grid: Sequence[ir.Value | None]) -> list[ir.Node]:
    """The quantizer behind an operator; none where its result is float."""
    if not grid or grid[0] is None:
        return []
    return [ir.Node("", "QuantizeLinear", _present([made.outputs[0], *grid]))]


def _present(values: Sequence[ir.Value | None]) -> list[ir.Value | None]:
    """Without what is left out at the end."""
    kept = list(values)
    while kept and kept[-1] is None:
        kept.pop()
    return kept
