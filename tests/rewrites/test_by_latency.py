"""Rules weighed by time: against all subsets tried by brute force, on predictors that are made up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.errors import GraphError
from n6convert.rewrites import by_latency
from n6convert.rewrites.by_latency import Weighed, predicted_milliseconds, weigh
from n6convert.rewrites.rule import Rewrite
from n6convert.rewrites.trial import Applied, Refused, Run

NAMES = "abcd"


def named(name: str, housekeeping: bool = False) -> Rewrite[Any]:
    """A rule of that name; nothing of it runs here."""
    body = {"name": name, "roots": frozenset(), "housekeeping": housekeeping, "pattern": None, "replace": None}
    return type(name, (Rewrite,), body)()


def graph(ops: Sequence[str] = ("Relu",)) -> ir.Model:
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    return ir.Model(ir.Graph([x], [], nodes=[ir.node(op, [x]) for op in ops]), ir_version=8)


class World:
    """Runs whose time is a function of the rules that ran and the forms that were chosen."""

    def __init__(
        self, time: Callable[[frozenset[str], Mapping[Any, str]], float], options: Any = None, used: str = NAMES
    ) -> None:
        self.time, self.options, self.used, self.trials = time, options or {}, used, 0
        self.start = graph()
        self.times: dict[int, float] = {}
        self.kept: list[ir.Model] = []

    def trial(self, rules: Sequence[Rewrite[Any]], resume: Any, forms: Any) -> Run:
        self.trials += 1
        ran = frozenset(r.name for r in rules)
        model = graph()
        self.kept.append(model)
        self.times[id(model)] = self.time(ran, dict(forms))
        return Run(model, [Applied(n, "p") for n in sorted(ran) if n in self.used], options=dict(self.options))

    def timer(self, model: ir.Model) -> float:
        return 10.0 if model is self.start else self.times[id(model)]

    def weigh(self, *rules: Rewrite[Any]) -> Weighed:
        return weigh(self.start, rules or [named(n) for n in NAMES], self.trial, self.timer)


@given(st.lists(st.sampled_from([-3, -1, -0.25, 0.25, 1, 2]), min_size=4, max_size=4))
def test_rules_that_help_by_themselves_are_just_those_that_are_kept(gains: list[float]) -> None:
    """Without interaction the best of all sixteen subsets is found."""
    gain = dict(zip(NAMES, gains, strict=True))
    world = World(lambda ran, forms: 20 - sum(gain[n] for n in ran))
    found = world.weigh()
    subsets = itertools.chain.from_iterable(itertools.combinations(NAMES, n) for n in range(5))
    assert found.after == min(20 - sum(gain[n] for n in s) for s in subsets)
    assert [r.name for r in found.rules] == [n for n in NAMES if gain[n] > 0]
    assert {r.rule for r in found.refused} == {n for n in NAMES if gain[n] < 0}
    assert found.gains == {n: gain[n] for n in NAMES if gain[n] > 0} and found.before == 10.0


@given(st.dictionaries(st.frozensets(st.sampled_from(NAMES)), st.integers(5, 30), max_size=16))
def test_no_single_rule_can_be_left_out_of_the_result_for_a_gain(times: dict[frozenset[str], int]) -> None:
    """Whatever rules do to each other; and the result is never slower than all of them."""
    world = World(lambda ran, forms: float(times.get(ran, 20)))
    found = world.weigh()
    kept = frozenset(r.name for r in found.rules)
    assert found.after == times.get(kept, 20) <= times.get(frozenset(NAMES), 20)
    others = {name: times.get(kept - {name}, 20) for name in kept}
    clear = {name for name, gain in found.gains.items() if gain > 0.02 * found.after}
    assert all(time >= found.after * 0.999 for name, time in others.items() if name not in clear)
    assert found.run is not None and world.timer(found.run.model) == found.after


def test_the_most_harmful_goes_first_and_is_told_with_both_figures() -> None:
    harm = {"a": 1.0, "b": 5.0}
    found = World(lambda ran, forms: 10 + sum(harm.get(n, 0.0) for n in ran)).weigh()
    assert [r.rule for r in found.refused] == ["b", "a"]
    assert "11.000 ms instead of 16.000 ms" in found.refused[0].reason and found.refused[0].place == "whole graph"


def test_differences_within_the_predictors_noise_drop_nothing() -> None:
    for harm, dropped in ((0.0009, 0), (0.0011, 1)):
        found = World(lambda ran, forms, h=harm: 1.0 if "a" in ran else 1.0 - h).weigh()  # type: ignore[misc]
        assert len(found.refused) == dropped


def test_what_clears_the_way_or_was_not_used_is_not_weighed() -> None:
    world = World(lambda ran, forms: 10.0 + ("a" in ran) + ("b" in ran), used="ac")
    found = world.weigh(named("a", housekeeping=True), named("b"), named("c"))
    assert [r.name for r in found.rules] == ["a", "b", "c"] and set(found.gains) == {"c"} and world.trials == 2


def test_forms_are_chosen_one_kind_after_the_other() -> None:
    options = {("a", "k"): ("first", "second", "third"), ("b", "k"): ("first", "second")}
    cost = {("a", "k"): {"first": 3.0, "second": 1.0, "third": 2.0}, ("b", "k"): {"first": 1.0, "second": 0.9995}}
    world = World(lambda ran, forms: 10 + sum(cost[k][forms.get(k, "first")] for k in cost), options, used="")
    found = world.weigh(named("a"), named("b"))
    assert found.forms == {("a", "k"): "second", ("b", "k"): "first"}, "half a per mille is noise"
    assert found.choices[0].milliseconds == {"first": 14.0, "second": 12.0, "third": 13.0}
    assert found.after == 12.0


@pytest.mark.parametrize(("slower", "kept"), [(True, ["h"]), (False, ["h", "a", "b"])])
def test_a_large_graph_is_judged_in_two_runs(slower: bool, kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_latency, "_WEIGHED_NODES", 0)
    world = World(lambda ran, forms: 10.0 + len(ran) * (1 if slower else -1))
    found = world.weigh(named("h", housekeeping=True), named("a"), named("b"))
    assert [r.name for r in found.rules] == kept and world.trials == 2
    assert {r.rule for r in found.refused} == ({"a", "b"} if slower else set())
    assert (found.run is None) == slower, "what was not tried has to run again"


def test_a_graph_that_the_compiler_refuses_has_no_time_before() -> None:
    world = World(lambda ran, forms: 1.0)
    world.start = graph(["Relu", "Einsum"])
    assert weigh(world.start, [], world.trial, world.timer, version=(4, 0)).before is None

    def refuse(model: ir.Model) -> float:
        if model is world.start:
            raise GraphError("no static shape")
        return 1.0

    world.start = graph()
    assert weigh(world.start, [], world.trial, refuse).before is None


def test_where_a_rule_says_why_it_did_not_help_that_is_the_remedy() -> None:
    def refuse(model: ir.Model) -> float:
        raise GraphError("no INT8 form", place="the node", remedy="rewrite it")

    for place, remedy in (("the node", "too many steps"), ("another", "rewrite it")):
        run = Run(graph(), refused={("r", place): Refused("r", place, "too many steps")})
        with pytest.raises(GraphError) as caught:
            weigh(graph(), [], lambda rules, resume, forms, r=run: r, refuse)  # type: ignore[misc]
        assert caught.value.remedy == remedy


def test_progress_names_what_is_tried() -> None:
    told: list[tuple[str, int, int | None]] = []
    world = World(lambda ran, forms: 10.0 - len(ran), {("a", "k"): ("x", "y")})
    weigh(world.start, [named("a"), named("b")], world.trial, world.timer, lambda *told_: told.append(told_))
    assert told == [("choose a", 0, 1), ("weigh a", 0, 2), ("weigh b", 1, 2)]


def test_without_a_target_there_is_no_predictor() -> None:
    assert predicted_milliseconds(None) is None and callable(predicted_milliseconds("stm32n6570-dk@4.0"))
