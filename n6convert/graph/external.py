"""Weights that lie beside a model's file: which tensors, in which files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["all_tensors", "files_beside", "inside", "location"]

#: how the key ``location`` of a tensor's external data lies in a file: field 1, 8 bytes
_TRACE = b"\x0a\x08location"


def files_beside(path: Path) -> list[Path]:
    """Existing files that hold weights of an ONNX file, in order of name; none for files of another kind."""
    if path.suffix.lower() != ".onnx" or not path.is_file() or _TRACE not in path.read_bytes():
        return []
    import onnx

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except Exception:  # a DecodeError, or what protobuf's other implementations raise: the reader will say so
        return []
    named = {location(tensor) for tensor in all_tensors(model) if tensor.data_location == 1}
    return sorted(file for name in named if (file := inside(path.parent, name)) is not None)


def inside(folder: Path, name: str) -> Path | None:
    """The regular file that a name means in a folder; None when there is none, or when it lies outside."""
    if not name or name.startswith("\\") or Path(name).is_absolute() or ":" in name.partition("/")[0]:
        return None
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # names too long, with NUL, links that form a ring
        return None


def location(tensor: onnx.TensorProto) -> str:
    """The file that holds a tensor's values, as the tensor names it."""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor: initializers and attributes of the graph, its subgraphs and the model's functions."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (tensor for tensor in (attribute.t, *attribute.tensors) if tensor.ByteSize())
            graphs.extend(graph for graph in (attribute.g, *attribute.graphs) if graph.ByteSize())
