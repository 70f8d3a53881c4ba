"""The recipe's ``quantization`` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QuantizationConfig"]

RangeMethod = Literal["minmax", "moving-average", "percentile", "entropy", "mse", "auto"]


class QuantizationConfig(BaseModel):
    """How ranges, grids and weights are chosen. Every operator becomes INT8; there is no float fallback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranges: RangeMethod = Field(default="minmax", description="how activation ranges are found")
    percentile: float = Field(
        default=99.999, gt=50, le=100, description="for `percentile`: share of values inside the range"
    )
    threads: int | None = Field(default=None, ge=1, description="threads inside operators; null: all cores")
