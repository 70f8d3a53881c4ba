"""From a model to a :class:`View`, refusing what is malformed."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.graph.canonical import infer_shapes
from n6convert.graph.copying import copied
from n6convert.linter.view import View
from n6convert.npu.targets import DEFAULT_TARGET, load_target
from n6convert.recipe.project import default_target

__all__ = ["prepare"]


def prepare(model: ir.Model, target: str | None) -> View:
    """A copy without notes, with shapes inferred, ready for the limits of a target (None: the default one).

    Raises:
        GraphError: the graph is malformed.
        RecipeError: unknown target.
    """
    board = load_target(target or default_target() or DEFAULT_TARGET)
    _check_wiring(model)
    copy = copied(model)
    return View(copy, board.version, infer_shapes(copy), frozenset(board.switches))


def _check_wiring(model: ir.Model) -> None:
    graph = model.graph
    owned = {value for node in graph for value in node.outputs}
    owned |= set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in owned:
                raise GraphError("a node reads a tensor that nothing produces", place=node.name, found=value.name)
    for output in graph.outputs:
        if output not in owned:
            raise GraphError("a graph output is produced by no node", found=output.name)
    if not graph.outputs:
        raise GraphError("the graph has no outputs")
