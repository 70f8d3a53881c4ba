"""INT8 quantization for the Neural-ART grid."""

from __future__ import annotations

from n6convert.quantization.config import QuantizationConfig

__all__ = ["QuantizationConfig", "QuantizationResult", "quantize"]


def __getattr__(name: str) -> object:
    """Load the quantizer (and with it onnx) only when it is used."""
    if name in ("quantize", "QuantizationResult"):
        from n6convert.quantization import quantizer

        return getattr(quantizer, name)
    raise AttributeError(name)
