"""Gathering stage facts into the report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.recipe.schema import OLD_TYPE_KEY, OLD_TYPE_REMARK
from n6convert.results import FileEntry, Report, StageReport, WeightsReport
from n6convert.results.acceptance import judge
from n6convert.results.losses import loss_warnings
from n6convert.version import __version__

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

__all__ = ["make_report", "now"]

#: facts that stand in sections of their own: stage -> fact -> section
_SECTIONS = {
    "rewrite": {"rewrites": "rewrites"},
    "quantize": {"quantization": "quantization", "samples": "calibration"},
    "tune": {"tuning": "tuning", "samples": "calibration", "quantization": "quantization"},
    "lint": {"findings": "lint"},
    "estimate": {key: key for key in ("placement", "memory", "cycles", "latency", "advice")},
    "evaluate": {"accuracy": "accuracy", "sqnr_db": "sqnr_db"},
}


def make_report(run: Run, files: Mapping[str, str]) -> Report:
    """The report of a run whose stages are done, judged by the recipe's acceptance."""
    sections: dict[str, Any] = {}
    stages, warnings = [], []
    for name, artifact in run.artifacts.items():
        own = dict(artifact.facts)
        warnings += [text for text in own.pop("warnings", []) if text not in warnings]
        for fact, section in _SECTIONS.get(name, {}).items():
            if fact in own:
                sections[section] = own.pop(fact)
        entry = artifact.entry
        stages.append(StageReport(name=name, seconds=entry.seconds, cached=entry.reused, facts=own))
    if "memory" in sections and "package" in run.artifacts:
        tables = sum(run.artifacts["package"].facts.get("flash_tables", {}).values())
        sections["memory"] = {**sections["memory"], "tables": tables}
    report = Report(
        n6convert=__version__,
        made=now(),
        status="accepted",
        model=run.recipe.model,
        name=run.name,
        target=run.recipe.target,
        weights=_weights(run),
        recipe=run.recipe.model_dump(mode="json"),
        warnings=_first_warnings(run) + warnings,
        stages=stages,
        files=[FileEntry(path=n, sha256=s) for n, s in sorted(files.items())],
        **sections,
    )
    limits = judge(run.recipe, report)
    status = "accepted" if all(limit.kept for limit in limits) else "rejected"
    report = report.model_copy(update={"acceptance": limits, "status": status})
    return report.model_copy(update={"warnings": [*report.warnings, *loss_warnings(report)]})


def now() -> str:
    """Date and time in UTC, or those of ``SOURCE_DATE_EPOCH``, as builds that must repeat give it."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(given), UTC) if given.isdecimal() else datetime.now(UTC)
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _weights(run: Run) -> WeightsReport:
    w = run.weights
    origin = Path(w.origin).name if w.kind == "file" else w.origin
    trust = w.trust + ("; first use: recorded for later runs" if w.first_use else "")
    return WeightsReport(kind=w.kind, origin=origin, sha256=w.sha256, trained=w.trained, license=w.license, trust=trust)


def _first_warnings(run: Run) -> list[str]:
    section = run.draft.values.get("package")
    old = isinstance(section, dict) and OLD_TYPE_KEY in section
    warnings = [f"package.{OLD_TYPE_KEY}: {OLD_TYPE_REMARK}"] if old else []
    if not run.weights.trained:
        warnings.insert(0, "untrained weights: placement, memory and time are valid, accuracy is not")
    return warnings
