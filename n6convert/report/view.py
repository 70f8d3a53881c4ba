"""From ``report.json`` to what the page shows: numbers become words, lists become drawings."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from n6convert.inputs import is_file, leads_outside
from n6convert.report.answer import cards, notices
from n6convert.report.facts import run_facts
from n6convert.report.four_bits import four_bits
from n6convert.report.schema import PLACES
from n6convert.report.svg import Block, Row, area, bars, histogram, ribbon, scale
from n6convert.report.time_spent import time_spent
from n6convert.report.tuning import tuning
from n6convert.report.words import kib

__all__ = ["epoch_blocks", "page_values"]

Facts = Mapping[str, Any]
_POOL_CLASSES = 7
_MOST_KINDS = 12
_WORST = 10
_LARGEST_PICTURE = 16 << 20


def page_values(report: Facts, folder: Path) -> dict[str, Any]:
    """Everything the template needs, from the report and the pictures beside it."""
    latency = report.get("latency") or {}
    return {
        "title": f"{report['name']} on {report['target']}",
        "subtitle": f"{report['model']}, weights {report['weights']['origin']}, n6convert {report['n6convert']}",
        "notices": notices(report),
        "cards": cards(report),
        "facts": run_facts(report),
        "ribbons": (ribbons := _ribbons(report.get("placement") or {})),
        "time_axis": _time_axis(ribbons, report.get("placement") or {}),
        "kinds": _kinds((report.get("placement") or {}).get("after") or {}),
        "time": time_spent(latency),
        "advice": [_advice(row) for row in report.get("advice", [])],
        "memory": _memory(report.get("memory") or {}),
        "rewrites": _rewrites(report),
        "accuracy": _accuracy(report),
        "four_bits": four_bits((report.get("quantization") or {}).get("four_bits") or {}),
        "tuning": tuning(report),
        "pictures": _pictures(report, folder),
        "tensors": _tensors(report.get("quantization") or {}),
        "operators": _operators((report.get("placement") or {}).get("after") or {}),
        "assumptions": latency.get("assumptions", []),
        "stages": [
            {"name": s["name"], "seconds": f"{s['seconds']:.1f}", "cached": "yes" if s["cached"] else ""}
            for s in report.get("stages", [])
        ],
        "files": report.get("files", []),
    }


def _ribbons(placement: Facts) -> list[dict[str, str]]:
    """One ribbon a side, both on the time scale of the longer one."""
    sides = [("Before rewrites", placement.get("before")), ("As converted", placement.get("after"))]
    drawn = [(name, side, epoch_blocks(side)) for name, side in sides if side]
    whole = _longest(placement)
    found = []
    for name, side, blocks in drawn:
        e = side["epochs"]
        time = f", {sum(b.width for b in blocks) / 1000:.1f} ms" if blocks else ""
        summary = f"{e['hw']} of {e['total']} epochs on the NPU, {e['hybrid']} hybrid, {e['sw']} on the CPU{time}"
        picture = ribbon(blocks, f"Epochs, {name}: {summary}", whole=whole)
        found.append({"name": name, "summary": summary, "svg": picture})
    return found


def _longest(placement: Facts) -> float:
    """Microseconds of the longer side."""
    sides = [placement.get("before"), placement.get("after")]
    return max((sum(block.width for block in epoch_blocks(side)) for side in sides if side), default=0.0)


def _time_axis(ribbons: Sequence[Any], placement: Facts) -> str:
    whole = _longest(placement) / 1000
    return scale(whole, "ms", f"Time from 0 to {whole:.1f} ms") if ribbons and whole > 0 else ""


def epoch_blocks(side: Facts) -> list[Block]:
    """One block an epoch, from its operators: epochs are named by number and end where the number changes."""
    groups: dict[int, list[Facts]] = defaultdict(list)
    for operator in side.get("operators", []):
        groups[operator["epoch"]].append(operator)
    return [_block(epoch, groups[epoch]) for epoch in sorted(groups) if groups[epoch][0]["where"] != "none"]


def _block(epoch: int, operators: Sequence[Facts]) -> Block:
    microseconds = sum(o.get("microseconds") or 0.0 for o in operators)
    kinds = " + ".join(dict.fromkeys(o["op"] for o in operators))
    return Block(max(microseconds, 1.0), operators[0]["where"], f"epoch {epoch}: {kinds}, {microseconds:.0f} µs")


def _kinds(side: Facts) -> str:
    times: dict[tuple[str, str], float] = defaultdict(float)
    for operator in side.get("operators", []):
        times[operator["op"], operator["where"]] += operator.get("microseconds") or 0.0
    ranked = sorted(((t, k) for k, t in times.items() if t > 0), reverse=True)[:_MOST_KINDS]
    rows = [Row(f"{op} ({PLACES.get(where, where)})", t, f"{t / 1000:.2f} ms", where) for t, (op, where) in ranked]
    return bars(rows, "Predicted time by operator kind") if rows else ""


def _advice(row: Facts) -> dict[str, str]:
    rewrite = f" (rewrite {row['rewrite']})" if row.get("rewrite") else ""
    return {
        "operator": row["op"],
        "count": str(row["epochs"]),
        "milliseconds": f"{row['microseconds'] / 1000:.2f}",
        "remedy": f"{row.get('remedy') or 'nothing known'}{rewrite}; predicted gain "
        f"{row['gain_microseconds'] / 1000:.2f} ms",
    }


def _memory(memory: Facts) -> dict[str, Any]:
    if not memory:
        return {}
    pools = [p for p in memory["pools"] if p["size"]]
    rows = [
        Row(p["name"], 100 * p["used"] / p["size"], f"{kib(p['used'])} of {kib(p['size'])}", "bar", 100.0)
        for p in pools
    ]
    names = [p["name"] for p in pools if p["activations"]]
    series = [(n, f"p{i % _POOL_CLASSES}", _live(memory.get("buffers", []), n)) for i, n in enumerate(names)]
    return {
        "summary": f"Activations {kib(memory['activations'])}, weights {kib(memory['weights'])}{_tables(memory)}; "
        + ("the activations fit on the chip." if _on_chip(memory) else _overflow(memory)),
        "pools": bars(rows, "Share of each memory pool in use, in percent"),
        "timeline": area([(n, k, [v / 1024 for v in values]) for n, k, values in series], "Live activations", "KiB"),
        "legend": [(n, k) for n, k, _ in series],
        "peak": _peak(memory),
    }


def _tables(memory: Facts) -> str:
    return f" and {kib(memory['tables'])} of tables beside them in flash" if memory.get("tables") else ""


def _on_chip(memory: Facts) -> bool:
    return bool(memory["fits"]) and not memory.get("external")


def _overflow(memory: Facts) -> str:
    if not memory["fits"]:
        return f"it does not fit: {kib(memory['missing'])} find no place."
    return f"{kib(memory['external'])} of activations leave the chip for external RAM: a multiple of the time."


def _live(buffers: Sequence[Facts], pool: str) -> list[float]:
    """Bytes alive in a pool at every epoch."""
    last = max((b["last"] for b in buffers), default=-1)
    changes = [0] * (last + 2)
    for buffer in buffers:
        first = max(buffer["first"], 0)
        if buffer["pool"] == pool and first <= buffer["last"]:
            changes[first] += buffer["bytes"]
            changes[buffer["last"] + 1] -= buffer["bytes"]
    return [float(total) for total in accumulate(changes[: last + 1])]


def _peak(memory: Facts) -> str:
    epoch = memory.get("peak_epoch")
    alive = [b for b in memory.get("buffers", []) if epoch is not None and b["first"] <= epoch <= b["last"]]
    largest = sorted(alive, key=lambda b: -b["bytes"])[:4]
    names = ", ".join(f"{b['name']} ({kib(b['bytes'])})" for b in largest)
    return f"The peak of {kib(memory['peak'])} is at epoch {epoch}; alive there: {names}." if largest else ""


def _rewrites(report: Facts) -> dict[str, Any]:
    facts = report.get("rewrites") or {}
    applied = [
        {"name": a["rule"], "count": a["times"], "gain": _gain(a.get("gain_ms")), "place": _places(a.get("where", []))}
        for a in facts.get("applied", [])
    ]
    refused = [{"name": r["rule"], "place": r["where"], "reason": r["why"]} for r in facts.get("refused", [])]
    chosen = [{"name": a["rule"], "reason": why} for a in facts.get("applied", []) for why in a.get("because", [])]
    return {"applied": applied, "refused": refused, "chosen": chosen, "together": _together(report)}


def _together(report: Facts) -> str:
    """What all rewrites changed in the predicted time."""
    before = ((report.get("placement") or {}).get("before") or {}).get("latency")
    after = report.get("latency")
    if not before or not after:
        return ""
    return f"; together {before['milliseconds']:.2f} → {after['milliseconds']:.2f} ms (predicted)"


def _gain(milliseconds: float | None) -> str:
    return "not judged" if milliseconds is None else f"{milliseconds:.2f} ms"


def _places(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _accuracy(report: Facts) -> dict[str, Any] | None:
    rows = [[f"SQNR of {name}", "", _decibels(value), ""] for name, value in report.get("sqnr_db", {}).items()]
    note = "SQNR: INT8 against float on samples that calibration did not see."
    found = report.get("accuracy")
    if found:
        interval = found.get("interval")
        spread = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        drop = f"{found['drop']:.2f} points{spread}"
        rows.insert(0, [found["metric"], f"{found['float']:.2f}", f"{found['int8']:.2f}", drop])
        note = (
            f"{found['metric']} on {found['samples']} labelled samples that calibration did not see; in brackets a "
            f"95 % bootstrap interval. {note}"
        )
    return {"head": ["what", "float", "INT8", "drop"], "rows": rows, "note": note} if rows else None


def _decibels(value: float | None) -> str:
    return "no difference" if value is None else f"{value:.1f} dB"


def _pictures(report: Facts, folder: Path) -> list[dict[str, str]]:
    """Pictures of the run's own folder: a report of somebody else's reads no other file."""
    names = [f["path"] for f in report.get("files", []) if f["path"].startswith("pictures/")]
    return [
        {
            "source": "data:image/png;base64," + base64.b64encode((folder / n).read_bytes()).decode(),
            "text": f"{Path(n).stem.partition('-')[2]}: float on the left, INT8 on the right",
        }
        for n in names
        if not leads_outside(folder, n) and is_file(folder / n) and (folder / n).stat().st_size <= _LARGEST_PICTURE
    ]


def _tensors(quantization: Facts) -> list[dict[str, str]]:
    """Where error arises; what only passes it on is left out."""
    found = []
    sources = [tensor for tensor in quantization.get("worst", []) if tensor.get("cause") != "inherited"]
    for tensor in sources[:_WORST]:
        reasons = ": ".join(tensor[key] for key in ("cause", "remedy") if tensor.get(key))
        text = f"{tensor['name']}: {tensor['sqnr_db']:.1f} dB. {reasons[:1].upper()}{reasons[1:]}".replace("`", "")
        shape = tensor.get("histogram")
        svg = ""
        if shape:
            scale, zero = tensor["scale"], tensor["zero_point"]
            grid = ((-128 - zero) * scale, (127 - zero) * scale)
            svg = histogram(shape["counts"], shape["low"], shape["high"], grid, f"Values of {tensor['name']}")
        found.append({"svg": svg, "text": text})
    return found


def _operators(side: Facts) -> list[dict[str, Any]]:
    return [
        {
            "epoch": o["epoch"],
            "op": o["op"],
            "name": o["name"],
            "where": o["where"],
            "place": PLACES.get(o["where"], o["where"]),
            "microseconds": f"{o['microseconds']:.1f}" if o.get("microseconds") is not None else "",
            "reason": o["reason"],
        }
        for o in side.get("operators", [])
    ]
