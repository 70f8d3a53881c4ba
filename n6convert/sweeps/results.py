"""What a sweep keeps of every point: one JSON file each, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from n6convert.cache import write_atomically
from n6convert.hashing import jsonable, read_sealed, sealed

__all__ = ["PointResult", "load_results", "pareto", "save_result", "summarise"]


@dataclass(frozen=True)
class PointResult:
    """One converted (or failed) point.

    Attributes:
        milliseconds, low, high: predicted time.
        activations, weights: predicted bytes.
        score, float_score, metric: measured accuracy of INT8 and float; None without labels.
        sqnr_db: least SQNR of the outputs, when there is no metric.
        error: the message of a point that failed; everything else is None then.
    """

    key: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    milliseconds: float | None = None
    low: float | None = None
    high: float | None = None
    activations: int | None = None
    weights: int | None = None
    offload: float | None = None
    metric: str | None = None
    score: float | None = None
    float_score: float | None = None
    sqnr_db: float | None = None
    folder: str | None = None
    error: str | None = None

    @property
    def quality(self) -> float | None:
        """The number to plot: the task's metric, else SQNR."""
        return self.score if self.score is not None else self.sqnr_db


def summarise(key: str, label: str, settings: Mapping[str, Any], folder: str, report: Mapping[str, Any]) -> PointResult:
    """The numbers of a point from its ``report.json``.

    Args:
        key: of the point.
        label: what varies, in words.
        settings: by dotted key.
        folder: of the point's run.
        report: content of its ``report.json``.
    """
    latency, memory = report.get("latency") or {}, report.get("memory") or {}
    accuracy = report.get("accuracy") or {}
    after = (report.get("placement") or {}).get("after") or {}
    return PointResult(
        key,
        label,
        settings,
        milliseconds=latency.get("milliseconds"),
        low=latency.get("low"),
        high=latency.get("high"),
        activations=memory.get("activations"),
        weights=memory.get("weights"),
        offload=after.get("offload"),
        metric=accuracy.get("metric"),
        score=accuracy.get("int8"),
        float_score=accuracy.get("float"),
        sqnr_db=_least_sqnr(report.get("sqnr_db") or {}),
        folder=folder,
    )


def save_result(folder: Path, result: PointResult) -> None:
    """Write ``<folder>/<key>.json`` atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_atomically(folder / f"{result.key}.json", sealed(jsonable(asdict(result))))


def load_results(folder: Path, keys: Sequence[str]) -> dict[str, PointResult]:
    """Finished points of an earlier run; files that cannot be read count as not finished."""
    found: dict[str, PointResult] = {}
    for key in keys:
        content = read_sealed(folder / f"{key}.json")
        with suppress(TypeError):
            found |= {key: PointResult(**content)} if content is not None else {}
    return found


def pareto(results: Sequence[PointResult]) -> list[PointResult]:
    """Points that no other point beats in both quality (higher) and predicted time (lower)."""
    judged = [r for r in results if r.quality is not None and r.milliseconds is not None]
    return [r for r in judged if not any(_beats(other, r) for other in judged)]


def _beats(a: PointResult, b: PointResult) -> bool:
    one, two = (a.quality or 0.0, -(a.milliseconds or 0.0)), (b.quality or 0.0, -(b.milliseconds or 0.0))
    return one[0] >= two[0] and one[1] >= two[1] and one != two


def _least_sqnr(values: Mapping[str, float | None]) -> float | None:
    return min((v for v in values.values() if v is not None), default=None)
