"""``network.csv`` (``--csv-file``): traffic and cycles of every epoch as a table ([#files])."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from n6convert.errors import SourceError
from n6convert.npu.st.facts import PoolAccess
from n6convert.npu.st.text import read_lines

__all__ = ["CsvEpoch", "NetworkCsv", "read_network_csv"]

_COLUMN = re.compile(r"^(.*?)\s*\(([^()]*)\)$")
_TOTALS = {"Total cycles": "total_cycles", "Total ideal cycles": "ideal_cycles", "Total OPS": "operations"}


@dataclass(frozen=True, slots=True)
class CsvEpoch:
    """One row: epoch number, bytes and cycles by pool, operations, compute cycles and max cycles."""

    id: int
    pools: Mapping[str, PoolAccess]
    operations: int
    compute_cycles: int
    max_cycles: int


@dataclass(slots=True)
class NetworkCsv:
    """The table and its footer; totals are None when the footer lacks them."""

    epochs: list[CsvEpoch] = field(default_factory=list)
    total_cycles: int | None = None
    ideal_cycles: int | None = None
    operations: int | None = None


def read_network_csv(path: str | Path) -> NetworkCsv:
    """Parse the csv that atonn writes with ``--csv-file``.

    Raises:
        SourceError: another csv, a row of the wrong length, or no footer (truncated).
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(read_lines(path)) if any(map(str.strip, row))]
    if not rows or rows[0][0] != "epochs" or not any(cell.startswith("max (cycles)") for cell in rows[0]):
        raise SourceError(
            "this csv is not a network.csv of atonn", place=path, limit="a header 'epochs, ... max (cycles)'"
        )
    header, result = rows[0], NetworkCsv()
    for number, row in enumerate(rows[1:], start=2):
        if row[0].isdigit():
            result.epochs.append(_row(header, row, f"{path}, row {number}"))
        elif row[0] in _TOTALS and len(row) > 1:
            setattr(result, _TOTALS[row[0]], _integer(row[1], f"{path}, row {number}"))
    if result.total_cycles is None:
        raise SourceError("the csv has no line 'Total cycles'", place=path, remedy="it is truncated: copy it again")
    return result


def _row(header: list[str], row: list[str], place: str) -> CsvEpoch:
    if len(row) < len(header) - 1:
        raise SourceError("a row is cut off", place=place, limit=f"{len(header)} columns", found=len(row))
    traffic: dict[str, dict[str, int]] = {}
    plain: dict[str, int] = {}
    for name, cell in zip(header, row, strict=False):
        match = _COLUMN.match(name)
        if match and match.group(2) in {"r", "w", "r cycles", "w cycles"} and not name.startswith("bus port"):
            traffic.setdefault(match.group(1), {})[match.group(2)] = _integer(cell, place)
        elif name in {"epoch OPS", "epoch compute (cyles)", "epoch compute (cycles)", "max (cycles)"}:
            plain[name.replace("cyles", "cycles")] = _integer(cell, place)
    pools = {name: _access(columns) for name, columns in traffic.items() if columns.get("r") or columns.get("w")}
    return CsvEpoch(
        int(row[0]), pools, plain.get("epoch OPS", 0), plain.get("epoch compute (cycles)", 0), plain["max (cycles)"]
    )


def _access(columns: Mapping[str, int]) -> PoolAccess:
    return PoolAccess(*(columns.get(name, 0) for name in ("r", "w", "r cycles", "w cycles")))


def _integer(cell: str, place: str) -> int:
    try:
        return round(float(cell or 0))
    except (ValueError, OverflowError):
        raise SourceError("a cell is not a number", place=place, found=cell[:40]) from None
