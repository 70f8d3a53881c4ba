"""From a model or a file to a :class:`View`, refusing what is malformed."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from n6convert.errors import GraphError, SourceError
from n6convert.graph.io import hold_weights
from n6convert.lint.view import View
from n6convert.npu.targets import DEFAULT_TARGET, load_target

__all__ = ["infer_shapes", "load_model", "prepare"]


def load_model(path: str | Path) -> ir.Model:
    """Read an ONNX file, external data left on disk until needed.

    Raises:
        SourceError: no such file.
        GraphError: not an ONNX file, truncated, or its external data are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceError("the ONNX file does not exist", place=path)
    try:
        model = ir.load(path)
    except Exception as error:  # protobuf, onnx and onnx-ir raise unrelated types for damaged files
        raise GraphError(
            "the file is not a readable ONNX model",
            place=path,
            found=_reason(error),
            remedy="export it again; a download may be truncated or a Git LFS pointer",
        ) from error
    if not len(model.graph) and not model.graph.outputs:
        raise GraphError("the file holds no graph", place=path, remedy="is this really an ONNX file?")
    _check_external(model, path)
    hold_weights(model, path.parent)
    return model


def prepare(model: ir.Model, target: str | None) -> View:
    """A copy with shapes inferred, ready for the limits of a target (None: the default one).

    Raises:
        GraphError: the graph is malformed.
        RecipeError: unknown target.
    """
    board = load_target(target or DEFAULT_TARGET)
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


def _check_external(model: ir.Model, path: Path) -> None:
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            file = Path(tensor.path)
            size = file.stat().st_size if file.is_file() else -1
            if size < (tensor.offset or 0) + (tensor.length or 0):
                raise GraphError(
                    "external weights are missing or truncated",
                    place=f"{path}, initializer {name}",
                    found="no file" if size < 0 else f"{size} bytes",
                    limit=file,
                    remedy="keep the .data file next to the .onnx file",
                )


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
