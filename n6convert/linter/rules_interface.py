"""Limits of the file and of its inputs and outputs ([#import-1], [#import-4], [#import-5], hard limits)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from n6convert.linter.constants import (
    IR_FOUR_BITS,
    IR_MAX,
    OPSET_FOUR_BITS,
    OPSET_MAX,
    OPSET_MIN,
    OPSET_PER_CHANNEL,
)
from n6convert.linter.finding import Break, Severity, limit
from n6convert.linter.view import View, dims, label

__all__: list[str] = []

_INPUT_TYPES = {ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.UINT8}


@limit(Severity.ERROR, remedy="write IR version {IR_WRITTEN} (`n6convert` does)", evidence="[#import-1], seen on 2.2")
def ir_version(view: View) -> Iterator[Break]:
    """Compilers up to 2.2 refuse IR versions above {IR_MAX} ("Your model ir_version 10 is higher than the
    checker's (9)"); later ones were never seen with a higher one."""
    if view.four_bits and view.has("int4_weights") and view.model.ir_version == IR_FOUR_BITS:
        return
    if view.model.ir_version > IR_MAX:
        severity = Severity.ERROR if view.has("ir_9_at_most") else Severity.WARNING
        yield Break(f"IR version {view.model.ir_version}", severity=severity)


@limit(Severity.ERROR, remedy="export with opset 13 to 18", evidence="[#import-limits]")
def opset(view: View) -> Iterator[Break]:
    """The opset must lie between {OPSET_MIN} and {OPSET_MAX}; {OPSET_FOUR_BITS} from core 3.0 on, for 4-bit weights."""
    if view.four_bits and view.has("int4_weights") and view.opset == OPSET_FOUR_BITS:
        return
    if not OPSET_MIN <= view.opset <= OPSET_MAX:
        yield Break(f"opset {view.opset}" if view.opset else "no opset of the standard domain")


@limit(Severity.ERROR, remedy="convert the model to opset {OPSET_PER_CHANNEL} or newer", evidence="[#import-limits]")
def opset_per_channel(view: View) -> Iterator[Break]:
    """Per-channel QuantizeLinear and DequantizeLinear exist from opset {OPSET_PER_CHANNEL} on."""
    if view.opset >= OPSET_PER_CHANNEL:
        return
    for node in view.of_type("QuantizeLinear", "DequantizeLinear"):
        shape = dims(node.inputs[1])
        if shape and shape != (1,):
            yield Break(f"opset {view.opset} with {shape[0]} scales", label(node), node.outputs[0].name)
            return


@limit(Severity.ERROR, remedy="replace it by standard ONNX operators before export", evidence="[#onnx-operators]")
def custom_operators(view: View) -> Iterator[Break]:
    """Only operators of the standard ONNX domain are imported."""
    for node in view.nodes:
        if node.domain not in {"", "ai.onnx"} and not node.op_type.startswith("QLinear"):
            yield Break(f"operator {node.domain}::{node.op_type}", label(node))


@limit(
    Severity.ERROR, remedy="fix the shape at export, or give it: `shapes: {{input: [1, ...]}}`", evidence="[#import]"
)
def dynamic_shapes(view: View) -> Iterator[Break]:
    """Every dimension must be a number before import; only an unknown batch is taken as 1."""
    for value in view.inputs:
        shape = dims(value)
        if shape is None:
            yield Break("unknown rank", tensor=value.name)
        elif None in shape[1:]:
            yield Break(f"shape {_spelled(value)}", tensor=value.name)
        elif None in shape:
            remedy = "set the batch to 1 in the file"
            yield Break(f"shape {_spelled(value)}", tensor=value.name, severity=Severity.WARNING, remedy=remedy)


@limit(
    Severity.ERROR, remedy="fold shape arithmetic (`n6convert` simplifies), give static inputs", evidence="[#import-4]"
)
def unknown_shapes(view: View) -> Iterator[Break]:
    """Every tensor's shape must follow from the inputs ("Exported ONNX could be malformed since ONNX shape inference
    fails")."""
    if view.inference_failed:
        yield Break(f"shape inference: {view.inference_failed}")
        return
    if any(None in (dims(value) or (None,)) for value in view.inputs):
        return
    unknown = {v for _, v in view.computed if (s := dims(v)) is None or None in s}
    for node, value in view.computed:
        if value in unknown and not any(v in unknown for v in node.inputs):
            yield Break(f"shape {_spelled(value)}", label(node), value.name)


@limit(Severity.ERROR, remedy="export with batch 1", evidence="[#import-limits]")
def batch(view: View) -> Iterator[Break]:
    """The first dimension is the batch and must be 1."""
    for value in view.inputs:
        shape = dims(value)
        if shape and len(shape) > 1 and shape[0] not in {None, 1}:
            yield Break(f"batch {shape[0]}", tensor=value.name)


@limit(Severity.ERROR, remedy="feed float32 or int8: look embeddings up outside the graph", evidence="[#import-5]")
def input_types(view: View) -> Iterator[Break]:
    """Graph inputs must be float32, int8 or uint8 (integer token ids: "Unkonwn layer format for layer Input")."""
    for value in view.inputs:
        if value.dtype not in _INPUT_TYPES:
            yield Break(f"type {_type(value)}", tensor=value.name)


@limit(Severity.WARNING, remedy="add a batch dimension: [1, N]", evidence="[#import-limits]")
def rank_one_inputs(view: View) -> Iterator[Break]:
    """Graph inputs need a batch dimension and at least one more."""
    for value in view.inputs:
        shape = dims(value)
        if shape is not None and len(shape) < 2:
            yield Break(f"rank {len(shape)}", tensor=value.name)


@limit(Severity.WARNING, remedy="remove them from the inputs (`n6convert` does)", evidence="[#import-limits]")
def initializers_as_inputs(view: View) -> Iterator[Break]:
    """Initializers must not be listed as graph inputs."""
    listed = [v.name for v in view.graph.inputs if v.name in view.graph.initializers]
    if listed:
        yield Break(f"{len(listed)} listed", tensor=listed[0])


@limit(Severity.ERROR, remedy="remove the node, or make the tensor a graph output", evidence="[#import-limits]")
def unconnected_outputs(view: View) -> Iterator[Break]:
    """Every output of every node must be read by a node or be a graph output."""
    for node, value in view.computed:
        if not value.uses() and not value.is_graph_output():
            yield Break("nothing reads it", label(node), value.name)


@limit(Severity.WARNING, remedy="remove the input", evidence="[#import-limits]")
def unconnected_inputs(view: View) -> Iterator[Break]:
    """Every graph input must be read."""
    for value in view.inputs:
        if not value.uses() and not value.is_graph_output():
            yield Break("nothing reads it", tensor=value.name)


@limit(Severity.ERROR, remedy="return a computed tensor", evidence="[#import-limits]")
def trivial_outputs(view: View) -> Iterator[Break]:
    """A graph output must be computed by a node, not be an input or a constant."""
    for value in view.graph.outputs:
        if value.producer() is None:
            yield Break("an input or constant returned as output", tensor=value.name)


def _spelled(value: ir.Value) -> str:
    if value.shape is None:
        return "unknown"
    return "[" + ", ".join(str(getattr(d, "value", d) or "?") for d in value.shape) + "]"


def _type(value: ir.Value) -> str:
    return value.dtype.name.lower() if value.dtype is not None else "unknown"
