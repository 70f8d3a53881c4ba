"""What changed between two runs: choices, placement, time, memory, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from n6convert.results import Report

__all__ = ["Change", "differences"]

#: facts that are compared as numbers: what a reader sees, how to find it in a report, unit
_NUMBERS: tuple[tuple[str, Callable[[Report], float | None], str], ...] = (
    ("predicted time", lambda r: r.latency.milliseconds if r.latency else None, "ms"),
    ("epochs", lambda r: r.placement.after.epochs.total if r.placement else None, ""),
    ("epochs on the CPU", lambda r: r.placement.after.epochs.sw if r.placement else None, ""),
    ("hybrid epochs", lambda r: r.placement.after.epochs.hybrid if r.placement else None, ""),
    ("offload", lambda r: r.placement.after.offload if r.placement else None, ""),
    ("activations", lambda r: r.memory.activations if r.memory else None, "bytes"),
    ("weights", lambda r: r.memory.weights if r.memory else None, "bytes"),
    ("float score", lambda r: r.accuracy.float_value if r.accuracy else None, ""),
    ("INT8 score", lambda r: r.accuracy.int8 if r.accuracy else None, ""),
    ("drop", lambda r: r.accuracy.drop if r.accuracy else None, "points"),
)


@dataclass(frozen=True)
class Change:
    """One difference; ``before`` or ``after`` is None where a run does not have the fact."""

    what: str
    before: Any
    after: Any
    unit: str = ""


def differences(before: Report, after: Report) -> list[Change]:
    """Every fact in which two reports differ: numbers first, then operators off the NPU, then recipe keys."""
    found = [
        Change(what, *pair, unit)
        for what, find, unit in _NUMBERS
        if (pair := (find(before), find(after)))[0] != pair[1]
    ]
    for where, count in (("on the CPU", _software), ("hybrid", _hybrid)):
        one, two = count(before), count(after)
        found += [
            Change(f"{op} {where}", one.get(op, 0), two.get(op, 0), "epochs")
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
