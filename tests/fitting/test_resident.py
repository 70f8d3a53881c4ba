"""What a model needs of the board, from its report."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.errors import SourceError
from n6convert.fitting.resident import Resident
from n6convert.report.schema import PartialReport

EXPORTED = {
    "inputs": [{"name": "x", "shape": [1, 3, 8, 8], "dtype": "float32"}],
    "outputs": [
        {"name": "y", "shape": [1, 10], "dtype": "float32"},
        {"name": "z", "shape": [1, 2, 3], "dtype": "float32"},
    ],
}


def _stage(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "seconds": 1.0, "cached": False, "facts": facts}


def _report(**change: Any) -> PartialReport:
    pools = [
        {"name": "npuRAM5", "size": 1000, "used": 400, "activations": 400},
        {"name": "octoFlash", "size": 9000, "used": 700, "activations": 0, "weights": 700},
        {"name": "hyperRAM", "size": 9000, "used": 30, "activations": 30, "external": True},
    ]
    content = {
        "n6convert": "0", "name": "net", "model": "net", "target": "stm32n6570-dk@4.0", "weights": {"origin": "x"},
        "memory": {"weights": 700, "tables": 55, "activations": 430, "missing": 8, "fits": False, "pools": pools},
        "latency": {"milliseconds": 2.0, "low": 1.5, "high": 3.0},
        "recipe": {}, "stages": [_stage("export", EXPORTED)],
    }  # fmt: skip
    return PartialReport.model_validate(content | change)


def test_pools_weights_and_times() -> None:
    found = Resident.of(_report())
    assert found.arena == {"npuRAM5": 400, "hyperRAM": 30}, "flash holds no activations"
    assert (found.weights, found.tables, found.missing, found.activations) == (755, {"tables": 55}, 8, 438)
    assert (found.milliseconds, found.low, found.high) == (2.0, 1.5, 3.0)
    assert found.inputs == ((1, 3, 8, 8),) and found.target == "stm32n6570-dk@4.0"


@pytest.mark.parametrize(
    ("package", "size"), [({}, 16), ({"output_type": "float32"}, 64), ({"output_type": "uint8"}, 16)]
)
def test_results_are_counted_in_the_packages_type(package: dict[str, str], size: int) -> None:
    """10 and 6 values."""
    assert Resident.of(_report(recipe={"package": package})).results == size


def test_tables_that_the_package_tells_apart() -> None:
    stage = _stage("package", {"flash_tables": {"a.bin": 30, "b.bin": 25}})
    assert Resident.of(_report(stages=[stage])).tables == {"a.bin": 30, "b.bin": 25}


@pytest.mark.parametrize("section", ["memory", "latency"])
def test_a_report_without_prediction_is_refused(section: str) -> None:
    with pytest.raises(SourceError, match="no predicted memory and time") as caught:
        Resident.of(_report(**{section: None}))
    assert caught.value.place == "net" and caught.value.remedy
