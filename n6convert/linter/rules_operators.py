"""Limits of single operators ([#onnx-operators], [#import] and its hard limits)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from n6convert.graph.operators import RUNTIME_QUANTIZATION
from n6convert.linter.constants import DIM_LIMIT, MATMUL_RANK, SCATTER_RANK, SLICE_AXES
from n6convert.linter.finding import Break, Severity, limit
from n6convert.linter.view import View, constant, dims, label, named, through_quantization
from n6convert.operators.host import remedy_for
from n6convert.operators.table import Row, Runs

__all__ = ["slice_parts"]

#: normalizations that a limit of its own reports
_FUSED = ("LayerNormalization", "GroupNormalization", "RMSNormalization")
_ON_CPU = {Runs.FLOAT: "in float", Runs.INT8: "in integer", Runs.HYBRID: "in integer, with the DMA"}


@limit(Severity.ERROR, remedy="see the operator", evidence="[#onnx-operators], [#import-10], [#import-21]")
def refused_operators(view: View) -> Iterator[Break]:
    """This operator is rejected or crashes the import."""
    for node, row in view.decided:
        if row.runs is Runs.REFUSED and node.op_type not in RUNTIME_QUANTIZATION:
            yield Break(node.op_type, label(node), remedy=remedy_for(node, view.version, named), evidence=row.evidence)
    for node in view.of_type("ScatterND"):
        if (shape := dims(node.inputs[0])) and len(shape) > SCATTER_RANK:
            yield Break(f"ScatterND of rank {len(shape)}", label(node), remedy="cut the graph before it")


@limit(
    Severity.WARNING,
    remedy="decompose it before quantizing, and quantize every step",
    evidence="[#import-6], [#layernorm]",
)
def fused_normalization(view: View) -> Iterator[Break]:
    """A fused normalization is expanded after import into primitives without scales ("layer_norm_Reduce is not
    quantized"): float code on the CPU."""
    for node in view.of_type(*_FUSED):
        yield Break(f"{node.op_type} left fused", label(node))


@limit(Severity.ERROR, remedy="delete the attribute (`n6convert` does)", evidence="[#import-9]")
def reshape_allowzero(view: View) -> Iterator[Break]:
    """Reshape must not set allowzero ("allowzero different from default for Reshape")."""
    for node in view.of_type("Reshape"):
        if node.attributes.get_int("allowzero", 0):
            yield Break("allowzero=1", label(node))


@limit(Severity.ERROR, remedy="use separate projections or Split instead", evidence="[#import-11]")
def slice_axes(view: View) -> Iterator[Break]:
    """Slice cuts at most {SLICE_AXES} axes and never the batch, with constant bounds."""
    for node in view.of_type("Slice"):
        parts = slice_parts(node)
        if parts is None:
            yield Break("bounds computed at run time", label(node), remedy="fold them into constants")
            continue
        axes, starts, _, _ = parts
        shape = dims(node.inputs[0])
        cut = [a for a in axes if not shape or _cuts(node, shape, a)]
        if 0 in cut or (shape and -len(shape) in cut):
            yield Break("slice on the batch dimension", label(node))
        if len(cut) > SLICE_AXES:
            yield Break(f"slice on {len(cut)} axes", label(node))


@limit(Severity.WARNING, remedy="write the dimension itself (`n6convert` does)", evidence="[#import-limits]")
def slice_sentinels(view: View) -> Iterator[Break]:
    """Slice bounds must lie inside the tensor, not be sentinels such as INT_MAX."""
    for node in view.of_type("Slice"):
        parts = slice_parts(node)
        if parts and any(abs(bound) >= DIM_LIMIT for bound in (*parts[1], *parts[2])):
            yield Break(f"starts {list(parts[1])}, ends {list(parts[2])}", label(node))


@limit(Severity.ERROR, remedy="keep dimension 0 in place, reshape instead", evidence="[#import-limits]")
def transpose_batch(view: View) -> Iterator[Break]:
    """Transpose must not move the batch dimension."""
    for node in view.of_type("Transpose"):
        shape = dims(node.inputs[0]) or ()
        order = node.attributes.get_ints("perm", tuple(reversed(range(len(shape)))))
        if view.depends_on_input(node.inputs[0]) and order and order[0] != 0:
            yield Break(f"perm {list(order)}", label(node))


@limit(Severity.ERROR, remedy="concatenate on another axis", evidence="[#import-limits]")
def concat_batch(view: View) -> Iterator[Break]:
    """Concat must not join along the batch."""
    for node in view.of_type("Concat"):
        axis = node.attributes.get_int("axis", 0)
        shape = dims(node.outputs[0])
        if not view.depends_on_input(node.outputs[0]) or not shape or len(shape) < 2:
            continue
        if axis in {0, -len(shape)}:
            yield Break(f"axis {axis}", label(node))


@limit(Severity.ERROR, remedy="drop the empty input (`n6convert` does)", evidence="[#import-19]")
def pad_inputs(view: View) -> Iterator[Break]:
    """Pad must have no empty optional inputs (crash "signo=11") and no axes input."""
    for node in view.of_type("Pad"):
        if any(value is None for value in node.inputs):
            yield Break("an empty optional input", label(node))
        if len(node.inputs) > 3 and node.inputs[3] is not None:
            yield Break("an axes input", label(node), remedy="write pads for all axes (`n6convert` does)")


@limit(Severity.ERROR, remedy="use constant padding", evidence="[#import-limits]")
def pad_mode(view: View) -> Iterator[Break]:
    """Pad must not wrap around, and its pads must be constants."""
    for node in view.of_type("Pad"):
        if node.attributes.get_string("mode", "constant") == "wrap":
            yield Break("mode wrap", label(node))
        if len(node.inputs) > 1 and constant(node.inputs[1]) is None:
            yield Break("pads computed at run time", label(node), remedy="fold them into constants")


@limit(
    Severity.ERROR,
    remedy="make the bounds initializers (`n6convert` does for constants)",
    evidence="[#onnx-operators], [#import]",
)
def clip_bounds(view: View) -> Iterator[Break]:
    """The bounds of Clip must be initializers, not outputs of nodes."""
    for node in view.of_type("Clip"):
        for bound in node.inputs[1:]:
            if bound is None or bound.is_initializer():
                continue
            severity = Severity.WARNING if constant(bound) is not None else None
            yield Break("a bound comes from a node", label(node), bound.name, severity)


@limit(Severity.ERROR, remedy="use nearest, or linear with half_pixel or asymmetric, and scales", evidence="[#import]")
def resize_modes(view: View) -> Iterator[Break]:
    """Resize takes neither cubic, nor half_pixel_symmetric, antialias or axes."""
    for node in view.of_type("Resize"):
        attributes = node.attributes
        wrong = [
            text
            for text, present in (
                ("mode cubic", attributes.get_string("mode", "nearest") == "cubic"),
                ("half_pixel_symmetric", _transform(node) == "half_pixel_symmetric"),
                ("tf_crop_and_resize", _transform(node) == "tf_crop_and_resize"),
                ("antialias", attributes.get_int("antialias", 0) != 0),
                ("axes", "axes" in attributes),
            )
            if present
        ]
        if wrong:
            yield Break(", ".join(wrong), label(node))


@limit(Severity.INFO, remedy="use nearest, asymmetric, floor; `n6convert` rewrites what it can", evidence="[#resize]")
def resize_on_cpu(view: View) -> Iterator[Break]:
    """Only nearest Resize with asymmetric coordinates and floor is spared a full software Resize."""
    for node in view.of_type("Resize"):
        mode = node.attributes.get_string("mode", "nearest")
        rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
        if (mode, _transform(node), rounding) != ("nearest", "asymmetric", "floor"):
            yield Break(f"{mode}, {_transform(node)}" + (f", {rounding}" if mode == "nearest" else ""), label(node))


@limit(Severity.ERROR, remedy="keep MatMul and Add apart; C must be a constant bias", evidence="[#import-2]")
def gemm_bias(view: View) -> Iterator[Break]:
    """The third input of Gemm must be a constant ("TOOL ERROR: list index out of range")."""
    for node in view.of_type("Gemm"):
        if len(node.inputs) > 2 and view.depends_on_input(node.inputs[2]):
            yield Break("an activation as bias", label(node), node.inputs[2].name)  # type: ignore[union-attr]


@limit(Severity.WARNING, remedy="write Linear layers as 1x1 Conv, attention per head", evidence="[#import-limits]")
def matmul_rank(view: View) -> Iterator[Break]:
    """MatMul takes tensors of at most rank {MATMUL_RANK}."""
    for node in view.of_type("MatMul"):
        ranks = [len(dims(value) or ()) for value in node.inputs]
        if view.depends_on_input(node.outputs[0]) and max(ranks) > MATMUL_RANK:
            yield Break(f"rank {max(ranks)}", label(node))


@limit(
    Severity.INFO,
    remedy="`n6convert` rewrites attention products where that pays",
    evidence="[#dynamic-matmul], [#onnx-operators]",
)
def two_activations(view: View) -> Iterator[Break]:
    """A matrix product or convolution of two activations runs as software Conv, one per head."""
    for node in view.of_type("MatMul", "Gemm", "Conv", "ConvTranspose"):
        if all(view.depends_on_input(value) for value in node.inputs[:2]):
            yield Break(f"{node.op_type} of two activations", label(node))


@limit(Severity.ERROR, remedy="use 2-D convolutions with kernels that fit the map", evidence="[#import-limits]")
def conv_geometry(view: View) -> Iterator[Break]:
    """Convolutions and pools are 1-D or 2-D, with kernel and stride not larger than the (padded) input."""
    for node in view.of_type("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
        shape = dims(node.inputs[0])
        kernel = _kernel(node)
        if shape is None or kernel is None:
            continue
        if len(shape) > 4:
            yield Break(f"{len(shape) - 2}-D {node.op_type}", label(node))
        elif node.op_type != "ConvTranspose":
            yield from _too_large(node, shape, kernel)


@limit(
    Severity.INFO,
    remedy="avoid it, or see which rewrite removes it (`n6convert rewrite`)",
    evidence="[#onnx-operators]",
)
def cpu_operators(view: View) -> Iterator[Break]:
    """This operator runs on the Cortex-M55, not on the NPU."""
    for node, row in view.decided:
        if row.runs not in _ON_CPU or node.op_type in _FUSED or _folds(node, row):
            continue
        if any(view.depends_on_input(value) for value in node.outputs):
            remedy = row.remedies.get(node.op_type)
            yield Break(f"{node.op_type} {_ON_CPU[row.runs]}", label(node), remedy=remedy, evidence=row.evidence)


@limit(Severity.INFO, remedy="express it by operators of the table, or do it on the host", evidence="[#op-rejected]")
def unlisted_operators(view: View) -> Iterator[Break]:
    """This operator is in none of ST's tables: it runs in float on the Cortex-M55, if the import takes it at all."""
    for node in view.undecided:
        if any(view.depends_on_input(value) for value in node.outputs):
            yield Break(node.op_type, label(node))


@limit(Severity.INFO, remedy="write squares as x * x, roots as Sqrt", evidence="[#op-pow]")
def power_exponent(view: View) -> Iterator[Break]:
    """A power runs on the NPU only with a constant exponent; otherwise the Cortex-M55 computes it in float."""
    for node in view.of_type("Pow") if view.has("pow") else ():
        if view.depends_on_input(node.inputs[1]):
            yield Break("an activation as exponent", label(node))


@limit(Severity.INFO, remedy="multiply by the reciprocal of a constant (`n6convert rewrite`)", evidence="[#op-div]")
def division(view: View) -> Iterator[Break]:
    """A division by an activation runs on the Cortex-M55 in integer; by a constant it is a multiplication."""
    for node in view.of_type("Div"):
        if view.depends_on_input(node.inputs[1]):
            yield Break("an activation as divisor", label(node))


def _folds(node: ir.Node, row: Row) -> bool:
    """The compiler folds the operator into the one before it."""
    before = through_quantization(node.inputs[0]) if node.inputs else None
    writer = before.producer() if before is not None else None
    return writer is not None and writer.op_type in row.behind


@limit(Severity.INFO, remedy="write it as x * (-1) + const", evidence="[#broadcasting], seen 12 of 12")
def constant_minus(view: View) -> Iterator[Break]:
    """const - x, where the constant repeats, runs as software Sub."""
    for node in view.of_type("Sub"):
        left, right = node.inputs
        if not view.depends_on_input(left) and view.depends_on_input(right) and dims(left) != dims(right):
            yield Break("constant on the left", label(node), left.name if left is not None else None)


@limit(
    Severity.INFO,
    remedy="quantize the slope, or write Relu(x) - a * Relu(-x)",
    evidence="[#onnx-operators], seen 66 of 66",
)
def prelu_slope(view: View) -> Iterator[Break]:
    """PRelu stays on the NPU only with a quantized slope; a float slope makes it software."""
    for node in view.of_type("PRelu"):
        slope = node.inputs[1]
        if slope is None or slope.producer() is None or through_quantization(slope) is slope:
            yield Break("float slope", label(node))


def slice_parts(node: ir.Node) -> tuple[tuple[int, ...], ...] | None:
    """(axes, starts, ends, steps) of a Slice in either form; None when a bound is not constant."""
    if len(node.inputs) == 1:
        starts = tuple(node.attributes.get_ints("starts", ()))
        axes = tuple(node.attributes.get_ints("axes", tuple(range(len(starts)))))
        return axes, starts, tuple(node.attributes.get_ints("ends", ())), (1,) * len(starts)
    values = [constant(v) if v is not None else np.zeros(0) for v in [*node.inputs, None, None][1:5]]
    if any(value is None for value in values):
        return None
    starts, ends, axes, steps = (tuple(int(x) for x in np.ravel(v)) for v in values)  # type: ignore[arg-type]
    return axes or tuple(range(len(starts))), starts, ends, steps or (1,) * len(starts)


def _cuts(node: ir.Node, shape: tuple[int | None, ...], axis: int) -> bool:
    out = dims(node.outputs[0])
    return out is None or not shape or out[axis] != shape[axis]


def _transform(node: ir.Node) -> str:
    return str(node.attributes.get_string("coordinate_transformation_mode", "half_pixel"))


def _kernel(node: ir.Node) -> tuple[int, ...] | None:
    if "kernel_shape" in node.attributes:
        return tuple(node.attributes.get_ints("kernel_shape"))
    shape = dims(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if shape is None or None in shape else tuple(s for s in shape[2:] if s is not None)


def _too_large(node: ir.Node, shape: tuple[int | None, ...], kernel: tuple[int, ...]) -> Iterator[Break]:
    size = len(kernel)
    pads = node.attributes.get_ints("pads", (0,) * 2 * size)
    dilations = node.attributes.get_ints("dilations", (1,) * size)
    if node.attributes.get_string("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        return
    strides = node.attributes.get_ints("strides", (1,) * size)
    for axis, width in enumerate(kernel):
        before = shape[axis + 2]
        if before is None:
            continue
        room = before + pads[axis] + pads[axis + size]
        if (width - 1) * dilations[axis] + 1 > room:
            yield Break(f"kernel {list(kernel)} over {list(shape[2:])}", label(node))
            return
        if strides[axis] > room:
            yield Break(f"strides {list(strides)} over {list(shape[2:])}", label(node))
            return
