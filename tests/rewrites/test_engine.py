from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, RecipeError, RewriteError
from n6convert.graph.builder import Builder
from n6convert.rewrites import Context, Rewrite, RewriteConfig, rewrite
from n6convert.rewrites.engine import _Values, run_rules
from n6convert.rewrites.proof import Proof
from n6convert.runtime.session import run_model

from .graphs import GraphWriter, bert, vit
from .helpers import NEW, OLD, apply, ops, sample, software


class _Wrong(Rewrite[ir.Node]):
    """Claims that Relu is the identity."""

    name = "wrong"
    roots = frozenset({"Relu"})

    def pattern(self, node: ir.Node) -> ir.Node | None:
        return node

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value]:
        assert found.inputs[0] is not None
        return [found.inputs[0]]


class _Rough(_Wrong):
    """Claims it roughly."""

    name = "rough"
    exact = False
    price = "everything below zero"
    tolerance = 10.0


class _Restless(_Wrong):
    """Replaces Relu by Relu for ever."""

    name = "restless"

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value]:
        assert found.inputs[0] is not None
        return [build.unary("Relu", found.inputs[0])]


def two_relus():
    """The first Relu sees positive numbers only, the second does not."""
    g = GraphWriter()
    x = g.input("x", [1, 64])
    a = g.node("Relu", g.node("Abs", x))
    return g.model(g.node("Add", a, g.node("Relu", x)))


def run(model: ir.Model, rule: Rewrite, **config):
    chosen = RewriteConfig(rules=[rule.name], **config)
    return rewrite(model, lambda: [sample(model)], chosen, extra=[rule], threads=1)


def test_a_wrong_application_is_taken_back_and_the_right_one_stays() -> None:
    result = run(two_relus(), _Wrong())
    assert [a.rule for a in result.applied] == ["wrong"]
    assert "would differ" in result.refused[0].reason
    assert ops(result.model)["Relu"] == 1
    assert result.difference < 1e-6


