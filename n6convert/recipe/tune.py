"""The recipe's ``tune`` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["TuneConfig"]


class TuneConfig(BaseModel):
    """Training of the INT8 model against the float model on the calibration samples. Off unless ``enabled``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    enabled: bool = Field(default=False, description="train after quantization; needs n6convert[tune]")
    steps: int = Field(default=750, ge=0, description="steps of training")
    batch: int = Field(default=16, ge=1, description="samples of one step")
    weight_rate: float = Field(
        default=0.03, ge=0, le=10, description="steps of its grid that a weight of eight bits moves, about; 0: weights "
        "keep the codes that the quantizer chose"
    )  # fmt: skip
    narrow_rate: float = Field(
        default=0.0, ge=0, le=10, description="the same of a weight of four bits, whose steps are 16 times as large; "
        "0: these keep their codes, and the rest of the network learns to live with them"
    )  # fmt: skip
    bias_rate: float = Field(
        default=0.005, ge=0, le=10, description="steps of its layer's output grid that a bias moves, about"
    )
    scale_rate: float = Field(
        default=0.001, ge=0, le=0.5, description="share by which a scale of activations moves, about"
    )
    channel_rate: float = Field(
        default=0.0, ge=0, le=0.5, description="share by which the scale of a weight's channel moves, about"
    )
    feature_weight: float = Field(
        default=0.0, ge=0, description="weight of the errors inside, where paths join, beside those of the outputs"
    )
    task_weight: float = Field(
        default=0.0, ge=0, description="weight of the plugin's training loss on labeled samples; 0: no labels are read"
    )
    augment: bool = Field(default=True, description="vary samples where the plugin knows how")
    time_budget: float | None = Field(
        default=600.0, gt=0, description="seconds of training; null: no limit. Whether it ends a run depends on the "
        "machine"
    )  # fmt: skip
    patience: int = Field(default=7, ge=1, description="judgements, of 8, without progress after which training ends")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where torch computes")
