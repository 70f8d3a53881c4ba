"""The recipe's ``quantization`` section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Bias", "Effort", "Off", "QuantizationConfig", "Weights"]

RangeMethod = Literal["minmax", "moving-average", "percentile", "entropy", "mse", "auto"]
Bias = Literal["sequential", "means", "analytic", "off"]
Effort = Literal["fast", "default", "thorough"]
Weights = Literal["int8", "int4", "mixed"]


def _from_bool(value: Any) -> Any:
    """``true`` and ``false`` (YAML reads a bare ``off`` as the latter) stand for `sequential` and `off`."""
    return {True: "sequential", False: "off"}[value] if isinstance(value, bool) else value


@dataclass(frozen=True, slots=True)
class Off:
    """Marks a key that asks for an accuracy method, with its value that does not."""

    value: Any


class QuantizationConfig(BaseModel):
    """How ranges, grids and weights are chosen. Every operator becomes INT8; there is no float fallback."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    effort: Effort = Field(
        default="default",
        description="how much is tried for accuracy: `fast` only chooses ranges, and forms that work for norms that "
        "massive activations spoil; `thorough` tries every method on all samples instead of first on some",
    )
    ranges: RangeMethod = Field(default="mse", description="how activation ranges are found")
    ranges_file: str | None = Field(default=None, description="ranges.json of an earlier run, instead of calibration")
    percentile: float = Field(
        default=99.999, gt=50, le=100, description="for `percentile`: share of values inside the range"
    )
    equalization: Annotated[bool, Off(False)] = Field(
        default=True, description="even out channels where that is exact in float"
    )
    equalization_strength: float | None = Field(
        default=None, gt=0, le=1, description="1: channels become equally large; null: as far as the least noise asks"
    )
    split_products: Annotated[bool, Off(False)] = Field(
        default=False,
        description="attention sums in two parts where int8 rounds their products coarsely; costs time on the NPU",
    )
    normalize_attention: bool = Field(
        default=True, description="weights of attention are normalized where int8 cannot hold the sums they divide by"
    )
    unseen_values: Annotated[bool, Off(False)] = Field(
        default=True, description="ranges `mse` and `auto` hold what other samples will reach, where that is no worse"
    )
    bias_correction: Annotated[Bias, Off("off"), BeforeValidator(_from_bool, json_schema_input_type=Bias | bool)] = (
        Field(
            default="sequential",
            description="bring channel means back to float: layer after layer on samples (or `means`, where that "
            "promises little); what rounded weights shift, by the `means` of what layers read on samples, or "
            "`analytic` without data, from the BatchNormalizations of the model; true: `sequential`",
        )
    )
    rounding: Annotated[Literal["nearest", "second-order"], Off("nearest")] = Field(
        default="second-order", description="how weights are rounded; `second-order` lets errors cancel on real inputs"
    )
    weights: Weights = Field(
        default="int8",
        description="bits of weights: `int4` for all of some size, `mixed` for those that save most time or flash per "
        "loss; cores from 3.0 on",
    )
    weights_loss_db: float = Field(
        default=1.0, ge=0, description="closeness to float in dB that `mixed` may cost where no other goal is set"
    )
    merge_convolutions: Annotated[bool, Off(False)] = Field(
        default=True,
        description="two convolutions with nothing between them as one, where that is predicted hardly slower and as "
        "accurate",
    )
    zero_points: Literal["speed", "balanced", "accuracy"] = Field(
        default="accuracy",
        description="zero points -128 and 0 at convolution inputs, 0 at summed products, save cycles and may cost "
        "accuracy",
    )
    refine_samples: int = Field(default=64, ge=1, description="calibration samples that refine the layers, at most")
    time_budget: float | None = Field(
        default=None,
        gt=0,
        description="seconds for the methods after ranges and nearest rounding; what they do not reach stays as it "
        "is; null: no limit",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=999,
        description="threads inside operators; null: N6CONVERT_THREADS, OMP_NUM_THREADS, all cores",
    )

    @classmethod
    def off(cls) -> Mapping[str, Any]:
        """The keys that ask for accuracy methods, each with the value that asks for none."""
        marked = {
            name: mark for name, key in cls.model_fields.items() for mark in key.metadata if isinstance(mark, Off)
        }
        return {name: mark.value for name, mark in marked.items()}

    def asks(self, key: str) -> bool:
        """Whether a key asks for its accuracy method."""
        return bool(getattr(self, key) != self.off()[key])
