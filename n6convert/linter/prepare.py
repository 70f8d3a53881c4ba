"""From a model to a :class:`View`, refusing what is malformed."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.linter.view import View
from n6convert.npu.targets import DEFAULT_TARGET, load_target
from n6convert.recipe.project import default_target

__all__ = ["infer_shapes", "prepare"]


def prepare(model: ir.Model, target: str | None) -> View:
    """A copy with shapes inferred, ready for the limits of a target (None: the default one).

    Raises:
        GraphError: the graph is malformed.
        RecipeError: unknown target.
    """
    board = load_target(target or default_target() or DEFAULT_TARGET)
    _check_wiring(model)
    copy = model.clone()
    return View(copy, board.version, infer_shapes(copy), frozenset(board.switches))


def infer_shapes(model: ir.Model) -> str | None:
    """Fill in shapes in place; the reason as a sentence when ONNX refuses, else None. Large weights stay outside."""
    import onnx
    from onnx_ir.passes.common import _c_api_utils

    reason: list[str] = []

    def infer(proto: onnx.ModelProto) -> onnx.ModelProto:
        try:
            return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        except Exception as error:  # the C++ code raises several types
            reason.append(_reason(error))
            return onnx.shape_inference.infer_shapes(proto, data_prop=True)

    try:
        inferred = _c_api_utils.call_onnx_api(infer, model)
    except Exception as error:
        return reason[0] if reason else _reason(error)
    _merge(model, {info.name: info for info in [*inferred.graph.value_info, *inferred.graph.output]})
    return reason[0] if reason else None


def _merge(model: ir.Model, known: dict[str, object]) -> None:
    for node in model.graph:
        for value in node.outputs:
            info = known.get(value.name or "")
            if info is None:
                continue
            fresh = ir.serde.deserialize_value_info_proto(info, None)  # type: ignore[arg-type]
            value.type = value.type or fresh.type
            if fresh.shape is not None and (value.shape is None or not value.shape.is_static()):
                value.shape = fresh.shape


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


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
