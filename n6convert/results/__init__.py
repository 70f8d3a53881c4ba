"""What a conversion returns and writes: the typed report behind ``report.json``, and the result in Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from n6convert.lazy import late
from n6convert.results.manifest import Manifest
from n6convert.results.sections import (
    Advice,
    Calibration,
    Cycles,
    Latency,
    LintFinding,
    Memory,
    Quantization,
    Rewrites,
    Side,
    StageFacts,
)
from n6convert.results.tuned import Tuning

__all__ = [
    "REPORT_SCHEMA_VERSION",
    "Accuracy",
    "ConversionResult",
    "FileEntry",
    "LimitReport",
    "Placement",
    "Report",
    "StageReport",
    "report_schema",
]

_summary, _cell = late("n6convert.report.summary.summary_text"), late("n6convert.report.notebook.cell")

#: the first number changes when a reader of older reports would misread a newer one
REPORT_SCHEMA_VERSION = "1.0"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class WeightsReport(_Part):
    """Where the numbers came from."""

    kind: str = Field(description="`pretrained`, `file` or `seeded`")
    origin: str = Field(description="URL, hub id with revision, path, or `seeded(seed)`")
    sha256: str | None = None
    trained: bool = Field(description="false: placement, memory and time mean something, answers do not")
    license: str | None = None
    trust: str = Field("", description="on whose word downloaded weights are the right ones")


class StageReport(_Part):
    """One stage as it went."""

    name: str
    seconds: float = Field(description="what the result took to make, also when it came from the cache")
    cached: bool
    facts: StageFacts = Field(default_factory=StageFacts)


class Placement(_Part):
    """Predicted placement of the quantized graph; each side as the predictor gives it."""

    before: Side | None = Field(None, description="without rewrites")
    after: Side


class Accuracy(_Part):
    """Float against INT8 on the task's own metric, on samples that calibration did not see."""

    metric: str
    unit: str = ""
    float_value: float = Field(alias="float", description="in points (AP 0.37 is 37), or the error itself")
    int8: float = Field(description="INT8 model, likewise")
    drop: float = Field(description="points lost to INT8; positive is worse")
    untuned: float | None = Field(None, description="the INT8 model before tuning, where it was tuned")
    samples: int
    interval: list[float] | None = Field(None, description="95 % bootstrap interval of the drop, in points")
    details: dict[str, Any] = Field(default_factory=dict)

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class LimitReport(_Part):
    """One limit of the recipe's ``acceptance``."""

    limit: str
    allowed: float | bool
    found: float | bool | None
    kept: bool


class FileEntry(_Part):
    """A published file."""

    path: str
    sha256: str


class Report(_Part):
    """Everything a conversion found out; the content of ``report.json``."""

    schema_version: Literal["1.0"] = "1.0"
    n6convert: str = Field(description="version of n6convert")
    made: str = Field("", description="when, in UTC; `SOURCE_DATE_EPOCH` sets it")
    status: Literal["accepted", "rejected"]
    model: str
    name: str = Field(description="what files are called; ends in `-untrained` for seeded weights")
    target: str
    weights: WeightsReport
    recipe: dict[str, Any] = Field(description="the full effective recipe")
    warnings: list[str] = Field(default_factory=list)
    stages: list[StageReport]
    calibration: Calibration = Field(default_factory=Calibration, description="source, and hash of each sample by use")
    rewrites: Rewrites = Field(default_factory=Rewrites, description="rules applied and refused, with reasons")
    placement: Placement | None = None
    memory: Memory | None = None
    cycles: Cycles | None = None
    latency: Latency | None = None
    advice: list[Advice] = Field(default_factory=list, description="what would bring operators to the NPU")
    lint: list[LintFinding] = Field(default_factory=list)
    accuracy: Accuracy | None = None
    sqnr_db: dict[str, float | None] = Field(
        default_factory=dict, description="of each output against float on held-back samples; null: no difference"
    )
    quantization: Quantization = Field(default_factory=Quantization)
    tuning: Tuning = Field(
        default_factory=Tuning, description="what training brought: closeness and SQNR before and after, and the curve"
    )
    acceptance: list[LimitReport] = Field(default_factory=list)
    files: list[FileEntry] = Field(default_factory=list)

    @property
    def latency_before(self) -> Latency | None:
        """Predicted time without rewrites."""
        before = self.placement.before if self.placement else None
        return before.latency if before else None

    @property
    def exported(self) -> StageFacts:
        """What the export stage says of the model: its inputs and outputs."""
        return next((stage.facts for stage in self.stages if stage.name == "export"), StageFacts())

    def to_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return self.model_dump(mode="json", by_alias=True)

    def metrics(self) -> dict[str, float]:
        """The numbers of the run by name, flat, as experiment trackers log them."""
        found: dict[str, float] = {}
        if self.accuracy:
            found |= {"float": self.accuracy.float_value, "int8": self.accuracy.int8, "drop": self.accuracy.drop}
        found |= {f"sqnr_db.{name}": value for name, value in self.sqnr_db.items() if value is not None}
        if self.latency:
            found["milliseconds"] = float(self.latency.milliseconds)
        if self.memory:
            found |= {"weights_bytes": float(self.memory.weights), "activations_bytes": float(self.memory.activations)}
        if self.placement:
            found["offload"] = float(self.placement.after.offload)
        return found

    def summary(self) -> str:
        """The run in a few lines."""
        return str(_summary(self))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics().items())
        return f"Report({self.name!r}, {self.target!r}, {self.status}, {numbers})"

    def _repr_html_(self) -> str:
        return str(_cell(self))


@dataclass(frozen=True)
class ConversionResult:
    """A finished, accepted conversion.

    Attributes:
        folder: the package for ST Edge AI.
        model_path: the INT8 QDQ ONNX file in it.
        report: content of ``report.json``.
        manifest: content of ``manifest.json``.
    """

    folder: Path
    model_path: Path
    report: Report
    manifest: Manifest

    @property
    def accuracy(self) -> Accuracy | None:
        """Float against INT8 on labeled samples; None when none were given."""
        return self.report.accuracy

    @property
    def warnings(self) -> list[str]:
        """What the user should know besides the figures."""
        return self.report.warnings

    def to_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return self.report.to_dict()

    def summary(self) -> str:
        """The run in a few lines."""
        return f"{self.report.summary()}\nresult  {self.model_path}"

    def __repr__(self) -> str:
        return f"ConversionResult({str(self.model_path)!r}, {self.report!r})"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def report_schema() -> dict[str, Any]:
    """JSON Schema of ``report.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Report.model_json_schema(by_alias=True)
