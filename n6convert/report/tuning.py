"""What training brought, and how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from n6convert.report.svg import Point, scatter

__all__ = ["tuning"]

Facts = Mapping[str, Any]


def tuning(report: Facts) -> dict[str, Any]:
    """What the page shows of the ``tuning`` section; empty where nothing was trained."""
    section = report.get("tuning") or {}
    if not section:
        return {}
    minutes = section["seconds"] / 60
    verdict = "The result is kept" if section["kept"] else "The result is not kept: held-back samples are no closer"
    return {
        "summary": f"{section['steps']} steps in {minutes:.1f} minutes, judged on samples that were not trained on. "
        f"{verdict}.",
        "svg": _drawn(section.get("curve", [])),
        "rows": list(_rows(section, report.get("accuracy") or {})),
    }


def _drawn(curve: list[Facts]) -> str:
    points = [Point(float(p["step"]), p["closeness_db"], "", "hw" if p["phase"] else "none") for p in curve]
    return scatter(points, points, "Closeness to float over steps of training", "step", "closeness, dB")


def _rows(section: Facts, accuracy: Facts) -> Iterator[tuple[str, str, str]]:
    before, after = section["before"], section["after"]
    yield "closeness of outputs", f"{before['closeness_db']:.2f} dB", f"{after['closeness_db']:.2f} dB"
    yield "SQNR of outputs", f"{before['sqnr_db']:.2f} dB", f"{after['sqnr_db']:.2f} dB"
    if accuracy.get("untuned") is not None:
        yield accuracy["metric"], f"{accuracy['untuned']:.2f}", f"{accuracy['int8']:.2f}"
