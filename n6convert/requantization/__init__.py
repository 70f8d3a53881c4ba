"""Networks that somebody already quantized: back to float, with their grids noted, so that they survive rewrites."""

from __future__ import annotations

from n6convert.requantization.dequantize import Given, dequantize
from n6convert.requantization.ends import with_float_ends
from n6convert.requantization.grids import carry, collect_grids, mark_grids, noted_grids
from n6convert.requantization.qoperator import as_qdq
from n6convert.requantization.style import quantized_style, refuse_other_styles

__all__ = [
    "Given",
    "as_qdq",
    "carry",
    "collect_grids",
    "dequantize",
    "mark_grids",
    "noted_grids",
    "quantized_style",
    "refuse_other_styles",
    "with_float_ends",
]
