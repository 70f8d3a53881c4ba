"""Reading MoveNet from what people have: SavedModel, Keras, TFLite or ONNX."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.plugin import Report

__all__ = ["read_graph"]


def read_graph(path: Path, scratch: Path, progress: Report) -> ir.Model:
    """The file's float graph as it is, decoding tail and all.

    Raises:
        SourceError: the file is damaged, of another kind, or holds operators that have no ONNX form.
        ToolError: TensorFlow or tf2onnx is missing or failed.
    """
    if path.suffix == ".onnx":
        try:
            return ir.load(path)
        except Exception as error:  # protobuf and onnx raise several unrelated types
            raise SourceError("the ONNX file cannot be read", place=path, found=str(error)[:200]) from error
    raise NotImplementedError
