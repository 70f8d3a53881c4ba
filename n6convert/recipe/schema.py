"""The recipe: one model with all choices made, as YAML checked by pydantic.

Loading, ``extends``, and messages with lines live in :mod:`n6convert.recipe.reader`; this module is the schema alone.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from n6convert.recipe.quantization import QuantizationConfig
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.recipe.tune import TuneConfig

__all__ = ["Acceptance", "Calibration", "CompilerConfig", "Evaluation", "PackageConfig", "Recipe", "SimplifyConfig"]

BufferType = Literal["uint8", "int8", "float32"]
OLD_TYPE_KEY = "io_type"
OLD_TYPE_REMARK = "this key is old; package.input_type and package.output_type say it apart"


class Section(BaseModel):
    """A part of a recipe: unknown keys, infinities and changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Calibration(Section):
    """Where calibration samples come from."""

    source: str | None = Field(None, description="folder, COCO json, .npz, .txt/.tsv; null: the embedded samples")
    samples: int = Field(64, ge=1, description="how many samples to use at most")
    held_back: int = Field(16, ge=0, description="further samples on which methods and SQNR are judged")
    max_unreadable: float = Field(0.1, ge=0, le=1, description="share of unreadable samples that is tolerated")


class Evaluation(Section):
    """Labeled samples for the task's own metric."""

    source: str | None = Field(None, description="labeled samples: COCO json, labels csv, tsv")
    samples: int | None = Field(None, ge=1, description="how many at most; null: all")
    pictures: int = Field(4, ge=0, description="how many samples are drawn side by side in the report")


class SimplifyConfig(Section):
    """The simplify stage."""

    onnxsim: bool = Field(True, description="run onnxsim in a child process before the onnx-ir passes")
    time_limit: float = Field(300.0, gt=0, le=1e6, description="seconds after which the child process is stopped")
    tolerance: float = Field(1e-4, gt=0, description="largest allowed difference relative to the output's range")


class Acceptance(Section):
    """Limits that a run must keep; a run that breaks one publishes nothing under the final name."""

    max_drop: float | None = Field(
        None,
        ge=0,
        description="points of the task metric that INT8 may lose; once one labeled sample in four agrees, "
        "no further accuracy method is tried, and the other three judge the result",
    )
    min_sqnr_db: float | None = Field(
        None,
        description="least SQNR of any output against float, in dB; once it is reached, no further method is tried",
    )
    min_offload: float | None = Field(None, ge=0, le=1, description="least share of epochs on the NPU")
    max_milliseconds: float | None = Field(None, gt=0, description="largest predicted time")
    max_flash: int | None = Field(None, gt=0, description="largest size of the weights in bytes")
    must_fit_internal: bool = Field(False, description="activations must fit on-chip memory")


class PackageConfig(Section):
    """What the package stage writes."""

    profiles: list[str] = Field(["stm32n6570-dk", "nucleo-n657x0-q"], description="boards to write profiles for")
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$",
        description="network name and prefix of every C symbol and file; null: the model's",
    )
    input_type: BufferType = Field("uint8", description="element type of the input buffers; cameras hand over uint8")
    output_type: BufferType = Field("int8", description="element type of the output buffers")

    @model_validator(mode="before")
    @classmethod
    def _both_types(cls, data: Any) -> Any:
        """``io_type`` of older recipes is both types; what is written beside it wins."""
        if not isinstance(data, dict) or OLD_TYPE_KEY not in data:
            return data
        warnings.warn(f"package.{OLD_TYPE_KEY}: {OLD_TYPE_REMARK}", DeprecationWarning, stacklevel=2)
        rest = {key: value for key, value in data.items() if key != OLD_TYPE_KEY}
        return {"input_type": data[OLD_TYPE_KEY], "output_type": data[OLD_TYPE_KEY]} | rest


class CompilerConfig(Section):
    """How ST's compiler is called and the board is set up; null: as the target's stock profile has it."""

    epoch_controller: bool | None = Field(None, description="compile with the epoch controller; null: with it")
    pools: str | None = Field(None, description="the project's own *.mpool instead of the stock one")
    clocks: str | None = Field(None, pattern=r"^\d+/\d+$", description="MHz of CPU and NPU: 600/800")
    flash_mb_s: float | None = Field(None, gt=0, description="rate at which weights stream from flash, as measured")
    allocate_inputs: bool = Field(True, description="false: the application brings the input buffers")
    allocate_outputs: bool = Field(True, description="false: the application brings the output buffers")
    input_channels: Literal["chfirst", "chlast"] = Field(
        "chlast", description="where the application's input maps have their channels"
    )
    output_channels: Literal["chfirst", "chlast"] = Field("chlast", description="the same of the output maps")


class Recipe(Section):
    """One model with all choices made."""

    model: str = Field(description="name a plugin registers, or `onnx` for a file of your own")
    weights: str = Field("pretrained", description="`pretrained`, `seeded`, or a path")
    trust: str | None = Field(
        None,
        pattern="^sha256:[0-9a-fA-F]{64}$",
        description="`sha256:...`: the weights must have it, and published ones are taken on its word",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="the plugin's own options, e.g. imgsz")
    seed: int = Field(0, ge=0)
    target: str = Field(
        "stm32n6570-dk@4.0",
        description="board and compiler version; `+expand-softmax` leaves Softmax to the 4.0 compiler's option",
    )
    calibration: Calibration = Calibration()
    simplify: SimplifyConfig = SimplifyConfig()
    rewrite: RewriteConfig = RewriteConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    tune: TuneConfig = TuneConfig()
    evaluation: Evaluation = Evaluation()
    acceptance: Acceptance = Acceptance()
    package: PackageConfig = PackageConfig()
    compiler: CompilerConfig = CompilerConfig()
    output: str | None = Field(None, description="folder for the result; null: build/<model name>")
