"""The card's front matter: read as a model hub reads it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from n6convert.package.front_matter import front_matter
from n6convert.report.schema import PartialReport

COMMIT = "6c8612545dc98676d27bc518fa521d9e9af23e34"
REPORT: dict[str, Any] = {
    "model": "mobilevit-s", "name": "mobilevit-s", "recipe": {"evaluation": {"source": "data/flowers.csv"}},
    "weights": {"origin": f"apple/mobilevit-small@{COMMIT}", "trained": True, "license": "Apache-2.0 (somebody)"},
    "accuracy": {"metric": "top-1 accuracy", "float": 78.4, "int8": 77.123456, "drop": 1.28, "samples": 64},
}  # fmt: skip


def read(report: dict[str, Any], kind: str = "image") -> dict[str, Any]:
    common = {"n6convert": "0", "name": "net", "target": "t"}
    text = front_matter(PartialReport.model_validate(common | report), kind)
    assert text.startswith("---\n") and text.endswith("---\n")
    return dict(yaml.safe_load(text.strip("-\n")))


def test_measured_figures_and_the_base_model() -> None:
    facts = read(REPORT)
    assert (facts["license"], facts["pipeline_tag"]) == ("apache-2.0", "image-classification")
    assert (facts["base_model"], facts["base_model_relation"]) == ("apple/mobilevit-small", "quantized")
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"] == {"name": "flowers.csv, 64 samples", "type": "flowers"}
    assert [(m["type"], m["name"], m["value"]) for m in result["metrics"]] == [
        ("top-1-accuracy", "top-1 accuracy (INT8)", 77.1235), ("top-1-accuracy", "top-1 accuracy (float)", 78.4),
    ]  # fmt: skip
    assert read(REPORT, "text")["pipeline_tag"] == "text-classification"


@pytest.mark.parametrize(
    ("metric", "task"), [("box AP 50:95", "object-detection"), ("keypoint AP 50:95", "keypoint-detection")]
)
def test_tasks_by_metric(metric: str, task: str) -> None:
    assert read(REPORT | {"accuracy": REPORT["accuracy"] | {"metric": metric}})["pipeline_tag"] == task


def test_what_is_not_known_is_not_said() -> None:
    bare = {"model": "net", "weights": {"origin": "mine.pt", "license": None}, "recipe": {}, "accuracy": None}
    facts = read(bare, "arrays")
    assert facts["license"] == "other" and not {"model-index", "base_model", "pipeline_tag"} & facts.keys()
    assert "model-index" not in read(REPORT | {"recipe": {"evaluation": {"source": None}}}), "no labels were given"


def test_hostile_names_stay_text() -> None:
    hostile = "x\n---\nlicense: mit"
    facts = read(REPORT | {"name": hostile, "recipe": {"evaluation": {"source": f"{hostile}.csv"}}})
    assert facts["license"] == "apache-2.0" and facts["model-index"][0]["name"] == hostile
