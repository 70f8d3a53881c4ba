"""The page's section on training: its gain and its curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from n6convert.report.scatter import Point, scatter
from n6convert.results import Accuracy, Report
from n6convert.results.tuned import ExactWeights, TunedFigures, TunedStep

__all__ = ["TuningView", "tuning"]


@dataclass(frozen=True, slots=True)
class TuningView:
    """The section of the page: words, the drawing, rows of figure, before and after, and a remark."""

    summary: str
    svg: str
    rows: Sequence[tuple[str, str, str]]
    note: str


def tuning(report: Report) -> TuningView | None:
    """What the page shows of the ``tuning`` section; None where nothing was trained."""
    section = report.tuning
    if section.before is None or section.after is None:
        return None
    minutes = section.seconds / 60
    sure = "" if section.gain is None else f" (95 %: {section.gain.low:+.2f} to {section.gain.high:+.2f} dB)"
    verdict = f"The result is kept{sure}" if section.kept else f"The result is not kept: no gain is certain{sure}"
    return TuningView(
        summary=f"{section.steps} steps in {minutes:.1f} minutes, judged on samples that were not trained on. "
        f"{verdict}.",
        svg=_drawn(section.curve),
        rows=list(_rows(section.before, section.after, report.accuracy)),
        note=_note(section.exact_weights),
    )


def _note(exact: ExactWeights | None) -> str:
    """What is the weights' doing, and what the activations'."""
    if exact is None:
        return ""
    return (
        f"Before training, on samples kept apart from it: {exact.rounded_db:.2f} dB, and {exact.exact_db:.2f} dB if no "
        "weight were rounded. What is missing then, rounding of activations has taken."
    )


def _drawn(curve: Sequence[TunedStep]) -> str:
    points = [
        Point(float(p.step), p.closeness_db, "", "hw" if p.step else "none", f"step {p.step}: {p.closeness_db:.2f} dB")
        for p in curve
    ]
    return scatter(points, points, "Closeness to float over steps of training", "step", "closeness, dB")


def _rows(before: TunedFigures, after: TunedFigures, accuracy: Accuracy | None) -> Iterator[tuple[str, str, str]]:
    yield "closeness of outputs", f"{before.closeness_db:.2f} dB", f"{after.closeness_db:.2f} dB"
    yield "SQNR of outputs", f"{before.sqnr_db:.2f} dB", f"{after.sqnr_db:.2f} dB"
    if accuracy is not None and accuracy.untuned is not None:
        yield accuracy.metric, f"{accuracy.untuned:.2f}", f"{accuracy.int8:.2f}"
