"""The recipe's ``quantization`` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QuantizationConfig"]


class QuantizationConfig(BaseModel):
    """How ranges, grids and weights are chosen. Every operator becomes INT8; there is no float fallback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranges: Literal["minmax", "moving-average", "percentile", "entropy", "mse", "auto"] = Field(
        "minmax", description="how activation ranges are found"
    )
    percentile: float = Field(99.999, gt=50, le=100, description="for `percentile`: share of values inside the range")
