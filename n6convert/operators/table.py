"""The verdict on each operator, read from ``operators.yaml``: who executes it, or that nothing takes it.

Placement makes its last rules of the rows, the linter reports them and the quantizer refuses by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from n6convert.operators.versions import Version, feature, has, holds, version_of, versions

__all__ = ["Row", "Runs", "refusal_of", "row_of", "rows", "runs"]


class Runs(StrEnum):
    """Who executes an operator, in words of ``operators.yaml``."""

    NPU = "npu"
    NOTHING = "none"
    """No work: a view, or a constant."""
    HYBRID = "hybrid"
    """Processor and DMA together."""
    INT8 = "int8"
    """The processor, in integers."""
    FLOAT = "float"
    """The processor, in float, between conversions."""
    REFUSED = "refused"
    """Nobody: the import rejects it, the tool fails, or it has no INT8 form."""
    DEPENDS = "depends"
    """Its form decides: the conditions are rules of placement."""
    UNLISTED = "unlisted"
    """In none of ST's tables: float on the processor if the import takes it at all."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the compiler does with some operators, whatever their form."""

    name: str
    runs: Runs
    operators: tuple[str, ...]
    sentence: str
    evidence: str
    remedies: Mapping[str, str]
    """What to do about an operator; those that are missing need nothing."""
    rewrite: str | None = None
    needs: str | None = None
    without: str | None = None
    since: Version | None = None
    host: bool = False
    """A float model with it is refused: neither folding nor a rewrite removes it."""
    behind: frozenset[str] = frozenset()
    """Operators that it is folded into when it stands behind them."""

    def covers(self, version: Version, switches: frozenset[str] = frozenset()) -> bool:
        """Whether a compiler with these options does so."""
        if self.needs is not None:
            switch = feature(self.needs).switch
            if not has(version, self.needs) or not (switch is None or switch in switches):
                return False
        return holds(version, needs=None, without=self.without, since=self.since)


@cache
def rows() -> tuple[Row, ...]:
    """Every row, in the order in which they are tried."""
    return tuple(_row(entry) for entry in _data()["rows"])


def row_of(op: str, version: Version, switches: frozenset[str] = frozenset()) -> Row | None:
    """The row that decides an operator where no condition does; None where no row names it.

    Args:
        op: ONNX operator.
        version: of the compiler.
        switches: of the compiler that are on.
    """
    return next((row for row in _rows_of().get(op, ()) if row.covers(version, switches)), None)


def runs(op: str, version: Version, switches: frozenset[str] = frozenset()) -> Runs:
    """The verdict on an operator of the ONNX standard for one compiler.

    Args:
        op: ONNX operator.
        version: of the compiler.
        switches: of the compiler that are on.
    """
    if any(holds(version, **wanted) for wanted in _depending().get(op, ())):
        return Runs.DEPENDS
    row = row_of(op, version, switches)
    return Runs.UNLISTED if row is None else row.runs


def refusal_of(op: str, version: Version | None = None) -> Row | None:
    """The row of an operator that the compiler does not take; None for all others.

    Args:
        op: ONNX operator.
        version: of the compiler; None: only what no version takes.
    """
    asked = versions() if version is None else (version,)
    return row_of(op, asked[-1]) if all(runs(op, v) is Runs.REFUSED for v in asked) else None


@cache
def _rows_of() -> Mapping[str, tuple[Row, ...]]:
    names = {op for row in rows() for op in row.operators}
    return {op: tuple(row for row in rows() if op in row.operators) for op in names}


@cache
def _depending() -> Mapping[str, tuple[Mapping[str, Any], ...]]:
    """Of each operator whose form decides, for which compilers it does."""
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for entry in _data()["depends"]:
        for op in entry["operators"]:
            found[op] = (*found.get(op, ()), _compilers(entry))
    return found


def _compilers(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For which compilers an entry of the file holds, as :func:`~n6convert.operators.versions.holds` takes it."""
    since = entry.get("since")
    first = None if since is None else version_of(since)
    return {"needs": entry.get("needs"), "without": entry.get("without"), "since": first}


def _row(entry: Mapping[str, Any]) -> Row:
    listed, remedy = entry["operators"], entry.get("remedy")
    given = dict(listed) if isinstance(listed, Mapping) else dict.fromkeys(listed, remedy)
    return Row(
        name=entry["name"],
        runs=Runs(entry["runs"]),
        operators=tuple(given),
        sentence=entry["says"],
        evidence=entry["evidence"],
        remedies={op: text for op, text in given.items() if text},
        rewrite=entry.get("rewrite"),
        **_compilers(entry),
        host=bool(entry.get("host", False)),
        behind=frozenset(entry.get("behind", ())),
    )


@cache
def _data() -> Mapping[str, Any]:
    from n6convert.store.yaml_text import read_own

    found: Mapping[str, Any] = read_own("n6convert.operators", "operators.yaml")
    return found
