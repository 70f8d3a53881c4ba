"""What changed between two runs: choices, placement, time, memory, accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Change", "differences"]

#: facts that are compared as numbers: what a reader sees, where it lies in the report, unit
_NUMBERS = (
    ("predicted time", ("latency", "milliseconds"), "ms"),
    ("epochs", ("placement", "after", "epochs", "total"), ""),
    ("epochs on the CPU", ("placement", "after", "epochs", "sw"), ""),
    ("hybrid epochs", ("placement", "after", "epochs", "hybrid"), ""),
    ("offload", ("placement", "after", "offload"), ""),
    ("activations", ("memory", "activations"), "bytes"),
    ("weights", ("memory", "weights"), "bytes"),
    ("float score", ("accuracy", "float"), ""),
    ("INT8 score", ("accuracy", "int8"), ""),
    ("drop", ("accuracy", "drop"), "points"),
)


@dataclass(frozen=True)
class Change:
    """One difference; ``before`` or ``after`` is None where a run does not have the fact."""

    what: str
    before: Any
    after: Any
    unit: str = ""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every fact in which two reports differ: numbers first, then operators off the NPU, then recipe keys."""
    found = [
        Change(what, *pair, unit)
        for what, path, unit in _NUMBERS
        if (pair := (_at(before, path), _at(after, path)))[0] != pair[1]
    ]
    for kind in ("sw_ops", "hybrid_ops"):
        one, two = (_at(r, ("placement", "after", kind)) or {} for r in (before, after))
        where = "on the CPU" if kind == "sw_ops" else "hybrid"
        found += [
            Change(f"{op} {where}", one.get(op, 0), two.get(op, 0), "epochs")
            for op in sorted(one.keys() | two.keys())
            if one.get(op) != two.get(op)
        ]
    one, two = (dict(_flat(r.get("recipe") or {})) for r in (before, after))
    return found + [
        Change(f"recipe: {key}", one.get(key), two.get(key))
        for key in sorted(one.keys() | two.keys())
        if one.get(key) != two.get(key)
    ]


def _at(report: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
