"""The first table of the page, and the card of the loss."""

from __future__ import annotations

import re

import pytest

from n6convert.report.answer import cards
from n6convert.report.facts import method_facts, run_facts
from n6convert.report.four_bits import four_bits
from n6convert.report.schema import PartialReport
from n6convert.report.svg import scale
from n6convert.results.sections import FourBits


def test_what_was_run_is_said_first(report) -> None:
    report["stages"][0]["facts"] = {"inputs": [{"name": "image", "shape": [1, 3, 64, 64]}]}
    report["calibration"] = {"source": "images", "calibration": [{}] * 60, "held_back": [{}] * 4}
    report["quantization"]["methods"] = [{"method": "ranges: mse", "kept": True}, {"method": "gates", "kept": False}]
    report["quantization"]["methods_not_promising"] = [{"method": "rounding", "most_db": 0.2}]
    report["made"] = "2026-01-02 03:04 UTC"
    facts = dict(run_facts(PartialReport.model_validate(report)))
    assert facts["made"] == "2026-01-02 03:04 UTC, n6convert 0.1.0"
    assert facts["input"] == "image 1x3x64x64"
    assert facts["calibration"] == "60 samples of images, 4 more held back to judge methods"
    methods = dict(method_facts(PartialReport.model_validate(report)))
    assert methods == {
        "accuracy methods": "ranges: mse",
        "tried without gain": "gates",
        "left out": "rounding (at most +0.20 dB)",
    }


@pytest.mark.parametrize(
    ("drop", "interval", "mood", "words"),
    [
        (0.2, (-0.3, 0.7), "good", "measured"),
        (0.2, (-2.1, 2.1), "", "about 440 would do"),
        (5.0, (4.0, 6.0), "bad", "measured"),
        (1.0, (-0.5, 2.5), "", "too few to tell"),
        (0.4, None, "good", "measured"),
    ],
)
def test_the_loss_is_colored_by_its_interval(report, drop, interval, mood, words) -> None:
    report["accuracy"] |= {"drop": drop, "interval": interval}
    card = next(c for c in cards(PartialReport.model_validate(report)) if c.label == "INT8 costs")
    assert card.mood == mood and words in card.detail
    assert ("±" in card.value) == (interval is not None)


def test_frames_a_second_stand_beside_the_time(report) -> None:
    assert "1,250 a second" in next(c for c in cards(PartialReport.model_validate(report)) if c.label == "Time").detail


@pytest.mark.parametrize(("kept", "mood"), [(True, "good"), (False, "bad")])
def test_the_limit_of_the_time_stands_beside_it(report, kept, mood) -> None:
    report["acceptance"] = [{"limit": "max_milliseconds", "allowed": 15, "found": 0.8, "kept": kept}]
    card = next(c for c in cards(PartialReport.model_validate(report)) if c.label == "Time")
    assert card.mood == mood and "limit 15 ms" in card.detail


@pytest.mark.parametrize(("whole", "marks"), [(16.0, ["0 ms", "2"]), (0.9, ["0 ms", "0.2"]), (240, ["0 ms", "50"])])
def test_an_axis_has_round_steps(whole, marks) -> None:
    assert re.findall(r">([^<>]+)</span>", scale(whole, "ms", "time"))[:2] == marks


def test_the_curve_of_four_bits_is_drawn_with_what_was_chosen() -> None:
    curve = [
        {"layers": n, "weight_bytes": 4096 - 512 * n, "milliseconds": 5.0 - n / 2, "closeness_db": 40.0 - 3 * n}
        for n in range(4)
    ]
    shown = four_bits(FourBits.model_validate({"layers": ["a", "b"], "of": 3, "bytes_saved": 1024, "curve": curve}))
    assert shown is not None
    assert "2 of 3 layers" in shown.summary and "1 KiB" in shown.summary
    assert shown.rows[2].layers == "2 (chosen)" and shown.rows[2].milliseconds == "4.00"
    assert shown.svg.count("<circle") == 4 and shown.svg.count('class="hw"') == 1
    assert four_bits(None) is four_bits(FourBits()) is None


def test_the_curve_of_four_bits_says_what_labels_saw() -> None:
    plain = {"layers": 2, "weight_bytes": 3072, "closeness_db": 30.0, "drop": 0.754, "labels": 29}
    curve = [plain, {"layers": 2, "weight_bytes": 3072, "closeness_db": 34.0, "refined": True}]
    shown = four_bits(FourBits.model_validate({"layers": ["a", "b"], "of": 3, "curve": curve}))
    assert shown is not None
    assert [row.layers for row in shown.rows] == ["2", "2 (chosen)"], "the refined one was taken"
    assert [row.lost for row in shown.rows] == ["0.75 points on 29 samples", ""]
