"""Probes: intermediate tensors of a graph as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["exposing"]


def exposing(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of the model whose graph returns the named tensors, too."""
    import onnx_ir as ir

    copy = ir.from_proto(ir.to_proto(model))
    present = {value.name for value in copy.graph.outputs}
    wanted = set(names) - present
    copy.graph.outputs.extend(out for node in copy.graph for out in node.outputs if out.name in wanted)
    return copy
