"""From ``report.json`` to what the page shows: numbers become words, lists become drawings."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from n6convert.inputs import is_file, leads_outside
from n6convert.report.answer import cards, notices
from n6convert.report.facts import run_facts
from n6convert.report.four_bits import four_bits
from n6convert.report.svg import Block, Row, area, bars, histogram, ribbon, scale
from n6convert.report.time_spent import time_spent
from n6convert.report.tuning import tuning
from n6convert.report.words import kib
from n6convert.results import Placement, Report
from n6convert.results.sections import PLACES, Advice, Memory, MemoryBuffer, OperatorPlace, Quantization, Side

__all__ = ["epoch_blocks", "page_values"]

_POOL_CLASSES = 7
_MOST_KINDS = 12
_WORST = 10
_LARGEST_PICTURE = 16 << 20


def page_values(report: Report, folder: Path) -> dict[str, Any]:
    """Everything the template needs, from the report and the pictures beside it."""
    after = report.placement.after if report.placement else None
    return {
        "title": f"{report.name} on {report.target}",
        "subtitle": f"{report.model}, weights {report.weights.origin}, n6convert {report.n6convert}",
        "notices": notices(report),
        "cards": cards(report),
        "facts": run_facts(report),
        "ribbons": (ribbons := _ribbons(report.placement)),
        "time_axis": _time_axis(ribbons, report.placement),
        "kinds": _kinds(after),
        "time": time_spent(report.latency),
        "advice": [_advice(row) for row in report.advice],
        "memory": _memory(report.memory),
        "rewrites": _rewrites(report),
        "accuracy": _accuracy(report),
        "four_bits": four_bits(report.quantization.four_bits),
        "tuning": tuning(report),
        "pictures": _pictures(report, folder),
        "tensors": _tensors(report.quantization),
        "operators": _operators(after),
        "assumptions": report.latency.assumptions if report.latency else [],
        "stages": [
            {"name": s.name, "seconds": f"{s.seconds:.1f}", "cached": "yes" if s.cached else ""} for s in report.stages
        ],
        "files": report.files,
    }


def _ribbons(placement: Placement | None) -> list[dict[str, str]]:
    """One ribbon a side, both on the time scale of the longer one."""
    if placement is None:
        return []
    sides = [("Before rewrites", placement.before), ("As converted", placement.after)]
    drawn = [(name, side, epoch_blocks(side)) for name, side in sides if side]
    whole = _longest(placement)
    found = []
    for name, side, blocks in drawn:
        e = side.epochs
        time = f", {sum(b.width for b in blocks) / 1000:.1f} ms" if blocks else ""
        summary = f"{e.hw} of {e.total} epochs on the NPU, {e.hybrid} hybrid, {e.sw} on the CPU{time}"
        picture = ribbon(blocks, f"Epochs, {name}: {summary}", whole=whole)
        found.append({"name": name, "summary": summary, "svg": picture})
    return found


def _longest(placement: Placement) -> float:
    """Microseconds of the longer side."""
    sides = [placement.before, placement.after]
    return max((sum(block.width for block in epoch_blocks(side)) for side in sides if side), default=0.0)


def _time_axis(ribbons: Sequence[Any], placement: Placement | None) -> str:
    if placement is None:
        return ""
    whole = _longest(placement) / 1000
    return scale(whole, "ms", f"Time from 0 to {whole:.1f} ms") if ribbons and whole > 0 else ""


def epoch_blocks(side: Side) -> list[Block]:
    """One block an epoch, from its operators: epochs are named by number and end where the number changes."""
    groups: dict[int, list[OperatorPlace]] = defaultdict(list)
    for operator in side.operators:
        groups[operator.epoch].append(operator)
    return [_block(epoch, groups[epoch]) for epoch in sorted(groups) if groups[epoch][0].where != "none"]


def _block(epoch: int, operators: Sequence[OperatorPlace]) -> Block:
    microseconds = sum(o.microseconds or 0.0 for o in operators)
    kinds = " + ".join(dict.fromkeys(o.op for o in operators))
    return Block(max(microseconds, 1.0), operators[0].where, f"epoch {epoch}: {kinds}, {microseconds:.0f} µs")


def _kinds(side: Side | None) -> str:
    if side is None:
        return ""
    times: dict[tuple[str, str], float] = defaultdict(float)
    for operator in side.operators:
        times[operator.op, operator.where] += operator.microseconds or 0.0
    ranked = sorted(((t, k) for k, t in times.items() if t > 0), reverse=True)[:_MOST_KINDS]
    rows = [Row(f"{op} ({PLACES.get(where, where)})", t, f"{t / 1000:.2f} ms", where) for t, (op, where) in ranked]
    return bars(rows, "Predicted time by operator kind") if rows else ""


def _advice(row: Advice) -> dict[str, str]:
    rewrite = f" (rewrite {row.rewrite})" if row.rewrite else ""
    return {
        "operator": row.op,
        "count": str(row.epochs),
        "milliseconds": f"{row.microseconds / 1000:.2f}",
        "remedy": f"{row.remedy or 'nothing known'}{rewrite}; predicted gain {row.gain_microseconds / 1000:.2f} ms",
    }


def _memory(memory: Memory | None) -> dict[str, Any]:
    if memory is None:
        return {}
    pools = [p for p in memory.pools if p.size]
    rows = [Row(p.name, 100 * p.used / p.size, f"{kib(p.used)} of {kib(p.size)}", "bar", 100.0) for p in pools]
    names = [p.name for p in pools if p.activations]
    series = [(n, f"p{i % _POOL_CLASSES}", _live(memory.buffers, n)) for i, n in enumerate(names)]
    return {
        "summary": f"Activations {kib(memory.activations)}, weights {kib(memory.weights)}{_tables(memory)}; "
        + ("the activations fit on the chip." if _on_chip(memory) else _overflow(memory)),
        "pools": bars(rows, "Share of each memory pool in use, in percent"),
        "timeline": area([(n, k, [v / 1024 for v in values]) for n, k, values in series], "Live activations", "KiB"),
        "legend": [(n, k) for n, k, _ in series],
        "peak": _peak(memory),
    }


def _tables(memory: Memory) -> str:
    return f" and {kib(memory.tables)} of tables beside them in flash" if memory.tables else ""


def _on_chip(memory: Memory) -> bool:
    return memory.fits and not memory.external


def _overflow(memory: Memory) -> str:
    if not memory.fits:
        return f"it does not fit: {kib(memory.missing)} find no place."
    return f"{kib(memory.external)} of activations leave the chip for external RAM: a multiple of the time."


def _live(buffers: Sequence[MemoryBuffer], pool: str) -> list[float]:
    """Bytes alive in a pool at every epoch."""
    last = max((b.last for b in buffers), default=-1)
    changes = [0] * (last + 2)
    for buffer in buffers:
        first = max(buffer.first, 0)
        if buffer.pool == pool and first <= buffer.last:
            changes[first] += buffer.bytes
            changes[buffer.last + 1] -= buffer.bytes
    return [float(total) for total in accumulate(changes[: last + 1])]


def _peak(memory: Memory) -> str:
    epoch = memory.peak_epoch
    alive = [b for b in memory.buffers if epoch is not None and b.first <= epoch <= b.last]
    largest = sorted(alive, key=lambda b: -b.bytes)[:4]
    names = ", ".join(f"{b.name} ({kib(b.bytes)})" for b in largest)
    return f"The peak of {kib(memory.peak)} is at epoch {epoch}; alive there: {names}." if largest else ""


def _rewrites(report: Report) -> dict[str, Any]:
    facts = report.rewrites
    applied = [
        {"name": a.rule, "count": a.times, "gain": _gain(a.gain_ms), "place": _places(a.where)} for a in facts.applied
    ]
    refused = [{"name": r.rule, "place": r.where, "reason": r.why} for r in facts.refused]
    chosen = [{"name": a.rule, "reason": why} for a in facts.applied for why in a.because]
    return {"applied": applied, "refused": refused, "chosen": chosen, "together": _together(report)}


def _together(report: Report) -> str:
    """What all rewrites changed in the predicted time."""
    before, after = report.latency_before, report.latency
    if not before or not after:
        return ""
    return f"; together {before.milliseconds:.2f} → {after.milliseconds:.2f} ms (predicted)"


def _gain(milliseconds: float | None) -> str:
    return "not judged" if milliseconds is None else f"{milliseconds:.2f} ms"


def _places(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _accuracy(report: Report) -> dict[str, Any] | None:
    rows = [[f"SQNR of {name}", "", _decibels(value), ""] for name, value in report.sqnr_db.items()]
    note = "SQNR: INT8 against float on samples that calibration did not see."
    found = report.accuracy
    if found:
        interval = found.interval
        spread = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        drop = f"{found.drop:.2f} points{spread}"
        rows.insert(0, [found.metric, f"{found.float_value:.2f}", f"{found.int8:.2f}", drop])
        note = (
            f"{found.metric} on {found.samples} labelled samples that calibration did not see; in brackets a "
            f"95 % bootstrap interval. {note}"
        )
    return {"head": ["what", "float", "INT8", "drop"], "rows": rows, "note": note} if rows else None


def _decibels(value: float | None) -> str:
    return "no difference" if value is None else f"{value:.1f} dB"


def _pictures(report: Report, folder: Path) -> list[dict[str, str]]:
    """Pictures of the run's own folder: a report of somebody else's reads no other file."""
    names = [f.path for f in report.files if f.path.startswith("pictures/")]
    return [
        {
            "source": "data:image/png;base64," + base64.b64encode((folder / n).read_bytes()).decode(),
            "text": f"{Path(n).stem.partition('-')[2]}: float on the left, INT8 on the right",
        }
        for n in names
        if not leads_outside(folder, n) and is_file(folder / n) and (folder / n).stat().st_size <= _LARGEST_PICTURE
    ]


def _tensors(quantization: Quantization) -> list[dict[str, str]]:
    """Where error arises; what only passes it on is left out."""
    found = []
    sources = [tensor for tensor in quantization.worst if tensor.cause != "inherited"]
    for tensor in sources[:_WORST]:
        reasons = ": ".join(text for text in (tensor.cause, tensor.remedy) if text)
        text = f"{tensor.name}: {tensor.sqnr_db:.1f} dB. {reasons[:1].upper()}{reasons[1:]}".replace("`", "")
        shape = tensor.histogram
        svg = ""
        if shape:
            scale, zero = tensor.scale, tensor.zero_point
            grid = ((-128 - zero) * scale, (127 - zero) * scale)
            svg = histogram(shape.counts, shape.low, shape.high, grid, f"Values of {tensor.name}")
        found.append({"svg": svg, "text": text})
    return found


def _operators(side: Side | None) -> list[dict[str, Any]]:
    return [
        {
            "epoch": o.epoch,
            "op": o.op,
            "name": o.name,
            "where": o.where,
            "place": PLACES.get(o.where, o.where),
            "microseconds": f"{o.microseconds:.1f}" if o.microseconds is not None else "",
            "reason": o.reason,
        }
        for o in (side.operators if side else ())
    ]
