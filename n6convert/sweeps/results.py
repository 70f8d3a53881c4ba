"""What a sweep keeps of every point: one JSON file each, written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from n6convert.lazy import late
from n6convert.results import Report
from n6convert.store.cache import write_atomically
from n6convert.store.hashing import jsonable, read_sealed, sealed

__all__ = ["PointResult", "SweepResults", "load_results", "pareto", "save_result", "summarize"]

_cell = late("n6convert.sweeps.page.cell")
_COLUMNS = (
    "metric", "score", "float_score", "drop", "samples", "sqnr_db", "milliseconds", "low", "high", "activations",
    "weights", "offload", "folder", "error",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class PointResult:
    """One converted (or failed) point.

    Attributes:
        milliseconds, low, high: predicted time.
        activations, weights: predicted bytes.
        score, float_score, metric: measured accuracy of INT8 and float; None without labels.
        lost, interval, samples: points that INT8 loses, their 95 % interval, and the labeled samples they rest on.
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
    lost: float | None = None
    interval: Sequence[float] | None = None
    samples: int | None = None

    @property
    def quality(self) -> float | None:
        """The number to plot: the task's metric, else SQNR."""
        return self.score if self.score is not None else self.sqnr_db

    @property
    def spread(self) -> str:
        """What INT8 loses with half its 95 % interval: ``0.3 ± 1.9``; empty without labels."""
        if self.drop is None:
            return ""
        half = f" ± {(self.interval[1] - self.interval[0]) / 2:.1f}" if self.interval else ""
        return f"{self.drop:.1f}{half}"

    @property
    def drop(self) -> float | None:
        """Points of the metric that INT8 loses; None without labels."""
        if self.lost is not None:
            return self.lost
        return None if self.score is None or self.float_score is None else self.float_score - self.score

    def __repr__(self) -> str:
        if self.error is not None:
            return f"PointResult({self.label!r}, failed)"
        numbers = {"quality": self.quality, "milliseconds": self.milliseconds}
        shown = "".join(f", {name}={value:.4g}" for name, value in numbers.items() if value is not None)
        return f"PointResult({self.label!r}{shown})"


def summarize(key: str, label: str, settings: Mapping[str, Any], folder: str, report: Report) -> PointResult:
    """The numbers of a point from its report.

    Args:
        key: of the point.
        label: what varies, in words.
        settings: by dotted key.
        folder: of the point's run.
        report: of that run.
    """
    latency, memory, accuracy = report.latency, report.memory, report.accuracy
    return PointResult(
        key,
        label,
        settings,
        milliseconds=latency.milliseconds if latency else None,
        low=latency.low if latency else None,
        high=latency.high if latency else None,
        activations=memory.activations if memory else None,
        weights=memory.weights if memory else None,
        offload=report.placement.after.offload if report.placement else None,
        metric=accuracy.metric if accuracy else None,
        score=accuracy.int8 if accuracy else None,
        float_score=accuracy.float_value if accuracy else None,
        sqnr_db=_least_sqnr(report.sqnr_db),
        folder=folder,
        lost=accuracy.drop if accuracy else None,
        interval=accuracy.interval if accuracy else None,
        samples=accuracy.samples if accuracy else None,
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


class SweepResults(list[PointResult]):
    """The points of a sweep in the grid's order; short in a notebook, where they draw their page."""

    def __init__(self, points: Sequence[PointResult], name: str = "sweep") -> None:
        super().__init__(points)
        self.name = name

    @property
    def front(self) -> list[PointResult]:
        """Points that no other point beats in both quality and predicted time."""
        return pareto(self)

    def best(self, *, max_milliseconds: float | None = None, max_drop: float | None = None) -> PointResult | None:
        """The point of highest quality within limits; None where none keeps them.

        Args:
            max_milliseconds: largest predicted time.
            max_drop: points of the metric that INT8 may lose; points without labels do not keep it.
        """
        kept = [
            r
            for r in self
            if r.quality is not None
            and (max_milliseconds is None or (r.milliseconds is not None and r.milliseconds <= max_milliseconds))
            and (max_drop is None or (r.drop is not None and r.drop <= max_drop))
        ]
        return max(kept, key=lambda r: r.quality or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: every point, and the keys of those on the front."""
        return {"name": self.name, "points": [jsonable(asdict(r)) for r in self], "front": [r.key for r in self.front]}

    def to_csv(self) -> str:
        """A line per point, as spreadsheets read it: settings, then figures, then whether the front goes through it."""
        keys = list(dict.fromkeys(key for r in self for key in r.settings))
        text = StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["point", *keys, *_COLUMNS, "interval_low", "interval_high", "front"])
        front = self.front
        for r in self:
            interval = r.interval or ("", "")
            figures = [getattr(r, name) for name in _COLUMNS]
            rows.writerow([r.label, *(r.settings.get(k, "") for k in keys), *figures, *interval, int(r in front)])
        return text.getvalue()

    def summary(self) -> str:
        """A line a point; those on the front are marked."""
        front = self.front
        rows = [(f"{'*' if r in front else ' '} {r.label}", _told(r)) for r in self]
        width = max((len(label) for label, _ in rows), default=0)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def __repr__(self) -> str:
        failed = sum(r.error is not None for r in self)
        best = ", ".join(r.label for r in self.front)
        return f"SweepResults({self.name!r}, {len(self)} points, {failed} failed, front: {best or 'none'})"

    def _repr_html_(self) -> str:
        return str(_cell(self))


def _told(result: PointResult) -> str:
    if result.error is not None:
        return f"failed: {result.error.splitlines()[0]}"
    quality = f"{result.metric or 'dB'} {result.quality:.2f}" if result.quality is not None else "not judged"
    lost = f", lost {result.spread} points on {result.samples} samples" if result.samples else ""
    time = "" if result.milliseconds is None else f", {result.milliseconds:.2f} ms"
    return quality + lost + time
