"""Grids and Pareto fronts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.errors import UsageError
from n6convert.report.schema import PartialReport
from n6convert.sweeps.grid import expand, parse_axis
from n6convert.sweeps.results import PointResult, load_results, pareto, save_result, summarize


def test_every_combination_once_last_axis_fastest():
    points = expand("m", {"a": [1, 2], "b.c": ["x", "y"]}, {"weights": "seeded"})
    assert [dict(p.settings) for p in points] == [
        {"a": 1, "b.c": "x"}, {"a": 1, "b.c": "y"}, {"a": 2, "b.c": "x"}, {"a": 2, "b.c": "y"},
    ]  # fmt: skip
    assert len({p.key for p in points}) == 4
    assert points[1].label == "a 1, c y"


def test_keys_are_stable_and_depend_on_the_common_arguments():
    (one,) = expand("m", {"a": [1]}, {"weights": "seeded"})
    (same,) = expand("m", {"a": [1]}, {"weights": "seeded"})
    (other,) = expand("m", {"a": [1]}, {"weights": "x.pt"})
    assert one.key == same.key != other.key


def test_axis_values_are_yaml():
    assert parse_axis("options.imgsz=192, 256") == ("options.imgsz", [192, 256])
    assert parse_axis("quantization.ranges=mse,auto")[1] == ["mse", "auto"]


@pytest.mark.parametrize("text", ["", "a", "=1", "a="])
def test_a_broken_axis_says_how_it_must_look(text):
    with pytest.raises(UsageError, match="key=a,b"):
        parse_axis(text)


def test_limits():
    with pytest.raises(UsageError, match="no values"):
        expand("m", {"a": []}, {})
    with pytest.raises(UsageError, match="too large"):
        expand("m", {"a": list(range(40)), "b": list(range(40))}, {})


numbers = st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_pareto_keeps_what_nothing_beats(pairs):
    results = [PointResult(str(i), str(i), score=q, milliseconds=t) for i, (q, t) in enumerate(pairs)]
    front = pareto(results)
    assert front
    for r in results:
        beaten = any(
            o.score >= r.score
            and o.milliseconds <= r.milliseconds
            and (o.score, o.milliseconds) != (r.score, r.milliseconds)
            for o in results
        )
        assert (r in front) == (not beaten)


def test_results_survive_and_damaged_ones_count_as_missing(tmp_path):
    epochs = {"total": 10, "hw": 9, "hybrid": 0, "sw": 1}
    report = PartialReport.model_validate({
        "n6convert": "0", "model": "m", "name": "m", "target": "t", "weights": {"origin": "x"},
        "latency": {"milliseconds": 2.0, "low": 1.5, "high": 3.0},
        "memory": {"activations": 10, "weights": 20, "fits": True, "pools": []},
        "placement": {"after": {"offload": 0.9, "epochs": epochs}},
        "accuracy": {"metric": "AP", "float": 40.0, "int8": 39.5, "drop": 0.5, "samples": 1},
    })  # fmt: skip
    result = summarize("k1", "size 8", {"a": 8}, "out", report)
    save_result(tmp_path, result)
    (tmp_path / "k2.json").write_text('{"key": "k2", "la')
    assert load_results(tmp_path, ["k1", "k2", "k3"]) == {"k1": result}
    assert result.quality == 39.5
