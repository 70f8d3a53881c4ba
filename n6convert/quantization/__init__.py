"""INT8 quantization for the Neural-ART grid."""

from __future__ import annotations

from n6convert.lazy import first_use
from n6convert.recipe.quantization import QuantizationConfig

__all__ = ["QuantizationConfig", "QuantizationResult", "quantize"]

#: loaded on first use: reading a recipe must not import onnx
__getattr__ = first_use(__name__, {"QuantizationResult": "quantizer", "quantize": "quantizer"})
