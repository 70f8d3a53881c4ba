"""Where the predicted time goes, for the page: shares by bound, the longest epochs, and what would change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from n6convert.report.svg import Row, bars
from n6convert.results.sections import Latency, LongEpoch

__all__ = ["BOUND_WORDS", "LeverRow", "LongestRow", "TimeView", "time_spent"]

BOUND_WORDS = {
    "compute": "computing units of the NPU",
    "flash": "weights from flash",
    "memory": "activations on the chip",
    "external": "activations in external RAM",
    "software": "software on the CPU",
    "hybrid": "CPU and NPU together",
    "overhead": "starts of epochs",
}
_COLORS = {"software": "sw", "hybrid": "hybrid", "external": "sw", "overhead": "none"}


@dataclass(frozen=True, slots=True)
class LongestRow:
    """Long epochs that say the same, in words."""

    operators: str
    epochs: Sequence[int]
    milliseconds: str
    share: str
    bound: str
    lever: str


@dataclass(frozen=True, slots=True)
class LeverRow:
    """Something that would change the time, and by how many milliseconds."""

    name: str
    gain: str
    how: str


@dataclass(frozen=True, slots=True)
class TimeView:
    """The section of the page: a drawing by what the time waits for, and the rows of both tables."""

    bars: str
    longest: Sequence[LongestRow]
    levers: Sequence[LeverRow]


def time_spent(latency: Latency | None) -> TimeView | None:
    """Values of the section; None for a report that does not know."""
    known = latency.bottlenecks if latency else None
    if known is None or not known.milliseconds:
        return None
    total = sum(known.milliseconds.values()) or 1.0
    ranked = sorted(known.milliseconds.items(), key=lambda item: -item[1])
    rows = [
        Row(BOUND_WORDS.get(name, name), value, f"{value:.2f} ms, {value / total:.0%}", _COLORS.get(name, "hw"))
        for name, value in ranked
    ]
    return TimeView(
        bars=bars(rows, "Predicted time by what it waits for"),
        longest=[_long(alike) for alike in _grouped(known.longest)],
        levers=[LeverRow(lever.name, f"{lever.gain:.2f}", lever.how) for lever in known.levers],
    )


def _grouped(epochs: Sequence[LongEpoch]) -> list[list[LongEpoch]]:
    """Epochs that say the same stand in one row; the longest rows first."""
    groups: dict[tuple[str, ...], list[LongEpoch]] = {}
    for epoch in epochs:
        groups.setdefault((epoch.operators, epoch.bound, epoch.lever or ""), []).append(epoch)
    return sorted(groups.values(), key=lambda alike: -sum(epoch.milliseconds for epoch in alike))


def _long(alike: Sequence[LongEpoch]) -> LongestRow:
    first, gain = alike[0], sum(epoch.gain for epoch in alike)
    return LongestRow(
        operators=first.operators.replace("+", " + "),
        epochs=[epoch.epoch for epoch in alike],
        milliseconds=f"{sum(epoch.milliseconds for epoch in alike):.2f}",
        share=f"{sum(epoch.share for epoch in alike):.0%}",
        bound=BOUND_WORDS.get(first.bound, first.bound),
        lever=f"{first.lever}: {gain:.2f} ms less" if first.lever else "nothing known",
    )
