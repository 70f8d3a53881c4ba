"""The answer first: does it fit, how much runs on the NPU, how fast, how accurate."""

from __future__ import annotations

from dataclasses import dataclass

from n6convert.results import Accuracy, Placement, Report
from n6convert.results.sections import Memory

__all__ = ["Card", "cards", "notices"]


@dataclass(frozen=True)
class Card:
    """One fact in large type; ``mood`` is ``good``, ``bad`` or empty."""

    label: str
    value: str
    detail: str
    mood: str = ""


def cards(report: Report) -> list[Card]:
    """Fits, offload, predicted time and accuracy, as far as the run knows them."""
    found = [
        _fits(report.memory),
        _offload(report.placement),
        _time(report),
        _accuracy(report),
    ]
    return [card for card in found if card is not None]


def notices(report: Report) -> list[str]:
    """What a reader must know before any number: rejected, untrained, synthetic calibration, lint."""
    broken = [
        f"Not accepted: {row.limit} allows {row.allowed}, found {row.found}."
        for row in report.acceptance
        if not row.kept
    ]
    return broken + [text[:1].upper() + text[1:] + "." for text in report.warnings]


def _fits(memory: Memory | None) -> Card | None:
    if memory is None:
        return None
    size = f"{memory.activations / 1024:,.0f} KiB activations, {memory.weights / 1024:,.0f} KiB weights (predicted)"
    if not memory.fits:
        return Card("Activations", "do not fit", size, "bad")
    if memory.external:
        return Card("Activations", "need external RAM", size, "bad")
    return Card("Activations", "fit on the chip", size, "good")


def _offload(placement: Placement | None) -> Card | None:
    if placement is None:
        return None
    after, before = placement.after, placement.before
    e = after.epochs
    was = f"; {100 * before.offload:.1f} % before rewrites" if before else ""
    detail = f"{e.hw} of {e.total} epochs (predicted){was}"
    return Card("On the NPU", f"{100 * after.offload:.1f} %", detail, "good" if e.hw == e.total else "")


def _time(report: Report) -> Card | None:
    latency = report.latency
    if latency is None:
        return None
    before = report.latency_before
    was = f"; {before.milliseconds:.1f} ms before rewrites" if before else ""
    rate = f"{1000 / latency.milliseconds:,.0f} a second; " if latency.milliseconds else ""
    detail = f"{rate}predicted; likely {latency.low:.1f} to {latency.high:.1f} ms{was}"
    limit, mood = _limit(report)
    return Card("Time", f"{latency.milliseconds:.1f} ms", f"{detail}{limit}", mood)


def _limit(report: Report) -> tuple[str, str]:
    """The recipe's limit of the time, and whether it was kept."""
    for row in report.acceptance:
        if row.limit == "max_milliseconds":
            return f"; limit {row.allowed:g} ms", "good" if row.kept else "bad"
    return "", ""


#: points of loss that hardly anybody notices, and that nobody overlooks
_SMALL, _LARGE = 1.0, 3.0


def _mood(found: Accuracy) -> str:
    """Colored by the interval: good only when all of it is small, bad only when all of it is more than that."""
    low, high = found.interval or (found.drop, found.drop)
    return "good" if high <= _SMALL else "bad" if low > _SMALL or found.drop > _LARGE else ""


def _spread(found: Accuracy) -> str:
    interval = found.interval
    return f" ± {(interval[1] - interval[0]) / 2:.1f}" if interval else ""


def _needed(found: Accuracy) -> str:
    """How many samples would tell whether the loss is small: intervals shrink with the root of their number."""
    interval = found.interval
    if not interval or _mood(found) or interval[1] <= interval[0]:
        return ""
    half, room = (interval[1] - interval[0]) / 2, abs(_SMALL - found.drop)
    if room < half / 30:
        return ": too few to tell"
    return f": too few to tell; about {_rounded(found.samples * (half / room) ** 2):,} would do"


def _rounded(count: float) -> int:
    digits = max(len(str(int(count))) - 2, 0)
    return int(round(count, -digits)) or 1


def _accuracy(report: Report) -> Card | None:
    found = report.accuracy
    if found:
        detail = f"{found.metric} {found.float_value:.2f} → {found.int8:.2f}, measured on {found.samples} samples"
        digits = 1 if found.interval else 2
        value = f"{found.drop:.{digits}f}{_spread(found)} points"
        return Card("INT8 costs", value, f"{detail}{_needed(found)}", _mood(found))
    values = [v for v in report.sqnr_db.values() if v is not None]
    if not values:
        return None
    return Card(
        "INT8 against float", f"{min(values):.1f} dB", "least SQNR of the outputs, measured; no labels were given"
    )
