"""Compiler versions and their features: one table, which everything asks by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from n6convert.operators import versions as table
from n6convert.operators.table import rows
from n6convert.operators.versions import feature, features, has, holds, spelled, versions
from n6convert.reference import citations

ROOT = Path(__file__).parents[2]
CODE = [p for top in ("n6convert", "plugins") for p in (ROOT / top).rglob("*.py")]


def test_features_of_versions() -> None:
    assert versions() == ((2, 0), (2, 1), (2, 2), (3, 0), (4, 0), (4, 1))
    since = {"swish": (2, 1), "hybrid": (3, 0), "true_depthwise": (3, 0), "int4_weights": (3, 0), "pow": (4, 0)}
    for name, first in since.items():
        assert [v for v in versions() if has(v, name)] == [v for v in versions() if v >= first]
    assert [v for v in versions() if has(v, "mvei_option")] == [(2, 0), (2, 1), (2, 2)]


def test_every_feature_is_sourced_asked_for_and_held_by_a_version() -> None:
    text = "\n".join(path.read_text("utf-8") for path in CODE)
    asked = set(re.findall(r'(?:has\((?:[\w.]+, )?|needs=|without=)"(\w+)"', text))
    asked |= {name for row in rows() for name in (row.needs, row.without) if name is not None}
    assert asked == set(features())
    for name, known in features().items():
        assert known.sentence and known.evidence and any(has(v, name) for v in versions()), name
        assert citations(known.evidence) or "documented" in known.evidence or "release notes" in known.evidence, name


def test_what_holds_since_a_version_holds_for_those_that_extend_it() -> None:
    def since(version: str) -> list[str]:
        first = table.version_of(version)
        return [spelled(v) for v in versions() if holds(v, needs=None, without=None, since=first)]

    assert since("3.0") == ["3.0", "4.0", "4.1"] and since("2.0") == [spelled(v) for v in versions()]
    assert holds((9, 9), needs=None, without=None, since=(4, 1)) and not holds(
        (2, 9), needs=None, without=None, since=(3, 0)
    )
    assert not holds((4, 0), needs="pow", without="hybrid", since=(4, 0))
    assert {row.since for row in rows()} <= {None, *versions()}


def test_a_version_without_a_row_has_what_the_one_before_has() -> None:
    assert has((2, 9), "swish") and not has((2, 9), "hybrid") and has((9, 9), "pow") and not has((1, 0), "swish")
    with pytest.raises(KeyError):
        has((4, 0), "teleport")
    with pytest.raises(KeyError):
        feature("teleport")


def test_a_new_version_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from n6convert.npu.rules import rules_for
    from n6convert.npu.targets import load_target, targets

    rows = {**table._rows(), (5, 0): {"extends": "4.1", "drops": ["pow"], "unknown": "nothing is published"}}
    for cached in (table._having, table.has):
        monkeypatch.setattr(table, cached.__name__, cached)
    monkeypatch.setattr(table, "_rows", lambda: rows)
    table._having.cache_clear()
    table.has.cache_clear()
    try:
        assert "stm32n6570-dk@5.0" in targets() and "nothing is published" in load_target("5.0").unknown
        assert [r.name for r in rules_for("Pow") if r.covers((5, 0))][-1] == "power"
        assert len([r for r in rules_for("Pow") if r.covers((4, 1))]) == len(rules_for("Pow"))
        assert not load_target("5.0").has("pow") and load_target("5.0").has("int4_weights")
    finally:
        table._having.cache_clear()
        table.has.cache_clear()


def _ordered_against_a_version(tree: ast.AST) -> Iterator[int]:
    """Lines that order something called a version against a pair of numbers or a constant of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(o, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for o in node.ops):
            left, right = node.left, node.comparators[0]
            named = ast.unparse(left).split(".")[-1] == "version"
            if named and (isinstance(right, ast.Tuple) or ast.unparse(right).isupper()):
                yield node.lineno


def test_no_code_compares_version_numbers() -> None:
    assert list(_ordered_against_a_version(ast.parse("x = a.version >= (3, 0) or version < _SINCE"))) == [1, 1]
    code = [path for path in CODE if path.name != "doctor.py"]  # of Python
    found = [(p.name, line) for p in code for line in _ordered_against_a_version(ast.parse(p.read_text("utf-8")))]
    assert found == []


def test_holding_out_a_family_forgets_the_rules_that_rest_on_it() -> None:
    """The bench of the predictor asks what would be known without a family: rules must follow, and come back."""
    from npu_holdouts import _LEAN_FEATURES, _unheard_of

    from n6convert.npu.rules import known_operators, rules_for

    def known() -> set[tuple[str, str]]:
        return {(op, r.name) for op in known_operators() for r in rules_for(op) if r.covers((3, 0))}

    before = known()
    for name in ("keras_exports", "batch_normalization"):
        assert name in _LEAN_FEATURES
        with _unheard_of(frozenset({name})):
            assert known() != before, name
    assert known() == before
