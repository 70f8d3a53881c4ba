"""Points of a sweep one by one: in which order they start, and what becomes of those that fail."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import n6convert
from n6convert.errors import GraphError, ToolError
from n6convert.sweeps.grid import GridPoint, expand
from n6convert.sweeps.workers import _apart, convert_point, run_dask


def _points(count: int) -> list[GridPoint]:
    return expand("net", {"options.imgsz": list(range(count))}, {})


@settings(max_examples=60)
@given(count=st.integers(1, 60), workers=st.integers(1, 12))
def test_workers_begin_far_apart_and_every_point_is_run(count: int, workers: int) -> None:
    points = _points(count)
    order = [points.index(point) for point in _apart(points, workers)]
    assert sorted(order) == list(range(count))
    first = order[: min(workers, count)]
    size = -(-count // workers)
    assert all(b - a == size for a, b in zip(first, first[1:], strict=False) if b > a)
    if workers == 1:
        assert order == list(range(count))


@pytest.mark.parametrize(
    ("error", "words"),
    [(GraphError("the graph is odd", place="Conv_1"), "the graph is odd"),
     (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero; convert this point alone with --debug")],
)  # fmt: skip
def test_a_failure_is_a_result_that_says_why(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: str, **arguments: Any) -> None:
        raise error

    monkeypatch.setattr(n6convert, "convert", fail)
    point = _points(2)[1]
    result = convert_point(point)
    assert result.error is not None and words in result.error
    assert (result.key, result.label, dict(result.settings)) == (point.key, "imgsz 1", {"options.imgsz": 1})


def test_an_interruption_is_none_of_a_points_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(model: str, **arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(n6convert, "convert", stop)
    with pytest.raises(KeyboardInterrupt):
        convert_point(_points(1)[0])


def test_a_point_passes_its_settings_and_what_all_share(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def note(model: str, **arguments: Any) -> None:
        seen.update(arguments, model=model)
        raise GraphError("enough")

    monkeypatch.setattr(n6convert, "convert", note)
    convert_point(expand("net", {"options.imgsz": [64], "seed": [3]}, {"weights": "seeded", "cache": None})[0])
    assert seen == {"model": "net", "settings": {"options.imgsz": 64, "seed": 3}, "weights": "seeded", "cache": None}


# a cluster -----------------------------------------------------------------------------------------------------------


class _Cluster:
    """Answers as Dask's client does: the second point's workers die."""

    def __init__(self, address: str, timeout: str) -> None:
        if address == "nowhere":
            raise OSError("no route")
        self.submitted: list[dict[str, Any]] = []

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, function: Any, point: GridPoint, **options: Any) -> Any:
        self.submitted.append(options)
        dead = point.settings["options.imgsz"] == 1
        return SimpleNamespace(
            key=options["key"], status="error" if dead else "finished", result=lambda: f"done {point.label}",
            exception=lambda: "KilledWorker",
        )  # fmt: skip


@pytest.fixture
def dask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("distributed")
    module.Client = _Cluster  # type: ignore[attr-defined]
    module.as_completed = lambda futures: list(reversed(futures))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "distributed", module)
    yield


@pytest.mark.usefixtures("dask")
def test_a_dead_worker_costs_its_point_only() -> None:
    found = list(run_dask(_points(3), "tcp://here"))
    assert found[0] == "done imgsz 2" and found[2] == "done imgsz 0"
    assert found[1].label == "imgsz 1" and found[1].error == "the workers died: KilledWorker"


@pytest.mark.usefixtures("dask")
def test_a_scheduler_that_does_not_answer() -> None:
    with pytest.raises(ToolError, match="cannot be reached") as caught:
        list(run_dask(_points(1), "nowhere"))
    assert (caught.value.place, caught.value.found) == ("nowhere", "no route")


def test_without_dask_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match="not installed") as caught:
        list(run_dask(_points(1), "tcp://here"))
    assert "n6convert[dask]" in str(caught.value.remedy)
