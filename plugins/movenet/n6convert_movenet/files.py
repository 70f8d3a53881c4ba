"""Reading MoveNet from what people have: SavedModel, Keras, TFLite or ONNX."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.plugin import Progress

__all__ = ["check_folder", "read_graph"]


def check_folder(path: Path) -> None:
    """Raise SourceError for a folder that is no SavedModel."""
    from n6convert.plugin.graphs import tensorflow_kind

    if tensorflow_kind(path) is None:
        raise _foreign(path)


def read_graph(path: Path, scratch: Path, progress: Progress) -> ir.Model:
    """The file's float graph as it is, decoding tail and all.

    Args:
        path: ONNX, TFLite, SavedModel or Keras.
        scratch: an empty folder.
        progress: called as ``progress(what, done, total)``.

    Raises:
        SourceError: the file is of another kind.
        GraphError: it is damaged, or holds TensorFlow operators that have no ONNX form.
        ToolError: TensorFlow or tf2onnx is missing or failed.
    """
    from n6convert.plugin.graphs import import_tensorflow, load_onnx, tensorflow_kind

    kind = tensorflow_kind(path)
    if kind is not None:
        with_it = "" if kind == "tflite" else " with TensorFlow"
        progress(f"reading {path.name}{with_it}", 0, None)
        return import_tensorflow(path, scratch, dequantize=kind == "tflite")
    if path.suffix.lower() != ".onnx":
        raise _foreign(path)
    return load_onnx(path)


def _foreign(path: Path) -> SourceError:
    return SourceError(
        "MoveNet cannot be read from this",
        place=path,
        limit="a SavedModel folder, or a .keras, .h5, .tflite or .onnx file",
        found="a folder without saved_model.pb" if path.is_dir() else path.suffix or "a file without ending",
    )
