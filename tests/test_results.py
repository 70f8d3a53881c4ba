"""The report's schema is published, current, and what real reports keep to."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from n6convert.acceptance import judge, rejection
from n6convert.recipe import Acceptance, Recipe
from n6convert.results import Accuracy, Placement, Report, WeightsReport, report_schema


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
        ({"min_offload": 0.9}, {"placement": Placement(after={"offload": 0.91})}, True),
        ({"min_offload": 0.9}, {"placement": Placement(after={"offload": 0.89})}, False),
        ({"max_milliseconds": 10}, {"latency": {"milliseconds": 10.5}}, False),
        ({"must_fit_internal": True}, {"memory": {"external": 0, "fits": True}}, True),
        ({"must_fit_internal": True}, {"memory": {"external": 8, "fits": True}}, False),
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
