"""The recipe's ``tune`` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["TuneConfig"]


class TuneConfig(BaseModel):
    """Training of the INT8 model against the float model on the calibration samples. Off unless ``enabled``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    enabled: bool = Field(default=False, description="train after quantization; needs n6convert[tune]")
    block_steps: int = Field(
        default=0, ge=0, description="steps in which every block learns to give the float model's result of its own"
    )
    steps: int = Field(default=350, ge=0, description="steps on the outputs of the whole network after that")
    batch: int = Field(default=4, ge=1, description="samples of one step")
    bias_rate: float = Field(
        default=0.01, ge=0, le=10, description="steps of its layer's output grid that a bias moves at most"
    )
    scale_rate: float = Field(
        default=0.001, ge=0, le=0.5, description="share by which a scale of activations or of a weight's channel moves "
        "at most"
    )  # fmt: skip
    weight_rate: float = Field(
        default=0.0, ge=0, le=10, description="steps of its grid that a weight moves at most; 0: weights keep the "
        "codes that the quantizer chose, which some hundreds of samples do not better"
    )  # fmt: skip
    rounding_rate: float = Field(
        default=0.05, ge=0, le=1, description="steps of its grid that a weight moves at most towards the next code "
        "while blocks learn; 0: weights keep their codes there"
    )  # fmt: skip
    feature_weight: float = Field(
        default=1.0, ge=0, description="weight of the blocks' own errors beside those of the outputs"
    )
    task_weight: float = Field(
        default=0.0, ge=0, description="weight of the plugin's training loss on labeled samples; 0: no labels are read"
    )
    augment: bool = Field(default=True, description="vary samples where the plugin knows how")
    time_budget: float | None = Field(
        default=600.0, gt=0, description="seconds of training; null: no limit. Whether it ends a run depends on the "
        "machine"
    )  # fmt: skip
    patience: int = Field(default=5, ge=1, description="judgements without progress after which training ends")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where torch computes")
