"""Reports that somebody gives: read from a file of any origin, or made of the parts that an estimate has.

Sections may be absent, so that reports of older versions stay readable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from n6convert.errors import SourceError
from n6convert.results import Accuracy, LimitReport, Placement, Report, StageReport, WeightsReport
from n6convert.results.section import Number, Text

__all__ = ["PartialReport", "check_report"]

_MOST_EPOCHS = 20_000
_MOST_POOLS = 32
_MOST_POINTS = 4096


class _Weights(WeightsReport):
    kind: str = ""
    origin: Text
    trained: bool = False


class _Accuracy(Accuracy):
    metric: Text
    float_value: Number = Field(alias="float")
    int8: Number
    drop: Number
    untuned: Number | None = None
    interval: list[Number] | None = Field(None, min_length=2)


class _Limit(LimitReport):
    limit: Text
    allowed: Number | bool
    found: Number | bool | None


class _Stage(StageReport):
    name: Text
    seconds: Number


class PartialReport(Report):
    """A report of which sections may be absent."""

    schema_version: str = "1.0"  # type: ignore[assignment]
    n6convert: Text
    status: str = "accepted"  # type: ignore[assignment]
    model: Text
    name: Text
    target: Text
    weights: _Weights
    recipe: dict[str, Any] = Field(default_factory=dict)
    warnings: list[Text] = Field(default_factory=list)
    stages: list[_Stage] = Field(default_factory=list)  # type: ignore[assignment]
    placement: Placement | None = None
    accuracy: _Accuracy | None = None
    untuned: Number | None = None
    sqnr_db: dict[str, Number | None] = Field(default_factory=dict)
    acceptance: list[_Limit] = Field(default_factory=list)  # type: ignore[assignment]


def check_report(content: Mapping[str, Any], path: Path) -> PartialReport:
    """The report with every part of the type that readers of it expect.

    Raises:
        SourceError: a part is missing, of another type, or a number that no run gives.
    """
    try:
        report = PartialReport.model_validate(_without_empty(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(path, first["loc"], first["msg"], first["input"]) from None
    for place, found, most in _sizes(report):
        if found > most:
            raise _damaged(path, (place,), f"at most {most:,}", found)
    return report


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that older versions wrote as null are absent, and so is a placement of nothing."""
    given = {key: value for key, value in content.items() if value is not None}
    placement = given.get("placement")
    if isinstance(placement, Mapping) and placement.get("after") is None and placement.get("before") is None:
        del given["placement"]
    return given


def _sizes(report: Report) -> Iterator[tuple[str, int, int]]:
    """Numbers of things that are drawn one by one, with the most that there may be."""
    sides = [report.placement.before, report.placement.after] if report.placement else []
    epochs = [operator.epoch for side in sides if side is not None for operator in side.operators]
    buffers = report.memory.buffers if report.memory else []
    yield "placement, epochs", max(epochs, default=0), _MOST_EPOCHS
    yield "memory, epochs", max((b.last for b in buffers), default=0), _MOST_EPOCHS
    yield "memory.pools", len(report.memory.pools) if report.memory else 0, _MOST_POOLS
    shapes = [tensor.histogram for tensor in report.quantization.worst]
    yield "quantization.worst", max((len(s.counts) for s in shapes if s is not None), default=0), _MOST_POINTS
    curve = report.quantization.four_bits.curve if report.quantization.four_bits else []
    yield "quantization.four_bits.curve", len(curve), _MOST_POINTS


def _damaged(path: Path, place: tuple[int | str, ...], limit: str, found: object) -> SourceError:
    return SourceError(
        "the report is damaged: a part is missing or of another type",
        place=f"{path}, {'.'.join(str(part) for part in place)}",
        limit=limit,
        found=repr(found)[:200],
        remedy="convert again; finished stages come from the cache",
    )
