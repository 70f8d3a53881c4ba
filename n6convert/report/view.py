"""From ``report.json`` to what the page shows: numbers become words, lists become drawings."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n6convert.report.answer import cards, notices
from n6convert.report.epochs import epoch_rows, operator_times, placement_reasons, ribbons
from n6convert.report.facts import method_facts, run_facts
from n6convert.report.four_bits import four_bits
from n6convert.report.graph_view import graph_svg
from n6convert.report.memory_view import memory_section
from n6convert.report.quality import accuracy_section, error_sources
from n6convert.report.time_spent import time_spent
from n6convert.report.tuning import tuning
from n6convert.report.words import short
from n6convert.results import Report
from n6convert.results.sections import Advice, Rewrites
from n6convert.store.inputs import is_file, leads_outside

__all__ = ["page_values"]

_LARGEST_PICTURE = 16 << 20


@dataclass(frozen=True, slots=True)
class AppliedRow:
    """A rewrite that was applied: how often, what it gained, where."""

    name: str
    count: int
    gain: str
    place: str


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """Why a rewrite was refused at a place, or took its form."""

    name: str
    reason: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class RewritesView:
    """The section of the page: rows of its tables, the change of the whole time, how gains were taken."""

    applied: Sequence[AppliedRow]
    refused: Sequence[ReasonRow]
    chosen: Sequence[ReasonRow]
    together: str
    clock: str


@dataclass(frozen=True, slots=True)
class AdviceRow:
    """What would bring operators of a kind to the NPU."""

    operator: str
    count: str
    milliseconds: str
    remedy: str


def page_values(report: Report, folder: Path) -> dict[str, Any]:
    """Everything the template needs, from the report and the pictures beside it."""
    after = report.placement.after if report.placement else None
    drawn, axis = ribbons(report.placement)
    return {
        "title": f"{report.name} on {report.target}",
        "notices": notices(report),
        "cards": cards(report),
        "facts": run_facts(report),
        "methods": method_facts(report),
        "ribbons": drawn,
        "time_axis": axis,
        "graph": graph_svg(after),
        "kinds": operator_times(after),
        "time": time_spent(report.latency),
        "advice": [_advice(row) for row in report.advice],
        "memory": memory_section(report.memory),
        "rewrites": _rewrites(report),
        "accuracy": accuracy_section(report),
        "four_bits": four_bits(report.quantization.four_bits),
        "tuning": tuning(report),
        "pictures": _pictures(report, folder),
        "tensors": error_sources(report.quantization),
        "epochs": epoch_rows(after),
        "reasons": placement_reasons(after),
        "assumptions": report.latency.assumptions if report.latency else [],
        "stages": [
            {"name": s.name, "seconds": f"{s.seconds:.1f}", "cached": "yes" if s.cached else ""} for s in report.stages
        ],
        "files": report.files,
    }


def _advice(row: Advice) -> AdviceRow:
    rewrite = f" (rewrite {row.rewrite})" if row.rewrite else ""
    return AdviceRow(
        operator=row.op,
        count=str(row.epochs),
        milliseconds=f"{row.microseconds / 1000:.2f}",
        remedy=f"{row.remedy or 'nothing known'}{rewrite}; predicted gain {row.gain_microseconds / 1000:.2f} ms",
    )


def _rewrites(report: Report) -> RewritesView:
    facts = report.rewrites
    return RewritesView(
        applied=[AppliedRow(a.rule, a.times, _gain(a.gain_ms), _places(a.where)) for a in facts.applied],
        refused=[ReasonRow(r.rule, r.why, r.where) for r in facts.refused],
        chosen=[ReasonRow(a.rule, why) for a in facts.applied for why in a.because],
        together=_together(report),
        clock=_clock(facts),
    )


def _together(report: Report) -> str:
    """What all rewrites changed in the predicted time."""
    before, after = report.latency_before, report.latency
    if not before or not after:
        return ""
    return f"; together {before.milliseconds:.2f} → {after.milliseconds:.2f} ms (predicted)"


def _clock(facts: Rewrites) -> str:
    """How the gains were taken; empty where none was."""
    if all(a.gain_ms is None for a in facts.applied):
        return ""
    before, after = facts.milliseconds.get("before"), facts.milliseconds.get("after")
    whole = f" ({before:.2f} → {after:.2f} ms with all of them)" if before is not None and after is not None else ""
    return (
        f"Gain: what the network would take more without this rule, predicted before it was quantized{whole}. Rules "
        "build on each other, so gains do not add up; – stands for steps that others build on."
    )


def _gain(milliseconds: float | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds:.2f} ms"


def _places(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(short(name) for name in names[:3]) + more


def _pictures(report: Report, folder: Path) -> list[dict[str, str]]:
    """Pictures of the run's own folder: a report of somebody else's reads no other file."""
    names = [f.path for f in report.files if f.path.startswith("pictures/")]
    return [
        {
            "source": "data:image/png;base64," + base64.b64encode((folder / n).read_bytes()).decode(),
            "text": Path(n).stem.partition("-")[2],
        }
        for n in names
        if not leads_outside(folder, n) and is_file(folder / n) and (folder / n).stat().st_size <= _LARGEST_PICTURE
    ]
