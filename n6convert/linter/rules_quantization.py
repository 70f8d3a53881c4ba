"""Limits of the QDQ form ([#quantization], [#import-17], [#import-18], hard limits)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from n6convert.graph.operators import CONVERSIONS, PRODUCTS, RUNTIME_QUANTIZATION, SATURATING
from n6convert.linter.constants import SAME_GRID
from n6convert.linter.finding import Break, Severity, limit
from n6convert.linter.view import View, constant, dims, label

__all__: list[str] = []

_INTEGERS = {ir.DataType.INT8, ir.DataType.INT32}
#: the compiler fuses these into what comes before, so that no Q/DQ is needed in between
_FUSED_BEFORE = PRODUCTS | {"Add"}


@limit(
    Severity.INFO,
    remedy="quantize it: `n6convert FILE.onnx --calibration FOLDER`",
    evidence="[#placement], [#quantization]",
)
def not_quantized(view: View) -> Iterator[Break]:
    """Without Q/DQ every operator runs in float on the Cortex-M55; the NPU computes in INT8 only."""
    if not view.quantized and not any(n.op_type.startswith("QLinear") for n in view.nodes):
        yield Break("no QuantizeLinear in the graph")


@limit(Severity.ERROR, remedy="quantize statically, weights and activations", evidence="[#import-17]")
def static_quantization(view: View) -> Iterator[Break]:
    """Dynamic or weight-only quantization leaves the whole network in float, without a message."""
    for node in view.nodes:
        if node.op_type in RUNTIME_QUANTIZATION:
            yield Break(node.op_type, label(node))
    weights = [n for n in view.of_type("DequantizeLinear") if not view.depends_on_input(n.inputs[0])]
    if weights and not view.quantized:
        yield Break(f"{len(weights)} quantized weights, no quantized activation", label(weights[0]))


@limit(
    Severity.WARNING, remedy="write QDQ instead", evidence="[#onnx-operators], seen r07: 112 software epochs against 33"
)
def qoperator_format(view: View) -> Iterator[Break]:
    """QLinear operators are imported but not recommended; unknown ones fall to float."""
    hits = [n for n in view.nodes if n.op_type.startswith("QLinear")]
    if hits:
        yield Break(f"{len(hits)} QLinear operators", label(hits[0]))


@limit(Severity.ERROR, remedy="quantize activations to int8", evidence="[#import-18], [#quantization]")
def activation_type(view: View) -> Iterator[Break]:
    """Quantized activations are int8: uint8 in QDQ is refused ("quantized unsigned integer format is not supported"),
    16-bit and 4-bit are not accepted. Without a zero point ONNX means uint8."""
    for node in view.of_type("QuantizeLinear"):
        zero = node.inputs[2] if len(node.inputs) > 2 else None
        kind = zero.dtype if zero is not None else _output_type(node)
        if kind != ir.DataType.INT8:
            text = kind.name.lower() if kind is not None else "unknown type"
            yield Break(text if zero is not None else f"no zero point, {text}", label(node), node.outputs[0].name)


@limit(Severity.ERROR, remedy="one scale for the whole activation", evidence="[#quantization]")
def activation_per_tensor(view: View) -> Iterator[Break]:
    """Activations have one scale and one zero point each; per-channel scales are for weights."""
    for node in view.of_type(*CONVERSIONS):
        scale = constant(node.inputs[1])
        if view.depends_on_input(node.inputs[0]) and scale is not None and scale.size > 1:
            yield Break(f"{scale.size} scales", label(node), node.inputs[0].name)  # type: ignore[union-attr]


@limit(Severity.ERROR, remedy="quantize again; a constant, too, needs a positive scale", evidence="ONNX")
def scales(view: View) -> Iterator[Break]:
    """Scales are constant, finite and positive, zero points constant."""
    for node in view.of_type(*CONVERSIONS):
        scale = constant(node.inputs[1])
        if scale is None or (len(node.inputs) > 2 and node.inputs[2] and constant(node.inputs[2]) is None):
            yield Break("scale or zero point computed at run time", label(node))
        elif not (np.isfinite(values := scale.astype(float)).all() and (values > 0).all()):
            yield Break(f"scale {values.min()}", label(node), node.inputs[1].name)  # type: ignore[union-attr]


@limit(Severity.ERROR, remedy="drop the attribute", evidence="[#import-limits]")
def quantize_attributes(view: View) -> Iterator[Break]:
    """QuantizeLinear takes neither block_size nor output_dtype."""
    for node in view.of_type(*CONVERSIONS):
        for name in ("block_size", "output_dtype"):
            if node.attributes.get_int(name, 0):
                yield Break(name, label(node))


@limit(Severity.WARNING, remedy="quantize weights symmetrically to int8", evidence="[#quantization]")
def weight_grid(view: View) -> Iterator[Break]:
    """Weights are int8, from core 3.0 on int8 or int4, with zero point 0 (int32 for biases)."""
    allowed = _INTEGERS | ({ir.DataType.INT4} if view.has("int4_weights") else set())
    for node in view.of_type("DequantizeLinear"):
        value = node.inputs[0]
        if view.depends_on_input(value) or value is None or not _feeds_weights(node):
            continue
        zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if value.dtype not in allowed:
            kind = value.dtype.name.lower() if value.dtype else "unknown type"
            yield Break(f"weights of type {kind}", label(node), value.name, Severity.ERROR)
        elif zero is not None and zero.any():
            yield Break(f"zero point {int(zero.ravel()[np.flatnonzero(zero)[0]])}", label(node), value.name)


@limit(
    Severity.ERROR,
    remedy="scale along the output channels",
    evidence="[#quantization]: a wrong axis may give wrong code",
)
def weight_axis(view: View) -> Iterator[Break]:
    """Per-channel weight scales run along the output channels: axis 0 for Conv, 1 for ConvTranspose, the columns of a
    matrix product."""
    for node in view.of_type(*PRODUCTS):
        source = node.inputs[1].producer() if node.inputs[1] is not None else None
        if source is None or source.op_type != "DequantizeLinear" or view.depends_on_input(node.inputs[1]):
            continue
        scale, shape = constant(source.inputs[1]), dims(source.inputs[0]) or ()
        if scale is None or scale.size == 1 or not shape:
            continue
        axis = source.attributes.get_int("axis", 1) % len(shape)
        wanted = _channel_axis(node, len(shape))
        if axis != wanted:
            yield Break(f"axis {axis} instead of {wanted}", label(node), node.inputs[1].name)  # type: ignore[union-attr]
        elif shape[axis] != scale.size:
            yield Break(f"{scale.size} scales for {shape[axis]} channels", label(node), node.inputs[1].name)  # type: ignore[union-attr]


@limit(Severity.WARNING, remedy="int32, scale = input scale x weight scale, zero point 0", evidence="[#quantization]")
def bias_grid(view: View) -> Iterator[Break]:
    """The bias is int32 with zero point 0 and the product of input and weight scale as scale."""
    for node in view.of_type("Conv", "ConvTranspose", "Gemm"):
        sources = [v.producer() if v is not None else None for v in [*node.inputs, None, None][:3]]
        if any(s is None or s.op_type != "DequantizeLinear" for s in sources[:2]) or len(node.inputs) < 3:
            continue
        bias = sources[2]
        if bias is None or bias.op_type != "DequantizeLinear":
            if node.inputs[2] is not None:
                yield Break("float bias", label(node), node.inputs[2].name)
            continue
        if bias.inputs[0] is not None and bias.inputs[0].dtype != ir.DataType.INT32:
            yield Break("bias not int32", label(node), bias.inputs[0].name, Severity.ERROR)
        factors = [constant(s.inputs[1]) for s in sources if s is not None]
        if any(f is None for f in factors):
            continue
        source, weight, held = (np.ravel(f).astype(float) for f in factors)  # type: ignore[arg-type]
        if len({1, weight.size, held.size}) > 2:
            text = f"{held.size} scales beside {weight.size} of the weight"
            yield Break(text, label(node), bias.inputs[1].name)  # type: ignore[union-attr]
        elif not np.allclose(held, source * weight, rtol=1e-3, atol=0):
            yield Break("another scale", label(node), bias.inputs[1].name)  # type: ignore[union-attr]


@limit(Severity.WARNING, remedy="put Q/DQ on every activation", evidence="[#quantization], seen r10")
def float_island(view: View) -> Iterator[Break]:
    """In a quantized graph an operator without Q/DQ on all its activations runs in float, and pulls its neighbors
    along."""
    if not view.quantized:
        return
    for node in view.nodes:
        skipped = node.op_type in {*CONVERSIONS, "Constant", "Shape"} or node.op_type.startswith("QLinear")
        inputs = [v for v in node.inputs if v is not None and view.depends_on_input(v)]
        if skipped or not inputs:
            continue
        loose = [v for v in inputs if _is_float(v) and _loose_in(v, node)]
        weighted = bool(loose) and node.op_type in PRODUCTS and _dequantized(node.inputs[1])
        loose += [v for v in node.outputs if v.name and _is_float(v) and _loose_out(v, node)]
        if loose:
            yield Break("no Q/DQ", label(node), loose[0].name, Severity.ERROR if weighted else None)


@limit(Severity.INFO, remedy="give both sides the same scale and zero point", evidence="[#quantization]")
def requantized_copies(view: View) -> Iterator[Break]:
    """Operators that only move values need the same grid on both sides, else the compiler adds a requantization."""
    for node in view.of_type(*SAME_GRID):
        after = [_grid(u.node) for v in node.outputs for u in v.uses() if u.node.op_type == "QuantizeLinear"]
        for value in node.inputs:
            source = value.producer() if value is not None else None
            if source is None or source.op_type != "DequantizeLinear" or not after:
                continue
            before = _grid(source)
            if view.depends_on_input(value) and before is not None and any(a and a != before for a in after):
                yield Break(f"scale {before[0]:.6g} becomes {after[0][0]:.6g}", label(node), value.name)  # type: ignore[index,union-attr]


def _output_type(node: ir.Node) -> ir.DataType:
    number = node.attributes.get_int("output_dtype", 0)
    return ir.DataType(number) if number else ir.DataType.UINT8


def _feeds_weights(node: ir.Node) -> bool:
    return any(u.node.op_type in PRODUCTS and u.idx in {1, 2} for u in node.outputs[0].uses())


def _channel_axis(node: ir.Node, size: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return size - 1


def _is_float(value: ir.Value) -> bool:
    return value.dtype in {ir.DataType.FLOAT, None}


def _dequantized(value: ir.Value | None) -> bool:
    source = value.producer() if value is not None else None
    return source is not None and source.op_type == "DequantizeLinear"


def _loose_in(value: ir.Value, node: ir.Node) -> bool:
    source = value.producer()
    if source is None:
        return True
    if node.op_type in SATURATING and source.op_type in _FUSED_BEFORE:
        return len(value.uses()) > 1
    return source.op_type != "DequantizeLinear"


def _loose_out(value: ir.Value, node: ir.Node) -> bool:
    users = [use.node for use in value.uses()]
    if value.is_graph_output():
        return True
    if len(users) == 1 and users[0].op_type in SATURATING and node.op_type in _FUSED_BEFORE:
        return False
    return any(user.op_type != "QuantizeLinear" for user in users)


def _grid(node: ir.Node) -> tuple[float, int] | None:
    scale = constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if scale is None or zero is None or scale.size != 1:
        return None
    return float(scale.ravel()[0]), int(zero.ravel()[0])
