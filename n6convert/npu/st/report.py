"""``network_generate_report.txt`` and the output of analyze/generate, cores 2.x to 4.x ([#files], [#files])."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from n6convert.errors import SourceError
from n6convert.npu.st.facts import StCounts, StEpoch, StPool, StReport, count_ops
from n6convert.npu.st.text import complaints, read_lines

__all__ = ["NEWEST_MAJOR", "known_core", "parse_heading", "parse_options", "parse_report", "read_text_report"]

NEWEST_MAJOR = 4
"""Newest major version of ST Edge AI Core whose formats are known."""

_PACKAGE_MAJOR, _CORE_OF_PACKAGE = 10, 2
"""X-CUBE-AI 10.0 to 10.2 hold cores 2.0 to 2.2 ([#command-line])."""
_UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3}
_CORE = re.compile(r"ST Edge AI Core v(\d+\.\d+\.\d+(?:-\w+)?)")
_PARAMETERS = re.compile(r"^Parameters\s*:\s*(.*)$")
_MODEL = re.compile(r"^\s*(?:Model name -|model_name\s+:)\s*(\S+)")
_SIZE = r"([\d.,]+)\s+([kMG]?B)"
_POOL = re.compile(
    rf"^\s*(\w+)\s+\[(0x[0-9A-Fa-f]+) - (0x[0-9A-Fa-f]+)\]:\s+{_SIZE} /\s+{_SIZE}\s+\(.*?-- weights:\s+{_SIZE}"
    rf".*?activations:\s+{_SIZE}"
)
_RANGE = re.compile(r"^\s*(\w+)\s+\[0x[0-9A-Fa-f]+ - 0x[0-9A-Fa-f]+\]:\s+(0x[0-9A-Fa-f]+-0x[0-9A-Fa-f].*)$")
_TOTAL_2X = re.compile(r"^Total number of epochs: (\d+) of which (\d+) implemented in software")
_TOTAL_3X = re.compile(r"^Total number of epochs\s+(\d+)\s*$")
_CLASS_3X = re.compile(r"^>> (pure software|hybrid|pure hardware).*?epochs\D*?(\d+)\b")
_ROW_2X = re.compile(r"^epoch (\d+)\s+(HW|EC|-SW-|\?\?)\s*(?:\(\s*(.*?)\s*\))?\s*$")
_ROW_3X = re.compile(
    r"^\|\s*(?:epoch_(\d+)|epochs\s+(\d+) -> (\d+)|<no executed epochs>)\s*\|\s*(\w+)\s*\|\s*(.*?)\s*\|$"
)
_FILES = re.compile(
    r"(?:-i|-g|--json-quant-file|--(?:load|save)-\w+|--out-dir-prefix|--csv-file|--output-info-file|--network-name)\b"
)


def read_text_report(path: str | Path) -> StReport:
    """Parse a text report.

    Raises:
        SourceError: not such a report, truncated, from a newer core, or compiled without the NPU.
    """
    return parse_report(read_lines(path), str(path))


def parse_report(lines: Sequence[str], source: str) -> StReport:
    """Normalize the lines of a text report; see :func:`read_text_report`."""
    try:
        return _normalize(lines, source)
    except ValueError as error:
        raise SourceError("a number in the report is unreadable", place=source, found=str(error)[:120]) from error


def _normalize(lines: Sequence[str], source: str) -> StReport:
    core = _first(lines, _CORE)
    if core is None:
        raise SourceError(
            "this is not a report of ST Edge AI Core",
            place=source,
            limit="a line 'ST Edge AI Core v...' as in network_generate_report.txt",
            found=lines[0][:80] if lines else "an empty file",
        )
    core = known_core(core, source)
    counts, epochs = _epochs(lines, source)
    report = StReport(
        sources=(source,),
        core_version=core,
        atonn_version=_first(lines, re.compile(r"^Compiler version:\s*(\S+)")),
        model_name=_first(lines, _MODEL),
        options=parse_options(_first(lines, re.compile(r"^Compiler arguments:\s*(.*)$"))),
        parameters=tuple((_first(lines, _PARAMETERS) or "").split()),
        counts=counts,
        epochs=epochs,
        sw_ops=count_ops(epochs, "sw"),
        hybrid_ops=count_ops(epochs, "hybrid"),
        pools=_pools(lines),
        layout={match.group(1): _extent(match) for match in map(_POOL.match, lines) if match},
        macc=_macc(lines),
        allocates_io=not any("--no-inputs-allocation" in line for line in lines if line.startswith("Parameters")),
    )
    _totals(report, lines)
    return report


def parse_heading(lines: Sequence[str], source: str) -> StReport:
    """What every log of the tool says before its tables: core, model and multiply-accumulates.

    Raises:
        SourceError: the log is of a newer core.
    """
    core = _first(lines, _CORE)
    core = known_core(core, source) if core else None
    name = _first(lines, _MODEL)
    words = tuple((_first(lines, _PARAMETERS) or "").split())
    return StReport(sources=(source,), core_version=core, model_name=name, parameters=words, macc=_macc(lines))


def known_core(printed: str, source: str) -> str:
    """The version of ST Edge AI Core that a header names: "10.0.0-20047" is X-CUBE-AI's for core 2.0.0 ([#boards]).

    Raises:
        SourceError: the major version is above NEWEST_MAJOR.
    """
    major, *rest = printed.split(".")
    core = ".".join([str(_CORE_OF_PACKAGE), *rest]) if int(major) == _PACKAGE_MAJOR else printed
    if int(core.split(".")[0]) > NEWEST_MAJOR:
        raise SourceError(
            "the report was written by a newer ST Edge AI Core than n6convert knows",
            place=source,
            limit=f"2.0 to {NEWEST_MAJOR}.x",
            found=core,
            remedy="update n6convert",
        )
    return core


def _first(lines: Sequence[str], pattern: re.Pattern[str]) -> str | None:
    return next((match.group(1) for line in lines if (match := pattern.search(line))), None)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def parse_options(arguments: str | None) -> tuple[str, ...]:
    """The optimization switches among atonn's arguments: those that name no file and no network."""
    parts = re.split(r"\s+(?=-)", (arguments or "").strip())
    return tuple(part.strip() for part in parts if part and not _FILES.match(part))


def _pools(lines: Sequence[str]) -> dict[str, StPool]:
    pools: dict[str, StPool] = {}
    for match in filter(None, map(_POOL.match, lines)):
        name, (start, size) = match.group(1), _extent(match)
        used, _, weights, activations = (_bytes(match, index) for index in (4, 6, 8, 10))
        if used:
            exact = all(match.group(index) == "B" for index in (5, 9, 11))
            pools[name] = StPool(name, used, weights, activations, size, start, exact=exact)
    for match in filter(None, map(_RANGE.match, lines)):
        if match.group(1) in pools:
            pools[match.group(1)].ranges = match.group(2).strip()
    return pools


def _extent(match: re.Match[str]) -> tuple[int, int]:
    start, end = int(match.group(2), 16), int(match.group(3), 16)
    return start, end - start


def _bytes(match: re.Match[str], index: int) -> int:
    return round(float(match.group(index).replace(",", "")) * _UNITS[match.group(index + 1)])


def _macc(lines: Sequence[str]) -> int | None:
    """The front end's multiply-accumulates; None where it prints 0 (it does for QDQ on 2.x, [#rewrites])."""
    found = _first(lines, re.compile(r"^\s*(?:model:\s*macc=|macc\s+:\s*)([\d,]+)"))
    return _number(found) or None if found else None


def _totals(report: StReport, lines: Sequence[str]) -> None:
    """Section sizes where printed exactly, else the sum over the pools."""
    exact_weights = _first(lines, re.compile(r"^\s*weights \(ro\)\s+:\s+([\d,]+) B"))
    exact_activations = _first(lines, re.compile(r"^\s*activations \(rw\)\s+:\s+([\d,]+) B"))
    pools = report.pools.values()
    report.weights_bytes = _number(exact_weights) if exact_weights else sum(p.weights or 0 for p in pools)
    report.activations_bytes = (
        _number(exact_activations) if exact_activations else sum(p.activations or 0 for p in pools)
    )


def _epochs(lines: Sequence[str], source: str) -> tuple[StCounts, list[StEpoch]]:
    start = next((i for i, line in enumerate(lines) if line.startswith("Total number of epochs")), None)
    if start is None and complaints(lines):
        raise SourceError("the compiler refused this model: there are no epochs", place=source, found=complaints(lines))
    if start is None:
        raise SourceError(
            "the report has no epoch table",
            place=source,
            limit="a section 'Epochs details'",
            remedy="it is truncated, or the model was compiled without --st-neural-art: compile it again",
        )
    end = next((i for i in range(start, len(lines)) if lines[i].lstrip().startswith("=====")), None)
    if end is None:
        raise SourceError("the epoch table is cut off", place=source, remedy="copy the whole report")
    table = lines[start:end]
    return _epochs_2x(table, source) if _TOTAL_2X.match(table[0]) else _epochs_3x(table, source)


def _epochs_2x(table: Sequence[str], source: str) -> tuple[StCounts, list[StEpoch]]:
    heading = _TOTAL_2X.match(table[0])
    assert heading is not None
    total, software = int(heading.group(1)), int(heading.group(2))
    rows = [match.groups() for match in filter(None, map(_ROW_2X.match, table))]
    kinds = {"HW": "hw", "EC": "ec", "-SW-": "sw", "??": "hybrid"}
    epochs = [StEpoch(int(number), kinds[kind], (op,) if op else ()) for number, kind, op in rows]
    counts = _count_2x(epochs, total)
    _agree(len(epochs), total, "epochs", source)
    _agree(counts.sw, software, "software epochs", source)
    return counts, epochs


def _epochs_3x(table: Sequence[str], source: str) -> tuple[StCounts, list[StEpoch]]:
    heading = _TOTAL_3X.match(table[0])
    classes = {m.group(1): int(m.group(2)) for m in filter(None, map(_CLASS_3X.match, table))}
    if heading is None or len(classes) != 3:
        raise SourceError("the epoch table has an unknown form", place=source, found=table[0])
    epochs = [epoch for match in filter(None, map(_ROW_3X.match, table)) for epoch in _expand(match)]
    software, hybrid, hardware = classes["pure software"], classes["hybrid"], classes["pure hardware"]
    _agree(sum(e.kind == "sw" for e in epochs), software, "software epochs", source)
    _agree(sum(e.kind == "hybrid" for e in epochs), hybrid, "hybrid epochs", source)
    uses_controller = any(e.kind == "ec" for e in epochs)
    if not uses_controller:
        _agree(sum(e.kind == "hw" for e in epochs), hardware, "hardware epochs", source)
    counted = (0, hardware) if uses_controller else (hardware, 0)
    return StCounts(int(heading.group(1)), *counted, hybrid, software), epochs


def _expand(row: re.Match[str]) -> list[StEpoch]:
    """One epoch, or the id range of an epoch-controller blob (ids inside may be unused, [#files])."""
    single, first, last, kind, details = row.groups()
    if single:
        return [StEpoch(int(single), kind.lower(), (details,) if details else ())]
    return [StEpoch(number, kind.lower()) for number in range(int(first), int(last) + 1)] if first else []


def _count_2x(epochs: Sequence[StEpoch], total: int) -> StCounts:
    """2.x has no name for hybrid epochs: ``??`` in controller builds, plain HW otherwise (then unknown: None)."""
    number = {kind: sum(epoch.kind == kind for epoch in epochs) for kind in ("hw", "ec", "hybrid", "sw")}
    return StCounts(total, number["hw"], number["ec"], number["hybrid"] or None, number["sw"])


def _agree(found: int, declared: int, what: str, source: str) -> None:
    if found != declared:
        raise SourceError(
            f"the epoch table is incomplete: it lists fewer or more {what} than it announces",
            place=source,
            limit=f"{declared} {what}",
            found=found,
            remedy="copy the whole report",
        )
