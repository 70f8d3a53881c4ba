"""How a file is quantized, and which of the ways can be taken back to float."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.graph.operators import CONVERSIONS, RUNTIME_QUANTIZATION

__all__ = ["Style", "quantized_style", "refuse_other_styles"]

Style = Literal["qdq", "qoperator", "dynamic"]
_DYNAMIC = RUNTIME_QUANTIZATION | {"MatMulIntegerToFloat", "DynamicQuantizeLSTM", "MatMulNBits", "QAttention"}


def quantized_style(model: ir.Model) -> Style | None:
    """``qdq``, ``qoperator`` or ``dynamic``; None for a float model."""
    kinds = {n.op_type for n in model.graph}
    if kinds & _DYNAMIC:
        return "dynamic"
    if any(_is_qoperator(kind) for kind in kinds):
        return "qoperator"
    return "qdq" if kinds & CONVERSIONS else None


def _is_qoperator(kind: str) -> bool:
    return kind.startswith("QLinear") or kind == "QGemm"


def refuse_other_styles(model: ir.Model, place: object) -> None:
    """Raise SourceError, with the way out, for models whose activations are quantized as they run."""
    style = quantized_style(model)
    kinds = sorted({n.op_type for n in model.graph if n.op_type in _DYNAMIC})
    if style == "dynamic":
        raise SourceError(
            "the model is quantized dynamically: its activations have no grids until it runs",
            place=place, limit="QuantizeLinear and DequantizeLinear around float operators (QDQ), or a float model",
            found=", ".join(kinds), remedy="convert the float model it was made from: `n6convert FLOAT.onnx`",
        )  # fmt: skip
