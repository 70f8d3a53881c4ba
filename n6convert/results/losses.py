"""What INT8 costs beyond what anybody would expect of it, as warnings: such a loss is never silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from n6convert.results import Accuracy, Report

__all__ = ["LEAST_SQNR_DB", "MOST_POINTS", "MOST_SHARE", "loss_warnings"]

#: points (of shares) and share (of errors) that INT8 may lose, by the lower end of the drop's interval
MOST_POINTS, MOST_SHARE = 1.0, 0.05
#: SQNR of an output below which answers are in doubt where no labels tell
LEAST_SQNR_DB = 15.0
#: tensors that are named
_NAMED = 3
#: causes that point to another tensor, or to none
_NOT_TO_BLAME = ("inherited", "eight bits")


def loss_warnings(report: Report) -> list[str]:
    """Sentences about losses that the recipe's acceptance sets no limit for; none for untrained weights."""
    limited = {limit.limit for limit in report.acceptance}
    found: list[str] = []
    if report.weights.trained and report.accuracy is not None and "max_drop" not in limited:
        found = list(_of_labels(report.accuracy))
    elif report.weights.trained and report.accuracy is None and "min_sqnr_db" not in limited:
        found = list(_of_outputs(report))
    return [f"{text}; {_advice(report)}" for text in found]


def _of_labels(accuracy: Accuracy) -> Iterator[str]:
    """A drop that is certain to be too large."""
    shares = accuracy.drop * (accuracy.float_value - accuracy.int8) >= 0
    most = MOST_POINTS if shares else MOST_SHARE * abs(accuracy.float_value)
    least = accuracy.interval[0] if accuracy.interval else accuracy.drop
    if accuracy.samples and least > most:
        unit = "points" if shares else accuracy.unit or "more"
        yield (
            f"INT8 loses {accuracy.drop:.3g} {unit} of {accuracy.metric} on {accuracy.samples} labeled samples "
            f"({accuracy.float_value:.4g} -> {accuracy.int8:.4g}), surely more than {least:.3g}"
        )


def _of_outputs(report: Report) -> Iterator[str]:
    """Outputs far from float, when nothing else tells what that means for answers."""
    poor = {name: value for name, value in report.sqnr_db.items() if value is not None and value < LEAST_SQNR_DB}
    if poor:
        told = ", ".join(f"{name} {value:.1f} dB" for name, value in sorted(poor.items()))
        yield (
            f"INT8 outputs are far from float ({told}; {LEAST_SQNR_DB:g} dB and more are usual): answers may be wrong. "
            "Labeled samples (--evaluate) would tell how many"
        )


def _advice(report: Report) -> str:
    worst = [w for w in report.quantization.worst if w.cause not in _NOT_TO_BLAME]
    named = ", ".join(f"{w.name} ({w.cause})" for w in worst[:_NAMED])
    start = f"the tensors that lose most: {named}; " if named else ""
    return f"{start}`n6convert debug` says what each one costs, `acceptance` in the recipe sets a limit of your own"
