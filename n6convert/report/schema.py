"""What pages, ``diff`` and ``fit`` read of a ``report.json``, checked: the file may come from anybody.

Only what is read is checked, and sections may be absent, so that reports of older versions stay readable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from n6convert.errors import SourceError

__all__ = ["PLACES", "check_report"]

#: where an operator runs, and how a reader sees it
PLACES = {"hw": "NPU", "hybrid": "CPU and NPU", "sw": "CPU", "none": "no work"}
_LARGEST = 1 << 53
_MOST_EPOCHS = 20_000
_MOST_POOLS = 32

Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
Count = Annotated[int, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
Epoch = Annotated[int, Field(strict=True, ge=-1, le=_MOST_EPOCHS)]
Text = Annotated[str, Field(strict=True)]
Place = Annotated[
    Literal["hw", "hybrid", "sw", "none"],
    BeforeValidator(lambda value: value if isinstance(value, str) and value in PLACES else "none"),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Weights(_Part):
    origin: Text


class _LongEpoch(_Part):
    epoch: Epoch
    operators: Text
    bound: Text
    milliseconds: Number
    share: Number
    lever: Text | None = None
    gain: Number = 0.0


class _Lever(_Part):
    name: Text
    gain: Number
    how: Text


class _Bottlenecks(_Part):
    milliseconds: dict[str, Number] = {}
    longest: list[_LongEpoch] = []
    levers: list[_Lever] = []


class _Latency(_Part):
    milliseconds: Number
    low: Number = 0.0
    high: Number = 0.0
    assumptions: list[Text] = []
    bottlenecks: _Bottlenecks | None = None


class _Operator(_Part):
    name: Text
    op: Text
    where: Place
    epoch: Epoch
    microseconds: Number | None = None
    reason: Text


class _Epochs(_Part):
    total: Count
    hw: Count
    hybrid: Count
    sw: Count


class _Side(_Part):
    epochs: _Epochs
    offload: Number
    operators: list[_Operator] = []
    sw_ops: dict[str, Count] = {}
    hybrid_ops: dict[str, Count] = {}
    latency: _Latency | None = None


class _Placement(_Part):
    before: _Side | None = None
    after: _Side | None = None


class _Pool(_Part):
    name: Text
    size: Count
    used: Count
    activations: Count


class _Buffer(_Part):
    name: Text
    bytes: Count
    first: Epoch
    last: Epoch
    pool: Text | None = None


class _Memory(_Part):
    pools: Annotated[list[_Pool], Field(max_length=_MOST_POOLS)]
    weights: Count
    activations: Count
    fits: bool
    missing: Count = 0
    external: Count = 0
    peak: Count = 0
    peak_epoch: Count | None = None
    buffers: list[_Buffer] = []


class _Advice(_Part):
    op: Text
    epochs: Count
    microseconds: Number
    gain_microseconds: Number
    remedy: Text | None = None
    rewrite: Text | None = None


class _Applied(_Part):
    rule: Text
    times: Count
    gain_ms: Number | None = None
    where: list[Text] = []
    because: list[Text] = []


class _Refused(_Part):
    rule: Text
    where: Text
    why: Text


class _Rewrites(_Part):
    applied: list[_Applied] = []
    refused: list[_Refused] = []


class _Accuracy(_Part):
    metric: Text
    float_value: Number = Field(alias="float")
    int8: Number
    drop: Number
    untuned: Number | None = None
    samples: Count
    interval: Annotated[list[Number], Field(min_length=2)] | None = None

    model_config = ConfigDict(extra="allow", serialize_by_alias=True)


class _Histogram(_Part):
    counts: Annotated[list[Number], Field(max_length=4096)]
    low: Number
    high: Number


class _Tensor(_Part):
    name: Text
    sqnr_db: Number
    scale: Number = 0.0
    zero_point: Count = 0
    cause: Text | None = None
    remedy: Text | None = None
    histogram: _Histogram | None = None


class _Method(_Part):
    method: Text
    kept: bool


class _Point(_Part):
    layers: Count
    weight_bytes: Number
    milliseconds: Number | None = None
    closeness_db: Number


class _FourBits(_Part):
    layers: list[Text] = []
    of: Count = 0
    bytes_saved: Number = 0.0
    curve: Annotated[list[_Point], Field(max_length=4096)] = []


class _Quantization(_Part):
    worst: list[_Tensor] = []
    methods: list[_Method] = []
    ranges: dict[str, Count] = {}
    four_bits: _FourBits | None = None


class _Judged(_Part):
    step: Count
    closeness_db: Number
    phase: Text = ""


class _Figures(_Part):
    closeness_db: Number
    sqnr_db: Number


class _Tuning(_Part):
    kept: bool
    before: _Figures
    after: _Figures
    steps: Count
    seconds: Number
    curve: Annotated[list[_Judged], Field(max_length=4096)] = []


class _Calibration(_Part):
    source: Text | None = None
    calibration: list[Any] = []
    held_back: list[Any] = []


class _Port(_Part):
    name: Text
    shape: list[Count]


class _StageFacts(_Part):
    inputs: list[_Port] = []
    outputs: list[_Port] = []


class _Stage(_Part):
    name: Text
    seconds: Number
    cached: bool
    facts: _StageFacts | None = None


class _Limit(_Part):
    limit: Text
    allowed: Number | bool
    found: Number | bool | None
    kept: bool


class _File(_Part):
    path: Text
    sha256: Text


class _Checked(_Part):
    n6convert: Text
    model: Text
    name: Text
    target: Text
    weights: _Weights
    recipe: dict[str, Any] = {}
    warnings: list[Text] = []
    stages: list[_Stage] = []
    rewrites: _Rewrites | None = None
    placement: _Placement | None = None
    memory: _Memory | None = None
    latency: _Latency | None = None
    advice: list[_Advice] = []
    accuracy: _Accuracy | None = None
    sqnr_db: dict[str, Number | None] = {}
    calibration: _Calibration | None = None
    quantization: _Quantization | None = None
    tuning: _Tuning | None = None
    created: Text | None = None
    acceptance: list[_Limit] = []
    files: list[_File] = []


def check_report(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The report with every part of the type that readers of it expect.

    Raises:
        SourceError: a part is missing, of another type, or a number that no run gives.
    """
    try:
        checked = _Checked.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SourceError(
            "the report is damaged: a part is missing or of another type",
            place=f"{path}, {'.'.join(str(part) for part in first['loc'])}",
            limit=first["msg"],
            found=repr(first["input"])[:200],
            remedy="convert again; finished stages come from the cache",
        ) from None
    return checked.model_dump(exclude_unset=True)
