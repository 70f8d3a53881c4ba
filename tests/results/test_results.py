"""The report's schema is published, current, and what real reports keep to."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest
from pydantic import ValidationError

from n6convert.pipeline.reporting import now
from n6convert.recipe.schema import Acceptance, Recipe
from n6convert.results import Accuracy, Placement, Report, StageReport, WeightsReport, report_schema
from n6convert.results.acceptance import judge, rejection


def report(**sections: object) -> Report:
    weights = WeightsReport(kind="seeded", origin="seeded(0)", trained=False)
    return Report(
        n6convert="0",
        status="accepted",
        model="m",
        name="m",
        target="t",
        weights=weights,
        recipe={},
        stages=[],
        **sections,  # type: ignore[arg-type]
    )


MEMORY = {"pools": [], "weights": 1, "activations": 1, "fits": True, "external": 0}


def placement(offload: float) -> Placement:
    return Placement(after={"epochs": {"total": 1, "hw": 1, "hybrid": 0, "sw": 0}, "offload": offload})  # type: ignore[arg-type]


def accuracy(drop: float) -> Accuracy:
    return Accuracy(metric="AP", float=40.0, int8=40.0 - drop, drop=drop, samples=9)  # type: ignore[call-arg]


def test_published_schema_is_current() -> None:
    published = json.loads((files("n6convert") / "schemas" / "report.schema.json").read_text())
    assert published == report_schema()


def test_float_keeps_its_name_in_json() -> None:
    content = report(accuracy=accuracy(0.5)).model_dump(mode="json", by_alias=True)
    assert content["accuracy"]["float"] == 40.0
    assert Report.model_validate(content).accuracy == accuracy(0.5)


@pytest.mark.parametrize(
    ("limit", "section", "kept"),
    [
        ({"max_drop": 1.0}, {"accuracy": accuracy(0.9)}, True),
        ({"max_drop": 1.0}, {"accuracy": accuracy(1.1)}, False),
        ({"max_drop": 1.0}, {}, False),
        ({"min_sqnr_db": 20}, {"sqnr_db": {"a": 30.0, "b": 19.0}}, False),
        ({"min_sqnr_db": 20}, {"sqnr_db": {"a": 30.0, "b": None}}, True),
        ({"min_sqnr_db": 20}, {"sqnr_db": {"b": None}}, True),
        ({"min_sqnr_db": 20}, {}, False),
        ({"min_offload": 0.9}, {"placement": placement(0.91)}, True),
        ({"min_offload": 0.9}, {"placement": placement(0.89)}, False),
        ({"max_milliseconds": 10}, {"latency": {"milliseconds": 10.5}}, False),
        ({"must_fit_internal": True}, {"memory": MEMORY}, True),
        ({"must_fit_internal": True}, {"memory": {**MEMORY, "external": 8}}, False),
    ],
)
def test_limits(limit: dict[str, float], section: dict[str, object], kept: bool) -> None:
    recipe = Recipe(model="m", acceptance=Acceptance(**limit))  # type: ignore[arg-type]
    judged = judge(recipe, report(**section))
    assert [entry.kept for entry in judged] == [kept]
    broken = report(**section).model_copy(update={"acceptance": judged})
    assert (next(iter(limit)) in str(rejection(broken, "there"))) is not kept


def test_no_limits_no_judgement() -> None:
    assert judge(Recipe(model="m"), report()) == []


def test_sections_are_written_as_they_were_given() -> None:
    """Same keys in the same order, whole numbers whole, unknown keys kept, nothing added."""
    latency = {"high": 3, "milliseconds": 2.0, "later": {"b": 1, "a": [1, 2.5]}, "low": 1, "parts": {"z": 1, "a": 2.0}}
    after = {"offload": 1, "epochs": {"sw": 0, "hw": 1, "total": 1, "hybrid": 0}, "sw_ops": {}, "schema": 3}
    facts = {"nodes": 3, "schema": "x", "outputs": [{"shape": [1], "name": "y", "type": "float32"}]}
    made = report(
        latency=latency,
        placement={"before": None, "after": after},
        rewrites={"applied": [], "why": {}},
        lint=[{"severity": "info", "rule": "r", "node": None, "found": "f", "remedy": "m"}],
    ).model_copy(update={"stages": [StageReport(name="export", seconds=1, cached=False, facts=facts)]})  # type: ignore[arg-type]
    content = made.to_dict()
    assert json.dumps(content["latency"]) == json.dumps(latency)
    assert json.dumps(content["placement"]) == json.dumps({"before": None, "after": after})
    assert json.dumps(content["stages"][0]["facts"]) == json.dumps(facts)
    assert json.dumps(content["rewrites"]) == json.dumps({"applied": [], "why": {}}) and content["quantization"] == {}
    assert content["lint"][0]["node"] is None and list(content["lint"][0])[0] == "severity"
    assert json.dumps(Report.model_validate(content).to_dict()) == json.dumps(content)


def test_values_are_attributes_and_items() -> None:
    made = report(latency={"milliseconds": 2.5, "later": 1})
    assert made.latency is not None and made.latency.milliseconds == made.latency["milliseconds"] == 2.5
    assert made.latency["later"] == made.latency.get("later") == 1 and made.latency.get("low", 7) == 7
    assert made.latency.low == 0.0 and "low" not in made.latency and "later" in made.latency
    with pytest.raises(KeyError):
        made.latency["low"]
    with pytest.raises(ValidationError):
        report(latency={"milliseconds": "2.5"})


@pytest.mark.parametrize(("given", "said"), [("86400", "1970-01-02 00:00 UTC"), ("", None), ("soon", None)])
def test_the_date_of_a_run_can_be_given(monkeypatch, given, said) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    found = now()
    assert found == said if said else re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", found)
