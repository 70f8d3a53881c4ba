"""Every rule is one file, named like it, with a test of the same stem."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from n6convert.rewrites import COMBINATIONS, Rewrite, all_rules
from n6convert.rewrites import rules as package

FILES = sorted(p for p in Path(package.__path__[0]).glob("*/*.py") if p.stem != "__init__")
TESTS = Path(__file__).parent


def home(rule: Rewrite) -> Path:
    return Path(inspect.getfile(type(rule)))


def test_every_file_holds_one_rule_of_the_catalog() -> None:
    assert sorted(home(rule) for rule in all_rules()) == FILES


def test_a_rule_is_named_like_its_file() -> None:
    names = [rule.name for rule in all_rules()]
    assert len(set(names)) == len(names)
    assert {rule.name: home(rule).stem.replace("_", "-") for rule in all_rules()} == {name: name for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_rule_has_a_test_of_its_stem_that_runs_it(path: Path) -> None:
    name = path.stem.replace("_", "-")
    text = (TESTS / f"test_{path.stem}.py").read_text()
    assert "def test_" in text and (name in text or path.stem in text)


def test_every_rule_says_what_it_does() -> None:
    for rule in all_rules():
        assert type(rule).__doc__ and rule.summary.endswith(".") and rule.roots, rule.name
        assert rule.exact or rule.price, rule.name


def test_combinations_are_of_rules_that_exist() -> None:
    names = {rule.name for rule in all_rules()}
    assert {name for rules in COMBINATIONS.values() for name in rules} <= names
