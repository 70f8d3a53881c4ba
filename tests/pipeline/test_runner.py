"""Stages in order: found again under their key, made where anything differs, named where they fail."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx_ir as ir
import pytest
from onnx_text import parsed

from n6convert.errors import GraphError
from n6convert.pipeline import runner
from n6convert.pipeline.artifact import MODEL_FILE, Artifact, StageResult
from n6convert.pipeline.early import independent
from n6convert.pipeline.runner import STAGES, execute, run_stages
from n6convert.pipeline.stages.base import Stage
from n6convert.runtime import aside
from n6convert.store.cache import Cache, Entry


class Made(Stage):
    """A stage that writes down what it saw."""

    def __init__(self, name: str, inputs: tuple[str, ...] = (), **more: Any) -> None:
        self.name, self.inputs = name, inputs  # type: ignore[misc]
        self.improves = more.get("improves")  # type: ignore[misc]
        self.model, self.on, self.choices = more.get("model"), more.get("on", True), {"choice": 0}
        self.times, self.saw, self.fails = 0, {}, more.get("fails")

    def wanted(self, run: Any) -> bool:
        return bool(self.on)

    def parameters(self, run: Any) -> dict[str, Any]:
        return self.choices

    def make(self, run: Any, inputs: Any) -> StageResult:
        self.times += 1
        self.saw = {name: artifact.stage for name, artifact in inputs.items()}
        if self.fails:
            raise self.fails
        run.progress("step", 1, 2)
        (run.workspace / "aside").write_text("copied")
        return StageResult({"made": self.name}, self.model, {"in/text": b"bytes", "copy": run.workspace / "aside"})


@pytest.fixture
def run(tmp_path: Path) -> Any:
    told: list[tuple[str, int, int | None]] = []
    return SimpleNamespace(
        cache=Cache(tmp_path / "cache"), artifacts={}, found={}, ending=ExitStack(), code="1", workspace=None,
        told=told, progress=lambda *words: told.append(words),  # type: ignore[func-returns-value]
    )  # fmt: skip


def net() -> ir.Model:
    return parsed("y = Relu(x)", "float[1,4] x", "float[] y")


def test_every_file_and_fact_of_a_stage_is_kept(run: Any) -> None:
    found = execute(Made("one", model=net()), run)
    assert found.facts == {"made": "one"} and found.model_path == found.entry.folder / MODEL_FILE
    assert set(found.entry.files) == {MODEL_FILE, "in/text", "copy"}
    assert (found.entry.folder / "copy").read_text() == "copied" and [n.op_type for n in found.load().graph] == ["Relu"]
    assert run.workspace is not None and not run.workspace.exists(), "scratch is gone"


def test_a_result_is_made_once_and_found_again(run: Any) -> None:
    stage = Made("one")
    first, second = execute(stage, run), execute(stage, run)
    assert stage.times == 1 and not first.entry.reused and second.entry.reused
    assert (first.key, first.identity) == (second.key, second.identity)
    run.cache.reuse = False
    assert execute(stage, run).key == first.key and stage.times == 2


@pytest.mark.parametrize("change", ["parameters", "code", "input", "facts of an input", "damage"])
def test_it_is_made_again_where_anything_differs(change: str, run: Any) -> None:
    source, stage = Made("source", model=net()), Made("one", ("source",))
    run.artifacts["source"] = execute(source, run)
    before = execute(stage, run)
    if change == "parameters":
        stage.choices = {"choice": 1}
    elif change == "code":
        run.code = "2"
    elif change == "damage":
        (before.entry.folder / "in/text").write_bytes(b"other")
    else:
        old = run.artifacts["source"].entry
        files = old.files | {"new": "hash"} if change == "input" else old.files
        facts = old.facts | {"more": 1} if change == "facts of an input" else old.facts
        run.artifacts["source"] = Artifact("source", "key", Entry(old.folder, facts, files, 1.0))
    after = execute(stage, run)
    assert stage.times == 2 and not after.entry.reused and (after.key == before.key) == (change == "damage")


def test_the_folder_of_an_input_decides_nothing(run: Any) -> None:
    stage = Made("one", ("source",))
    run.artifacts["source"] = execute(Made("source"), run)
    execute(stage, run)
    old = run.artifacts["source"].entry
    run.artifacts["source"] = Artifact("source", "another key", Entry(Path("elsewhere"), old.facts, old.files, 99.0))
    assert execute(stage, run).entry.reused


def test_stages_run_in_order_with_their_names_before_each_step(run: Any) -> None:
    run_stages(run, [Made("one"), Made("off", on=False), Made("two", ("one",))])
    assert run.told == [("one", 0, 2), ("one: step", 1, 2), ("two", 1, 2), ("two: step", 1, 2)]
    assert list(run.artifacts) == ["one", "two"]


def test_a_stage_reads_what_improved_its_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base, better, last = Made("base"), Made("better", ("base",), improves="base"), Made("last", ("base",))
    monkeypatch.setattr(runner, "STAGES", (base, better, last))
    run_stages(run, [base, better, last])
    assert better.saw == {"base": "base"} and last.saw == {"base": "better"}


@pytest.mark.parametrize(("stage", "told"), [(None, "one"), ("inner", "inner")])
def test_an_error_says_in_which_stage(stage: str | None, told: str, run: Any) -> None:
    before, error = run.progress, GraphError("it is wrong", stage=stage)
    with pytest.raises(GraphError) as caught:
        run_stages(run, [Made("zero"), Made("one", fails=error)])
    assert caught.value is error and error.stage == told and run.progress is before
    assert "zero" in run.artifacts and "one" not in run.artifacts
    with pytest.raises(ZeroDivisionError):
        execute(Made("one", fails=ZeroDivisionError()), run)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("copies are made by fork on Linux")
    monkeypatch.setattr(aside, "_own", True)
    monkeypatch.setenv("N6CONVERT_THREADS", "2")


def test_stages_that_do_not_read_each_other_are_neighbors_in_one_group() -> None:
    base, better, a, b = Made("base"), Made("better", ("base",), improves="base"), Made("a", ("base",)), Made("b")
    assert independent([base, better, a, b]) == [[base], [better], [a, b]]
    names = [[stage.name for stage in group] for group in independent(STAGES)]
    assert ["lint", "estimate", "evaluate"] in names and sum(map(len, names)) == len(STAGES)


def test_such_stages_are_made_side_by_side(run: Any, two_cores: None) -> None:
    base, here = Made("base"), Made("here", ("base",))
    others = [Made(name, ("base",), model=net()) for name in ("first", "second")]
    run_stages(run, [base, *others, here])
    assert [s.times for s in (base, *others, here)] == [1, 0, 0, 1], "made in a copy of this process"
    assert all(run.artifacts[s.name].facts == {"made": s.name} for s in others)
    assert not run.artifacts["first"].entry.reused and execute(others[0], run).entry.reused
    assert [w for w, *_ in run.told] == ["base", "base: step", "first", "second", "here", "here: step"]
    run.told.clear()
    run_stages(run, [base, *others, here])
    assert [w for w, *_ in run.told] == ["base", "first", "second", "here"] and here.times == 1


@pytest.mark.parametrize("fails", [None, ZeroDivisionError()])
def test_what_stages_wait_for_is_begun_before_the_first_and_ended(run: Any, two_cores: None, fails: Any) -> None:
    told: list[str] = []
    first, second = Made("first"), Made("second", ("first",), fails=fails)
    second.begin = lambda run: (told.append(f"begun {first.times}"), run.ending.callback(told.append, "ended"))
    with nullcontext() if fails is None else pytest.raises(ZeroDivisionError):
        run_stages(run, [first, second])
    assert told == ["begun 0", "ended"] and second.times == 1
    run_stages(run, [first])
    assert len(told) == 2, "nothing is begun where the first stage is there"


def test_a_stage_is_looked_up_once_a_turn(run: Any, two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    parameters = Made.parameters
    monkeypatch.setattr(Made, "parameters", lambda stage, run: asked.append(stage.name) or parameters(stage, run))
    stages = [Made("base"), Made("first", ("base",)), Made("second", ("base",))]
    run_stages(run, stages)
    assert asked == ["base", "second"], "the first one in a copy of this process"
    asked.clear()
    run_stages(run, stages)
    assert sorted(asked) == ["base", "first", "second"] and not run.found


def test_errors_of_stages_side_by_side_come_in_their_order(run: Any, two_cores: None) -> None:
    errors = [GraphError(name) for name in ("first", "here")]
    stages = [Made(n, ("base",), fails=e) for n, e in zip(("first", "here"), errors, strict=True)]
    with pytest.raises(GraphError) as caught:
        run_stages(run, [Made("base"), *stages])
    assert caught.value is errors[0] and errors[0].stage == "first"
    stages[0].fails = None
    with pytest.raises(GraphError) as caught:
        run_stages(run, [Made("base"), *stages])
    assert caught.value is errors[1] and "first" in run.artifacts


class Early(Made):
    """A stage that does a part of its work before."""

    early_inputs = ("base",)

    def early(self, run: Any, inputs: Any) -> Any:
        if self.fails:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid(), inputs["base"].facts

    def make(self, run: Any, inputs: Any) -> StageResult:
        self.times, self.saw = self.times + 1, run.early(self.name)
        return StageResult({})


@pytest.mark.parametrize("killed", [False, True])
def test_a_stage_finds_what_was_done_of_its_work(killed: bool, run: Any, two_cores: None) -> None:
    last = Early("last", ("base", "middle"), fails=killed)
    stages = [Made("base"), Made("middle", ("base",)), last]
    run_stages(run, stages)
    assert last.times == 1 and (last.saw is None) == killed
    assert killed or (last.saw[0] != os.getpid() and last.saw[1] == {"made": "base"})
    last.choices = {"choice": 1}
    run_stages(run, stages)
    assert last.times == 2 and last.saw is None, "nothing in between was to be made"


def test_a_group_s_copy_does_early_work_of_later_stages(run: Any, two_cores: None) -> None:
    last = Early("last", ("base", "first", "here"))
    run_stages(run, [Made("base"), Made("first", ("base",)), Made("here", ("base",)), last])
    assert last.saw is not None and last.saw[0] != os.getpid() and last.saw[1] == {"made": "base"}


def test_the_real_stages_read_only_what_ran_before() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(STAGES):
        assert set(stage.inputs) <= set(names[:position]), stage.name
        assert stage.improves is None or stage.improves in stage.inputs
        assert set(stage.early_inputs) <= set(stage.inputs)
        assert (type(stage).__doc__ or "").strip()
