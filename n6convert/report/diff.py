"""What changed between two runs: choices, placement, time, memory, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from n6convert.results import Report

__all__ = ["Change", "differences"]

#: facts that are compared as numbers: what a reader sees, how to find it in a report, unit, what is better
_NUMBERS: tuple[tuple[str, Callable[[Report], float | None], str, str], ...] = (
    ("predicted time", lambda r: r.latency.milliseconds if r.latency else None, "ms", "lower"),
    ("epochs", lambda r: r.placement.after.epochs.total if r.placement else None, "", ""),
    ("epochs on the CPU", lambda r: r.placement.after.epochs.sw if r.placement else None, "", "lower"),
    ("hybrid epochs", lambda r: r.placement.after.epochs.hybrid if r.placement else None, "", "lower"),
    ("offload", lambda r: r.placement.after.offload if r.placement else None, "", "higher"),
    ("activations", lambda r: r.memory.activations if r.memory else None, "bytes", "lower"),
    ("outside the chip", lambda r: r.memory.external if r.memory else None, "bytes", "lower"),
    ("weights", lambda r: r.memory.weights if r.memory else None, "bytes", "lower"),
    ("float score", lambda r: r.accuracy.float_value if r.accuracy else None, "", ""),
    ("INT8 score", lambda r: r.accuracy.int8 if r.accuracy else None, "", ""),
    ("drop", lambda r: r.accuracy.drop if r.accuracy else None, "points", "lower"),
    ("least SQNR", lambda r: min((v for v in r.sqnr_db.values() if v is not None), default=None), "dB", "higher"),
)


#: units of numbers that are differences or ratios already
_DIFFERENCES = ("points", "dB")


@dataclass(frozen=True)
class Change:
    """One difference; ``before`` or ``after`` is None where a run does not have the fact."""

    what: str
    before: Any
    after: Any
    unit: str = ""
    better: str = ""
    """``higher`` or ``lower`` where one of them is better."""

    @property
    def percent(self) -> float | None:
        """By how much a number changed; None where that says nothing."""
        if self.unit in _DIFFERENCES or not _number(self.before) or not _number(self.after) or not self.before:
            return None
        return float(100 * (self.after - self.before) / abs(self.before))

    @property
    def verdict(self) -> str:
        """``better`` or ``worse``; empty where neither is known."""
        if not self.better or not _number(self.before) or not _number(self.after):
            return ""
        return "better" if (self.after > self.before) == (self.better == "higher") else "worse"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences(before: Report, after: Report) -> list[Change]:
    """Every fact in which two reports differ: numbers first, then operators off the NPU, then recipe keys."""
    found = [
        Change(what, *pair, unit, better)
        for what, find, unit, better in _NUMBERS
        if (pair := (find(before), find(after)))[0] != pair[1]
    ]
    for where, count in (("on the CPU", _software), ("hybrid", _hybrid)):
        one, two = count(before), count(after)
        found += [
            Change(f"{op} {where}", one.get(op, 0), two.get(op, 0), "epochs", "lower")
            for op in sorted(one.keys() | two.keys())
            if one.get(op) != two.get(op)
        ]
    one, two = (dict(_flat(r.recipe)) for r in (before, after))
    return found + [
        Change(f"recipe: {key}", one.get(key), two.get(key))
        for key in sorted(one.keys() | two.keys())
        if one.get(key) != two.get(key)
    ]


def _software(report: Report) -> Mapping[str, int]:
    return report.placement.after.sw_ops if report.placement else {}


def _hybrid(report: Report) -> Mapping[str, int]:
    return report.placement.after.hybrid_ops if report.placement else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
