"""What a model must not have when its graph is about to be run: loops, and tensors of a size that nothing holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from n6convert.errors import GraphError
from n6convert.graph.fault import shortened
from n6convert.graph.operators import LOOPS

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["refuse_large_inputs", "refuse_loops", "refuse_sizes", "refuse_training", "refuse_unknown"]


def refuse_loops(model: ir.Model) -> None:
    """Raise GraphError for operators that repeat a graph: how often, only running it says."""
    for node in model.graph.all_nodes():
        if node.op_type in LOOPS and node.domain in ("", "ai.onnx"):
            place = shortened(node.name or node.outputs[0].name or "")
            raise GraphError(
                "the model has a loop, which the NPU has not", place=f"node {place} ({node.op_type})",
                limit="operators that run once", remedy="unroll the loop at export, or cut the graph before it",
            )  # fmt: skip


def refuse_training(model: ir.Model) -> None:
    """Raise GraphError for a network exported as it is trained: its answers depend on the batch, or on chance."""
    from n6convert.graph.query import attribute, constant_of

    for node in model.graph.all_nodes():
        mode = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
        drops = mode is not None and (value := constant_of(mode)) is not None and bool(value.any())
        if drops or (node.op_type == "BatchNormalization" and attribute(node, "training_mode", 0)):
            place = shortened(node.name or node.outputs[0].name or "")
            raise GraphError(
                "the network was exported in training mode", place=f"node {place} ({node.op_type})",
                limit="running means and variances, and no dropout",
                found="values are dropped by chance" if drops else "statistics of the batch at hand",
                remedy="export it in evaluation mode: model.eval(), training=TrainingMode.EVAL in torch.onnx.export",
            )  # fmt: skip


def refuse_unknown(model: ir.Model) -> None:
    """Raise GraphError for operators that neither ONNX nor the model itself defines, such as TFLite's custom ones."""
    from onnx import defs

    from n6convert.graph.ends import ending_at

    unknown = [n for n in model.graph if not n.domain and not defs.has(n.op_type)]
    if unknown:
        reads = [v.name for v in unknown[0].inputs if v is not None and v.name and not v.is_initializer()]
        raise GraphError(
            "the model calls operators that ONNX does not have",
            place=unknown[0].name or unknown[0].op_type,
            found=", ".join(sorted({n.op_type for n in unknown})),
            remedy=f"end the network in front of them and do the rest on the host: {ending_at(reads)}",
        )


def refuse_sizes(model: ir.Model) -> None:
    """Infer shapes from those of the inputs, and raise GraphError for the first tensor of an impossible size.

    Nothing is allocated, so this comes before shapes are settled by running or folding anything. Operators that do not
    take what they are given are refused too.
    """
    from onnx_ir.passes.common import _c_api_utils

    from n6convert.graph.sizes import inferred_faults

    def check(message: onnx.ModelProto) -> onnx.ModelProto:
        for fault in inferred_faults(message):
            raise fault.error()
        return message

    _c_api_utils.call_onnx_api(check, model)


def refuse_large_inputs(model: ir.Model, room: int, target: str) -> None:
    """Raise GraphError for an input that alone, as INT8, is larger than all RAM of a board: no rewrite makes it fit.

    Args:
        model: with static input shapes.
        room: bytes of all writable memory.
        target: the board, for the message.
    """
    for value in model.graph.inputs:
        shape = [d for d in value.shape or () if isinstance(d, int)]
        if (size := math.prod(shape)) > room:
            raise GraphError(
                "one input alone is larger than all RAM of the board", place=value.name,
                limit=f"{room:,} bytes on {target}", found=f"{size:,} bytes as INT8 for shape {shape}",
                remedy="use a smaller input",
            )  # fmt: skip
