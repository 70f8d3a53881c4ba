"""The model card: every figure from the report, nothing where nothing is known, names that cannot break the page."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.package.card import card_text
from n6convert.package.ports import Port
from n6convert.report.schema import PartialReport

IN = Port("image", (1, 3, 8, 6), 0.5, -3, True, "uint8")
OUT = Port("scores", (1, 10), 1.0, 0, False, "float32", grid=0.25)


def _report(**change: Any) -> PartialReport:
    content = {
        "n6convert": "0", "name": "net", "model": "net", "target": "stm32n6570-dk@4.0",
        "weights": {"kind": "file", "origin": "net.pt", "trained": True, "license": "MIT"},
        "latency": {"milliseconds": 2.0, "low": 1.5, "high": 3.0},
        "accuracy": {"metric": "top-1", "unit": "", "float": 70.0, "int8": 69.25, "drop": 0.75, "samples": 500},
        "memory": {"weights": 2048, "activations": 0, "fits": True, "pools": []},
        "recipe": {"evaluation": {"source": "/home/me/val/labels.csv"}}, "stages": [],
    }  # fmt: skip
    return PartialReport.model_validate(content | change)


def _card(report: PartialReport, **more: Any) -> str:
    return card_text(report, [IN], [OUT], {"net.onnx": "the model", "a.bin": "a table"}, **more)


def test_figures_of_the_report() -> None:
    card = _card(_report())
    assert "| time (predicted) | 2.00 ms (1.50 to 3.00) |" in card
    assert "(measured on 500 samples) | float 70.00, INT8 69.25, drop 0.75 |" in card
    assert "2 KiB of weights |" in card and "Untrained" not in card
    assert "3 KiB of tables" in _card(_report(), tables=3072)


@pytest.mark.parametrize(
    ("section", "word"), [("latency", "time (predicted)"), ("memory", "flash"), ("accuracy", "drop")]
)
def test_what_is_not_known_is_not_said(section: str, word: str) -> None:
    assert word in _card(_report()) and word not in _card(_report(**{section: None}))


def test_buffers_as_firmware_sees_them() -> None:
    """Channel-last on the board; a buffer of floats needs no grid."""
    card = _card(_report())
    assert "| in `image` | uint8 1x8x6x3 | 0.5 * (q - -3) |" in card
    assert "| out `scores` | float32 1x10 | as it is |" in card


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"kind": "file", "origin": "a.pt", "trained": True, "license": "MIT"}, "weights: MIT"),
        ({"kind": "seeded", "origin": "seed 0", "trained": False}, "random numbers drawn by n6convert"),
        ({"kind": "file", "origin": "a.pt", "trained": True}, "n6convert does not know their license"),
    ],
)
def test_whose_weights_they_are(weights: dict[str, Any], words: str) -> None:
    card = _card(_report(weights=weights))
    assert words in card and ("Untrained" in card) is not weights["trained"]


def test_a_published_family_may_bind_what_came_from_it() -> None:
    unknown = {"kind": "file", "origin": "a.pt", "trained": True}
    assert "AGPL-3.0" in _card(_report(weights=unknown), published="AGPL-3.0")
    assert "AGPL-3.0" not in _card(_report(), published="AGPL-3.0"), "these weights state their own"


def test_paths_of_the_users_machine_stay_there() -> None:
    card = _card(_report())
    assert "500 samples of labels.csv" in card and "/home/me" not in card


def test_names_stay_text() -> None:
    hostile = "a|b <img src=x> `c`\n# d"
    card = _card(_report(model=hostile, name=hostile))
    assert "<img" not in card and "\n# d" not in card
    assert card_text(_report(), [], [], {hostile: "x"}).count("\n# ") == 0


def test_every_file_and_camera_note_has_a_line() -> None:
    card = _card(_report(), camera=["rows of 18 bytes"])
    assert "* `net.onnx`: the model" in card and "* `a.bin`: a table" in card
    assert "## Camera\n\n* rows of 18 bytes" in card and "## Camera" not in _card(_report())