def test_few_wrong_applications_among_many_are_found_with_few_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 places, of which two are wrong, between rules that are right."""
    g = GraphWriter()
    x = g.input("x", [1, 64])
    parts = []
    for i in range(64):
        part = g.node("Relu", x) if i in (20, 41) else g.node("Relu", g.node("Abs", x))
        parts.append(g.node("Neg", g.node("Identity", g.node("Neg", part))))
    model = g.model(g.node("Sum", *parts))
    proofs, difference = [], Proof.difference
    monkeypatch.setattr(Proof, "difference", lambda self, model: proofs.append(1) or difference(self, model))
    chosen = RewriteConfig(rules=["drop-no-ops", "wrong", "merge-constants"])
    result = rewrite(model, lambda: [sample(model)], chosen, extra=[_Wrong()], threads=1)
    assert ops(result.model)["Relu"] == 2 and "Identity" not in ops(result.model)
    assert sum(a.rule == "wrong" for a in result.applied) == 62
    assert len({r.place for r in result.refused if r.rule == "wrong"}) == 2
    assert 5 < len(proofs) < 40
    found, exact = (run_model(m, sample(model)).values() for m in (result.model, model))
    np.testing.assert_allclose(*found, *exact, rtol=1e-5)


def test_an_approximate_rule_runs_only_when_named() -> None:
    model = two_relus()
    assert not rewrite(model, None, RewriteConfig(), extra=[_Rough()], threads=1).applied
    result = rewrite(model, None, RewriteConfig(approximate=["rough"]), extra=[_Rough()], threads=1)
    assert result.approximate == ["rough"]
    assert result.difference > 0.01


def test_rules_that_never_rest_are_named() -> None:
    with pytest.raises(RewriteError, match="rest") as error:
        run(two_relus(), _Restless())
    assert "restless" in str(error.value)


@pytest.mark.parametrize("key", ["rules", "exclude", "approximate"])
def test_unknown_names_are_refused_with_the_known_ones(key: str) -> None:
    with pytest.raises(RecipeError, match="no such rewrite") as error:
        rewrite(two_relus(), None, RewriteConfig(**{key: ["nonsense"]}))
    assert "resize-to-conv" in str(error.value)


def test_dynamic_shapes_are_refused() -> None:
    model = two_relus()
    model.graph.inputs[0].shape = ir.Shape([1, "n"])
    with pytest.raises(GraphError, match="static"):
        rewrite(model, None, RewriteConfig())


def test_the_model_given_stays_as_it_is() -> None:
    model = bert(rows=4, width=8, heads=2, hidden=8)
    before = ir.to_proto(model).SerializeToString()
    apply(model, "linear-to-conv", "softmax-decompose")
    assert ir.to_proto(model).SerializeToString() == before


def test_none_changes_nothing() -> None:
    model = bert(rows=4, width=8, heads=2, hidden=8)
    result = rewrite(model, None, RewriteConfig(rules="none"), target=OLD)
    assert not result.applied
    assert ops(result.model) == ops(model)


def test_a_harmful_rule_is_dropped_with_both_figures() -> None:
    model = bert(rows=4, width=8, heads=2, hidden=8)
    without_softmax = lambda m: 2.0 if ops(m)["Softmax"] == 0 else 1.0  # noqa: E731
    result = rewrite(model, None, RewriteConfig(), estimator=without_softmax, threads=1)
    assert ops(result.model)["Softmax"] == 1
    assert any(r.rule == "softmax-decompose" and "1.000 ms instead of 2.000 ms" in r.reason for r in result.refused)
    assert result.facts()["milliseconds"] == {"before": 1.0, "after": 1.0}


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("make", [bert, vit])
def test_a_whole_encoder_leaves_no_cpu_epoch_and_is_faster(make, target: str) -> None:
    model = make(rows=16, width=32, heads=4, hidden=64)
    result = rewrite(model, None, RewriteConfig(), target=target, threads=1)
    assert software(model, target)
    assert not software(result.model, target)
    assert result.after < 0.5 * result.before
    assert result.difference < 1e-5


def test_combinations_follow_the_specification() -> None:
    model = bert(rows=16, width=32, heads=4, hidden=64)
    counts = []
    for name in "ABCD":
        found = rewrite(model, None, RewriteConfig(combination=name), target=OLD, estimator=lambda _: 1.0, threads=1)
        counts.append(sum(software(found.model, OLD).values()))
    assert counts[0] > counts[1] > counts[2] > counts[3] == 0
    assert counts[2] == 8


def test_the_same_input_gives_the_same_file() -> None:
    results = [rewrite(bert(rows=4, width=8, heads=2, hidden=8), None, RewriteConfig(), target=NEW) for _ in range(2)]
    first, second = (ir.to_proto(r.model).SerializeToString() for r in results)
    assert first == second


def test_outputs_keep_their_names_and_may_be_read_inside() -> None:
    g = GraphWriter()
    y = g.linear(g.input("x", [1, 6, 8]), 8, 8)
    model = g.model(y, g.node("Relu", y))
    result = apply(model, "linear-to-conv")
    assert [v.name for v in result.model.graph.outputs] == [v.name for v in model.graph.outputs]


def test_facts_are_plain_data() -> None:
    import json

    result = rewrite(bert(rows=4, width=8, heads=2, hidden=8), None, RewriteConfig(), target=NEW)
    facts = json.loads(json.dumps(result.facts()))
    assert {line["rule"] for line in facts["applied"]} >= {"linear-to-conv", "softmax-decompose"}
    assert all(np.isfinite(line["gain_ms"]) for line in facts["applied"] if line["gain_ms"] is not None)


@pytest.mark.parametrize(("slower", "kept"), [(True, 1), (False, 0)])
def test_a_large_graph_is_judged_as_a_whole(slower: bool, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from n6convert.rewrites import by_latency as weigh

    monkeypatch.setattr(weigh, "_WEIGHED_NODES", 5)
    model = bert(rows=4, width=8, heads=2, hidden=8)
    timer = lambda m: float(ops(m)["Softmax"] == 0) if slower else float(ops(m)["Softmax"])  # noqa: E731
    result = rewrite(model, None, RewriteConfig(), estimator=timer, threads=1)
    assert ops(result.model)["Softmax"] == kept
    assert any(r.place == "whole graph" for r in result.refused) == slower


def test_a_bounded_output_that_vanishes_on_all_samples_is_judged_by_its_int8_step() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 1, 16, 16])
    third = g.node("Mul", g.node("Concat", x, x, axis=1), g.constant(np.full((1, 2, 1, 1), 1 / 3)))
    cancelling = g.constant(np.array([1e4, 1 - 1e4]).reshape(1, 2, 1, 1))
    y = g.node("Sigmoid", g.node("Conv", third, cancelling, g.constant([-16.0])))
    model = g.model(y)
    assert float(run_model(model, sample(model))[y].max()) < 1e-6  # nothing but rounding errors
    config = RewriteConfig(rules=["scale-into-next-conv"])
    result = rewrite(model, lambda: [sample(model)], config, target=OLD, estimator=lambda _: 1.0, threads=1)
    assert "Mul" not in ops(result.model)


class _First(Rewrite[ir.Node]):
    """Gives the first part of a Split, and nothing for the others."""

    name = "first"
    roots = frozenset({"Split"})

    def pattern(self, node: ir.Node) -> ir.Node | None:
        return node

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value]:
        assert found.inputs[0] is not None
        return [build.slice(found.inputs[0], 1, 0, 2)]


@pytest.mark.parametrize("read", [False, True])
def test_a_rule_without_a_value_for_every_output(read: bool) -> None:
    """Optional results (indices, masks, statistics) that nothing reads may go; those that are read stay."""
    g = GraphWriter()
    a, b = g.node("Split", g.input("x", [1, 6, 4]), g.constant([2, 4], np.int64), axis=1, outputs=2)
    outputs = [g.node("Relu", a), *([g.node("Neg", b)] if read else [])]
    model = g.model(*outputs)
    result = rewrite(model, lambda: [sample(model)], RewriteConfig(rules=["first"]), extra=[_First()], target=OLD)
    assert ("Split" in ops(result.model)) == read
    assert not read or "further result" in result.refused[0].reason


def test_tensors_that_are_asked_for_together_are_computed_in_one_run() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 64])
    a, b = g.node("Abs", x), g.node("ReduceMean", x, axes=[1])
    model = g.model(g.node("Mul", a, b))
    proof, runs = Proof(model, lambda: [sample(model)], threads=1), []
    exact = proof.values
    proof.values = lambda *given: runs.append(given) or exact(*given)  # type: ignore[method-assign]
    first, second = (n.outputs[0] for n in list(model.graph)[:2])
    values = _Values(model, proof, lambda: None)
    (found,), (mean,) = values(first, second), values(second)
    np.testing.assert_array_equal(found, np.abs(sample(model)["x"]))
    np.testing.assert_allclose(mean, sample(model)["x"].mean(1, keepdims=True), rtol=1e-5)
    assert len(runs) == 1


class _Asking(_Wrong):
    """Asks for what every Relu takes and leaves it."""

    name = "asking"

    def check(self, found: ir.Node, context: Context) -> str | None:
        return f"it takes {context.values(found.outputs[0])[0].max():.3g}"


class _AskingToo(_Asking):
    name = "asking-too"


def test_arrays_are_computed_once_for_a_graph_that_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = two_relus(), []
    values = Proof.values

    def counted(self: Proof, *given: Any) -> Any:
        asked.append(given)
        return values(self, *given)

    monkeypatch.setattr(Proof, "values", counted)
    proof = Proof(model, lambda: [sample(model)])
    found = run_rules(model, [_Asking(), _AskingToo()], Context(), proof, None)
    assert len(found.refused) == 4 and len(asked) == 1


def test_a_run_that_went_on_from_a_state_lets_others_go_on_from_there() -> None:
    model = two_relus()
    proof = Proof(model, lambda: [sample(model)])
    whole = run_rules(model, [_Wrong()], Context(), proof, None)
    state = whole.before("wrong")
    assert state is not None
    again = run_rules(model, [_Wrong()], Context(), proof, None, resume=state)
    assert again.before("wrong") is state and ops(again.model) == ops(whole.model)
