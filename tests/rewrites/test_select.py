"""Which rules a configuration lets run, and the account of what they did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, made, parsed, value_of

from n6convert.errors import RecipeError
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.rewrites.catalog import COMBINATIONS, all_rules
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.select import RewriteResult, rewrite, select_rules
from n6convert.rewrites.trial import Applied, Refused


class Own(Rewrite[ir.Node]):
    """A rule of a plugin.

    More words.
    """

    name, roots = "own", frozenset({"Relu"})

    def pattern(self, node: ir.Node) -> ir.Node | None:
        return None

    def replace(self, found: ir.Node, build: Any, context: Context) -> Sequence[ir.Value]:
        raise NotImplementedError


class Rough(Own):
    name, exact = "rough", False


def chosen(**config: Any) -> list[str]:
    return [rule.name for rule in select_rules(RewriteConfig(**config), [Own(), Rough()])]


EVERY = [rule.name for rule in all_rules()]
EXACT = [rule.name for rule in all_rules() if rule.exact]
KEEPING = [rule.name for rule in all_rules() if rule.housekeeping]


def test_names_are_one_rules_each_and_say_what_is_approximate() -> None:
    assert len(set(EVERY)) == len(EVERY)
    assert {r.name for r in all_rules() if not r.exact} == {n for n in EVERY if "approximate" in n}


def test_every_exact_rule_runs_by_itself_a_plugins_first() -> None:
    assert chosen() == ["own", *EXACT] and chosen(rules="none") == []


def test_rules_by_name_bring_those_that_clear_the_way() -> None:
    name = next(n for n in EXACT if n not in KEEPING)
    assert chosen(rules=[name]) == [n for n in EVERY if n == name or n in KEEPING]
    assert chosen(rules=[]) == KEEPING and chosen(rules=["own"]) == ["own", *KEEPING]
    assert name not in chosen(exclude=[name]) and name not in chosen(rules=[name], exclude=[name])


def test_what_is_approximate_runs_only_when_it_is_named() -> None:
    assert chosen(approximate=["rough"])[:2] == ["own", "rough"] and "rough" in chosen(rules=["rough"])
    assert "rough" not in chosen(approximate=["rough"], exclude=["rough"])


@pytest.mark.parametrize("letter", COMBINATIONS)
def test_a_combination_is_its_own_list(letter: str) -> None:
    assert set(chosen(combination=letter)) == set(COMBINATIONS[letter]) | set(KEEPING)


@pytest.mark.parametrize("config", [{"rules": ["sofmax"]}, {"exclude": ["sofmax"]}, {"approximate": ["sofmax"]}])
def test_an_unknown_name_is_told_with_all_that_are_known(config: Any) -> None:
    with pytest.raises(RecipeError, match="no such rewrite") as caught:
        chosen(**config)
    assert caught.value.found == "sofmax" and "own" in str(caught.value.limit).split(", ")


def test_the_account_counts_by_rule_and_is_json() -> None:
    applied = [Applied("a", "x", True, "fast"), Applied("b", "y", True), Applied("a", "z", True, "fast")]
    result = RewriteResult(ir.Model(ir.Graph([], [], nodes=[]), ir_version=8), applied, [Refused("c", "w", "no room")],
                           2.0, 1.5, {"a": 0.5})  # fmt: skip
    facts = json.loads(json.dumps(result.facts()))
    assert facts["applied"] == [
        {"rule": "a", "times": 2, "gain_ms": 0.5, "where": ["x", "z"], "because": ["fast"]},
        {"rule": "b", "times": 1, "gain_ms": None, "where": ["y"], "because": []},
    ]
    assert facts["refused"] == [{"rule": "c", "where": "w", "why": "no room"}]
    assert facts["milliseconds"] == {"before": 2.0, "after": 1.5} and facts["approximate"] == []


def test_no_rules_change_nothing() -> None:
    model = parsed("y = Relu(x)", "float[1,4] x", "float[] y")
    result = rewrite(model, None, RewriteConfig(rules="none"), threads=1)
    assert [n.op_type for n in result.model.graph] == ["Relu"] and not result.applied and result.difference == 0


def test_the_first_samples_prove_and_random_ones_where_there_are_none() -> None:
    model = parsed("a = Relu(x) y = Neg(a)", "float[2,3] x, int64[2] ids", "float[] y")
    feeds = [drawn({"x": (2, 3)}, seed) | {"ids": np.zeros(2, np.int64)} for seed in range(5)]
    proof = Proof(model, lambda: iter(feeds), threads=1)
    assert len(proof.samples) == 3 and all(a["x"] is b["x"] for a, b in zip(proof.samples, feeds, strict=False))
    alone = Proof(model, None, threads=1)
    assert len(alone.samples) == 1 and alone.samples[0]["ids"].tolist() == [1, 1]
    np.testing.assert_array_equal(alone.samples[0]["x"], Proof(model, lambda: iter([]), threads=1).samples[0]["x"])


def test_differences_are_the_largest_of_any_sample_and_output() -> None:
    model = parsed("y = Relu(x) z = Neg(x)", "float[2] x", "float[] y, float[] z")
    other = parsed("y = Relu(x) n = Neg(x) z = Mul(n, s)", "float[2] x", "float[] y, float[] z", s=1.25)
    proof = Proof(model, lambda: iter([{"x": np.float32([1, 2])}, {"x": np.float32([-4, 8])}]), threads=1)
    assert proof.difference(model) == 0 and proof.difference(other) == pytest.approx(0.25)
    before = proof.reference
    proof.accept(other)
    assert proof.difference(other) == 0 and proof.difference(model) == pytest.approx(0.2)
    assert proof.distance(before, other) == pytest.approx(0.25)


def test_values_of_inner_tensors_by_sample() -> None:
    model = parsed("a = Relu(x) b = Neg(a) y = Abs(b)", "float[2] x", "float[] y")
    samples = [{"x": np.float32([-1, 2])}, {"x": np.float32([3, -4])}]
    found = Proof(model, lambda: iter(samples), threads=1).values(model, ["a", "y", "x", "nowhere"])
    assert {k: [v.tolist() for v in values] for k, values in found.items()} == {
        "a": [[0, 2], [3, 0]], "y": [[0, 2], [3, 0]], "x": [[-1, 2], [3, -4]], "nowhere": [],
    }  # fmt: skip
    assert [v.name for v in model.graph.outputs] == ["y"]


def test_what_a_rule_may_ask() -> None:
    model = parsed("y = Relu(x)", "float[2] x", "float[] y")
    x = value_of(model, "x")
    asked = Context(values=lambda v: [np.float32([-1, 2]), np.float32([5])], choices={("own", "k"): "b"})
    assert asked.span(x, (0, 0)) == (-1.0, 5.0) and Context().span(x, (0.0, 6.0)) == (0.0, 6.0)
    assert asked.chosen("own", "k", ["a", "b"]) == "b"
    assert asked.chosen("own", "other", ["a", "b"]) == "a" == Context().chosen("own", "k", ["a"])
    rule = Own()
    assert rule.summary == "A rule of a plugin." and rule.check(next(iter(model.graph)), asked) is None
    assert rule.options(next(iter(model.graph)), asked) == {} and rule.because(next(iter(model.graph)), asked) == ""


def test_one_form_alone_is_priced_as_a_model_of_its_own() -> None:
    seen: list[ir.Model] = []
    context = Context(timer=lambda model: seen.append(model) or 2.5)  # type: ignore[func-returns-value]
    assert isolated_latency(context, [(1, 2, 3), (1, 2, 3)], lambda b, x, y: b.add(x, b.unary("Relu", y))) == 2.5
    (model,) = seen
    assert [n.op_type for n in model.graph] == ["Relu", "Add"] and len(model.graph.inputs) == 2
    assert isolated_latency(Context(), [(1,)], lambda b, x: x) == float("inf")
    assert made({"x": (1, 2, 3)}, lambda b, x: b.unary("Relu", x))
