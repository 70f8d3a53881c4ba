"""Tables of ``stedgeai validate``: time per inference and per epoch block as the board measured it ([#files])."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError
from n6convert.npu.st.facts import BoardRow, BoardTime
from n6convert.npu.st.text import read_lines

__all__ = ["parse_validate", "parse_validate_info", "read_validate"]

_DURATION = re.compile(r"^\s*duration\s+:\s+([\d.,]+) ms by sample")
_ROW = re.compile(
    r"^\s*\d+\s+\S+\s+epoch(?: \(([^)]*)\))?\s+([\d.]+)\s+[\d.]+%\s+[\d.]+%\s+"
    r"\[\s*([\d,]+)\s+([\d,]+)\s+([\d,]+)\s*\]\s+(\S.*?)\s*$"
)
_CLOCKS = {"cpu": "mcu_freq", "npu": "npu_freq", "nic": "nic_freq", "noc": "noc_freq"}
_CLOCK = re.compile(r"(mcu|npu|nic|noc)_freq=(\d+)MHz")


def read_validate(path: str | Path) -> BoardTime:
    """Parse a validate report or any log that contains one.

    Raises:
        SourceError: no measurement in it.
    """
    board = parse_validate(read_lines(path))
    if board is None:
        raise SourceError(
            "no measured time in this file", place=path, limit="a line 'duration : ... ms by sample' of validate"
        )
    return board


def parse_validate(lines: Sequence[str]) -> BoardTime | None:
    """The measurement in these lines, or None."""
    duration = next((match for match in map(_DURATION.match, lines) if match), None)
    if duration is None:
        return None
    rows = tuple(_row(match) for match in map(_ROW.match, lines) if match)
    controller = any(row.kind == "EC" for row in rows) if rows else None
    return BoardTime(float(duration.group(1).replace(",", "")), _clocks(lines), rows, controller)


def parse_validate_info(data: Any) -> BoardTime | None:
    """The measurement in the small ``c_info`` that validate writes ([#files]), or None for any other JSON."""
    entries = data.get("aton_execution_time") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    try:
        rows = tuple(
            BoardRow("epoch", f"block {number}", float(entry["duration_ms"]), _counters(entry["counters"]))
            for number, entry in enumerate(entries, start=1)
        )
    except (KeyError, TypeError, ValueError):
        return None
    return BoardTime(sum(row.milliseconds for row in rows), rows=rows)


def _counters(values: Any) -> tuple[int, int, int]:
    pre, core, post = (int(value) for value in values)
    return pre, core, post


def _row(match: re.Match[str]) -> BoardRow:
    kind, milliseconds, pre, core, post, block = match.groups()
    counters = (_number(pre), _number(core), _number(post))
    return BoardRow(kind or "epoch", block, float(milliseconds), counters)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _clocks(lines: Sequence[str]) -> dict[str, int]:
    line = next((line for line in lines if "device.attrs" in line), "")
    found = dict(_CLOCK.findall(line))
    return {name: int(found[key[:3]]) for name, key in _CLOCKS.items() if key[:3] in found}
