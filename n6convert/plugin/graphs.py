"""Building, loading and running float graphs, comparing them, and bringing other formats to ONNX."""

from n6convert.builtin.static import settle_shapes
from n6convert.graph.builder import Builder
from n6convert.graph.io import load as load_onnx
from n6convert.graph.network import NetworkWriter
from n6convert.importers import import_tensorflow, tensorflow_kind
from n6convert.requantization import dequantize, quantized_style, refuse_other_styles
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

__all__ = [
    "Builder",
    "NetworkWriter",
    "dequantize",
    "import_tensorflow",
    "load_onnx",
    "max_relative_difference",
    "quantized_style",
    "refuse_other_styles",
    "run_model",
    "settle_shapes",
    "tensorflow_kind",
]
