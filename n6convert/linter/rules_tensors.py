"""Limits of every tensor inside the graph: type, rank, size ([#import-17] to j.19, hard limits)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from n6convert.linter.constants import DIM_LIMIT, RANK_FRONT_END, RANK_NPU
from n6convert.linter.finding import Break, Severity, limit
from n6convert.linter.view import View, dims, label, named
from n6convert.operators.host import remedy_for, way_out

__all__: list[str] = []

_WIDE = {
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.COMPLEX64,
    ir.DataType.COMPLEX128,
    ir.DataType.STRING,
}
_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.UINT64, ir.DataType.UINT32}
_MASKS = "write the mask as float: a constant or input, added or multiplied; or compare on the host"


@limit(Severity.ERROR, remedy="convert the model to float32 before quantizing", evidence="[#import-limits]")
def float_types(view: View) -> Iterator[Break]:
    """Tensors may be float32, int8 or uint8 (bool for logic, int32 for biases) only."""
    for node, value in view.computed:
        if value.dtype in _WIDE and not any(v is not None and v.dtype in _WIDE for v in node.inputs):
            yield Break(f"type {value.dtype.name.lower()}", label(node), value.name)
    for name, value in view.graph.initializers.items():
        if value.dtype in _WIDE and value.uses():
            yield Break(f"initializer of type {value.dtype.name.lower()}", tensor=name)


@limit(
    Severity.WARNING, remedy="fold it into constants, or move it out of the graph", evidence="[#import-3], [#import-5]"
)
def integer_activations(view: View) -> Iterator[Break]:
    """Integer arithmetic on activations (int64, int32) has no place on the NPU and trips the import ("Non-numerical or
    not-string elements in ...")."""
    severity = Severity.ERROR if view.quantized else None
    for node, value in view.computed:
        if value.dtype in _INTEGERS and view.depends_on_input(value) and node.op_type != "DequantizeLinear":
            if node.op_type == "Shape":
                yield Break("shape computed at run time", label(node), value.name)
            elif node.op_type != "Shape" and not any(
                v is not None and v.dtype in _INTEGERS and view.depends_on_input(v) for v in node.inputs
            ):
                found = f"type {value.dtype.name.lower()}"
                yield Break(found, label(node), value.name, severity, remedy_for(node, view.version, named))


@limit(
    Severity.ERROR,
    remedy=_MASKS,
    evidence="[#import-17]",
)
def bool_tensors(view: View) -> Iterator[Break]:
    """A bool tensor inside a quantized graph turns the whole network to float, without a message."""
    severity = None if view.quantized else Severity.WARNING
    for node, value in view.computed:
        if value.dtype == ir.DataType.BOOL and view.depends_on_input(value):
            yield Break("type bool", label(node), value.name, severity, way_out(view.graph, [node], _MASKS, named))


@limit(Severity.ERROR, remedy="write it with tensors of rank {RANK_NPU} (merge or split axes)", evidence="[#import-19]")
def rank(view: View) -> Iterator[Break]:
    """Tensors have at most rank {RANK_FRONT_END} at import and rank {RANK_NPU} on the NPU; rank 5 crashed the 4.x
    compiler ("signo=11")."""
    for node, value in _largest(view):
        size = len(dims(value) or ())
        if size > RANK_FRONT_END:
            yield Break(f"rank {size}", node, value.name)
        elif size > RANK_NPU:
            severity = Severity.ERROR if view.has("rank_5_crashes") else Severity.WARNING
            yield Break(f"rank {size}", node, value.name, severity)


@limit(Severity.ERROR, remedy="reshape, or split the tensor", evidence="[#import-limits]")
def dimension(view: View) -> Iterator[Break]:
    """Each dimension of each tensor must be below {DIM_LIMIT:,}."""
    for node, value in _largest(view):
        for size in dims(value) or ():
            if size is not None and size >= DIM_LIMIT:
                yield Break(f"dimension {size:,}", node, value.name)


def _largest(view: View) -> Iterator[tuple[str | None, ir.Value]]:
    """Activations: inputs, then node outputs that depend on them."""
    yield from ((None, value) for value in view.inputs)
    yield from ((label(node), value) for node, value in view.computed if view.depends_on_input(value))
