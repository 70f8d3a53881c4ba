"""Sections of the report are written as they were given: keys, order, whole numbers, and what nobody knows yet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from n6convert.results.section import PLACES
from n6convert.results.sections import EpochCounts, Latency, LongEpoch, Memory, OperatorPlace, Quantization, Side

OPERATOR = {"name": "c", "op": "Conv", "where": "hw", "epoch": 3, "reason": "fits"}
MEMORY = {"pools": [], "weights": 1, "activations": 2, "fits": True}


@pytest.mark.parametrize(("kind", "given"), [
    (OperatorPlace, OPERATOR),
    (OperatorPlace, {"epoch": 0, "reason": "", "where": "sw", "op": "", "name": "ü", "microseconds": 1.5}),
    (Memory, MEMORY | {"buffers": [{"name": "b", "bytes": 1, "first": 0, "last": 2}], "future": {"a": [1]}}),
    (Latency, {"milliseconds": 3, "bottlenecks": {"levers": [{"name": "n", "gain": 1, "how": "h"}], "longest": []}}),
    (Quantization, {"worst": [{"sqnr_db": 3.5, "name": "t"}], "ranges": {"mse": 2}}),
    (Side, {"epochs": {"total": 2, "hw": 1, "hybrid": 0, "sw": 1}, "offload": 0.5, "edges": [[0, 1], [1, -1]]}),
])  # fmt: skip
def test_the_same_keys_in_the_same_order_nothing_added(kind: Any, given: dict[str, Any]) -> None:
    made = kind.model_validate(given)
    assert json.dumps(made.model_dump(mode="json")) == json.dumps(given)
    assert json.dumps(kind.model_validate_json(json.dumps(given)).model_dump(mode="json")) == json.dumps(given)


def test_values_are_attributes_and_items() -> None:
    made = Memory.model_validate(MEMORY | {"future": 7})
    assert (made.weights, made["weights"], made.get("weights")) == (1, 1, 1) and made["future"] == 7
    assert (
        made.external == 0 and "external" not in made and made.get("external") is None and made.get("external", 5) == 5
    )
    assert "future" in made and "nowhere" not in made
    for key in ("external", "nowhere"):
        with pytest.raises(KeyError):
            made[key]


def test_sections_cannot_be_changed() -> None:
    made = OperatorPlace.model_validate(OPERATOR)
    with pytest.raises(ValidationError):
        made.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("where", "read"), [*((p, p) for p in PLACES), ("moon", "none"), (3, "none"), (None, "none")])
def test_a_place_that_nobody_knows_is_no_work(where: object, read: str) -> None:
    assert OperatorPlace.model_validate(OPERATOR | {"where": where}).where == read


@pytest.mark.parametrize("change", [
    {"total": 1.0}, {"total": "1"}, {"total": True}, {"hw": None}, {"hw": 1 << 54}, {"sw": -(1 << 54)},
])  # fmt: skip
def test_counts_are_whole_numbers_of_a_possible_size(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EpochCounts.model_validate({"total": 1, "hw": 1, "hybrid": 0, "sw": 0} | change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "3", None, 1e300])
def test_numbers_are_finite(value: object) -> None:
    with pytest.raises(ValidationError):
        Latency.model_validate({"milliseconds": value})


@pytest.mark.parametrize(("epoch", "fine"), [(-1, True), (0, True), (-2, False), (1.5, False)])
def test_epochs_count_from_zero_or_are_none(epoch: object, fine: bool) -> None:
    given = {"epoch": epoch, "operators": "Conv", "bound": "macs", "milliseconds": 1, "share": 0.5}
    if fine:
        assert LongEpoch.model_validate(given).epoch == epoch
    else:
        with pytest.raises(ValidationError):
            LongEpoch.model_validate(given)


def test_a_section_made_of_attributes_has_no_keys() -> None:
    """Only what a file said is written again: defaults stay out."""
    assert Memory(**MEMORY).model_dump() == MEMORY
