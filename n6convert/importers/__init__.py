"""Models of other frameworks as ONNX, each converted in a child process, so that no framework enters this one."""

from __future__ import annotations

from n6convert.importers.dequantized import InputGrid, float_inputs
from n6convert.importers.tensorflow import import_tensorflow, tensorflow_kind

__all__ = ["InputGrid", "float_inputs", "import_tensorflow", "tensorflow_kind"]
