"""A loss that nobody set a limit for is a warning; a small, uncertain or allowed one is not."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.results import Accuracy, LimitReport, Report, WeightsReport
from n6convert.results.losses import loss_warnings

WORST = [
    {"name": "behind", "sqnr_db": 9.0, "cause": "inherited"},
    {"name": "sums", "sqnr_db": 9.0, "cause": "outlier channel"},
    {"name": "edge", "sqnr_db": 9.0, "cause": "saturation"},
]


def report(trained: bool = True, **sections: Any) -> Report:
    weights = WeightsReport(kind="file", origin="w.onnx", sha256="0" * 64, trained=trained, license=None)
    return Report(
        n6convert="1", status="accepted", model="onnx", name="net", target="board@4.0", weights=weights, recipe={},
        stages=[], quantization={"worst": WORST}, **sections,
    )  # fmt: skip


def accuracy(reference: float, int8: float, low: float | None, errors: bool = False) -> Accuracy:
    drop = int8 - reference if errors else reference - int8
    interval = None if low is None else [low, 2 * drop - low]
    return Accuracy(metric="top-1", float=reference, int8=int8, drop=drop, samples=1000, interval=interval)  # type: ignore[call-arg]


def test_a_certain_loss_of_points_names_the_tensors_that_cost_it() -> None:
    (text,) = loss_warnings(report(accuracy=accuracy(61.4, 50.2, 8.9)))
    assert "11.2 points of top-1 on 1000 labeled samples (61.4 -> 50.2)" in text and "8.9" in text
    assert "sums (outlier channel), edge (saturation)" in text and "behind" not in text and "debug" in text


@pytest.mark.parametrize(
    "found",
    [accuracy(61.4, 60.6, 0.4), accuracy(61.4, 58.0, -0.5), accuracy(61.4, 63.0, -3.0), accuracy(4.0, 4.1, 0.08, True)],
)
def test_small_or_uncertain_losses_are_none(found: Accuracy) -> None:
    assert not loss_warnings(report(accuracy=found))


def test_errors_are_measured_by_their_size() -> None:
    (text,) = loss_warnings(report(accuracy=accuracy(4.0, 4.6, 0.5, errors=True)))
    assert "(4 -> 4.6)" in text and "points" not in text


def test_without_labels_outputs_far_from_float_warn() -> None:
    (text,) = loss_warnings(report(sqnr_db={"logits": 5.5, "features": 31.0, "equal": None}))
    assert "logits 5.5 dB" in text and "features" not in text and "--evaluate" in text
    assert not loss_warnings(report(sqnr_db={"logits": 18.0}))


def test_a_limit_of_the_recipe_takes_the_place_of_the_usual_one() -> None:
    allowed = [LimitReport(limit="max_drop", allowed=20.0, found=11.2, kept=True)]
    assert not loss_warnings(report(accuracy=accuracy(61.4, 50.2, 8.9), acceptance=allowed))
    allowed = [LimitReport(limit="min_sqnr_db", allowed=3.0, found=5.5, kept=True)]
    assert not loss_warnings(report(sqnr_db={"logits": 5.5}, acceptance=allowed))


def test_untrained_weights_have_nothing_to_lose() -> None:
    assert not loss_warnings(report(trained=False, accuracy=accuracy(61.4, 50.2, 8.9), sqnr_db={"logits": 5.5}))
