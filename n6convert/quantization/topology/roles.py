"""What each input of an operator is to the quantizer: an activation, a weight with its channel axis, a bias, or raw.

Sources: [#onnx-operators] (operators of the NPU), [#quantization] (scheme), the ONNX operator definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from n6convert.errors import QuantizationError
from n6convert.graph.operators import SELECTIONS
from n6convert.graph.query import is_constant, may_be_float, place_of
from n6convert.operators.host import remedy_for
from n6convert.operators.table import refusal_of
from n6convert.operators.versions import Version

__all__ = [
    "PASS_THROUGH",
    "Operand",
    "activations",
    "check_supported",
    "float_operands",
    "without_form",
]

Role = Literal["activation", "weight", "bias", "constant"]

#: operators whose output values are a selection of their input values: one grid on both sides costs nothing
PASS_THROUGH = SELECTIONS | {"Gather", "GatherElements", "GatherND", "Pad", "ReduceMax", "ReduceMin", "Tile"}
#: inputs that hold bounds, sizes or scales of the operator itself
_RAW = {"Clip": {1, 2}, "Resize": {1, 2, 3}, "Upsample": {1}, "Pad": {1, 2, 3}, "Dropout": {1, 2}}


@dataclass(frozen=True)
class Operand:
    """One float input of a node.

    Attributes:
        axis: the channel axis of a weight, None for everything else.
    """

    index: int
    value: ir.Value
    role: Role
    axis: int | None = None


def float_operands(node: ir.Node) -> Iterator[Operand]:
    """The float inputs of a node with their roles; bounds and shapes are left out."""
    raw = _RAW.get(node.op_type, set())
    for index, value in enumerate(node.inputs):
        if value is None or index in raw or not may_be_float(value):
            continue
        if not is_constant(value):
            yield Operand(index, value, "activation")
        else:
            yield _constant_operand(node, index, value)


def _constant_operand(node: ir.Node, index: int, value: ir.Value) -> Operand:
    axis = _weight_axis(node, index, len(value.shape or ()))
    if axis is not None:
        return Operand(index, value, "weight", axis)
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and index == 2 and is_constant(node.inputs[1]):
        return Operand(index, value, "bias")
    return Operand(index, value, "constant")


def _weight_axis(node: ir.Node, index: int, rank: int) -> int | None:
    """The output-channel axis of a weight ([#quantization]: a wrong axis may give wrong code silently)."""
    if node.op_type == "Conv" and index == 1:
        return 0
    if node.op_type == "ConvTranspose" and index == 1:
        return 1
    if node.op_type == "Gemm" and index == 1:
        return 0 if node.attributes.get_int("transB", 0) else 1
    if node.op_type == "MatMul" and rank >= 2:
        return rank - 1 if index == 1 else rank - 2
    return None


def activations(graph: ir.Graph) -> list[ir.Value]:
    """Every float tensor that depends on the graph's inputs, in graph order, each once."""
    values = [v for v in graph.inputs if may_be_float(v)]
    for node in graph:
        values += [v for v in node.outputs if may_be_float(v) and v.name]
    return values


def check_supported(graph: ir.Graph, version: Version | None = None) -> None:
    """Refuse operators that have no INT8 form.

    Args:
        graph: float.
        version: of the compiler; None: only what no version takes is refused.

    Raises:
        QuantizationError: naming the node and what to do about it.
    """
    for node in graph:
        if (error := without_form(node, version)) is not None:
            raise error


def without_form(node: ir.Node, version: Version | None = None) -> QuantizationError | None:
    """The refusal of an operator that has no INT8 form; None for all others.

    Args:
        node: of a float graph.
        version: of the compiler; None asks whether any takes it.
    """
    standard = node.domain in ("", "ai.onnx")
    if standard and refusal_of(node.op_type, version) is None:
        return None
    return QuantizationError(
        "operator has no INT8 form",
        place=place_of(node),
        limit="operators of the ONNX standard that work element by element, by windows or by matrix products",
        found=node.op_type if standard else f"{node.domain}.{node.op_type}",
        remedy=(remedy_for(node, version) if standard else None) or "export with standard ONNX operators",
    )
