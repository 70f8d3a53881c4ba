"""The answer first: moods at their borders, and cards that are absent where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.report.answer import Card, cards, notices
from n6convert.report.schema import PartialReport


def _cards(report: dict[str, Any]) -> dict[str, Card]:
    return {card.label: card for card in cards(PartialReport.model_validate(report))}


@pytest.mark.parametrize("section", ["memory", "placement", "latency"])
def test_what_is_not_known_has_no_card(report, section) -> None:
    whole = _cards(report)
    report[section] = None
    assert len(_cards(report)) == len(whole) - 1


@pytest.mark.parametrize(
    ("change", "value", "mood"),
    [({}, "fit on the chip", "good"), ({"external": 1}, "need external RAM", "bad"),
     ({"fits": False, "external": 1}, "do not fit", "bad")],
)  # fmt: skip
def test_where_activations_lie(report, change, value, mood) -> None:
    report["memory"] |= change
    card = _cards(report)["Activations"]
    assert (card.value, card.mood) == (value, mood)


@pytest.mark.parametrize(("hw", "mood"), [(8, "good"), (7, "")])
def test_all_on_the_npu_is_good(report, hw, mood) -> None:
    side = report["placement"]["after"]
    side["epochs"] |= {"hw": hw, "sw": 8 - hw}
    side["offload"] = hw / 8
    card = _cards(report)["On the NPU"]
    assert (card.value, card.mood) == (f"{100 * hw / 8:.1f} %", mood) and f"{hw} of 8 epochs" in card.detail


@pytest.mark.parametrize(("kept", "mood"), [(True, "good"), (False, "bad")])
def test_a_limit_of_the_time(report, kept, mood) -> None:
    assert _cards(report)["Time"].mood == ""
    report["acceptance"] = [{"limit": "max_milliseconds", "allowed": 2.5, "found": 0.8, "kept": kept}]
    card = _cards(report)["Time"]
    assert card.mood == mood and card.detail.endswith("; limit 2.5 ms") and card.detail.startswith("1,250 a second")


@pytest.mark.parametrize(
    ("drop", "interval", "mood"),
    [
        (0.5, [0.0, 1.0], "good"), (0.5, [0.0, 1.01], ""), (2.0, [1.01, 2.9], "bad"), (2.0, [1.0, 2.9], ""),
        (3.01, [0.5, 6.0], "bad"), (3.0, [0.5, 6.0], ""), (1.0, None, "good"), (1.01, None, "bad"),
    ],
)  # fmt: skip
def test_the_loss_is_judged_by_its_interval(report, drop, interval, mood) -> None:
    report["accuracy"] |= {"drop": drop, "interval": interval}
    (card,) = [c for c in cards(PartialReport.model_validate(report)) if "AP" in c.detail]
    assert card.mood == mood


@pytest.mark.parametrize(("drop", "half", "wanted"), [(0.5, 1.0, 4 * 64), (0.0, 2.0, 4 * 64), (0.5, 5.0, 100 * 64)])
def test_how_many_samples_would_tell(report, drop, half, wanted) -> None:
    """Intervals shrink with the root of the number: half over the room, squared."""
    report["accuracy"] |= {"drop": drop, "interval": [drop - half, drop + half]}
    (card,) = [c for c in cards(PartialReport.model_validate(report)) if "AP" in c.detail]
    number = int(card.detail.split("about ")[1].split(" would")[0].replace(",", ""))
    assert number == pytest.approx(wanted, rel=0.05)


def test_a_loss_at_the_limit_cannot_be_told(report) -> None:
    report["accuracy"] |= {"drop": 1.0, "interval": [0.0, 2.0]}
    (card,) = [c for c in cards(PartialReport.model_validate(report)) if "AP" in c.detail]
    assert card.detail.endswith(": too few to tell")


def test_broken_limits_come_before_warnings(report) -> None:
    report["acceptance"] = [
        {"limit": "max_drop", "allowed": 0.1, "found": 0.5, "kept": False},
        {"limit": "min_offload", "allowed": 0.9, "found": 1.0, "kept": True},
    ]
    assert notices(PartialReport.model_validate(report)) == [
        "Not accepted: max_drop allows 0.1, found 0.5.", "Calibration used only 8 samples.",
    ]  # fmt: skip
