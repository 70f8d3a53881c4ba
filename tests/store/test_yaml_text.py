"""YAML within limits: what is read is what PyYAML reads; what is too large, odd or circular is refused at its line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from n6convert.errors import RecipeError
from n6convert.store.yaml_text import compose, plain, read_own, read_value

TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


def refused(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        compose(text, lambda line: f"line {line}")
    return caught.value


@given(VALUES)
def test_plain_data_comes_back(value: Any) -> None:
    assert read_value(yaml.safe_dump(value, allow_unicode=True), "here") == value


@pytest.mark.parametrize(
    "text", ["a: &x [1, 2]\nb: *x", "a: &x {k: 1}\nb: {<<: *x, l: 2}", "- 0x1f\n- 1e3\n- .inf\n- ~\n- yes"]
)
def test_aliases_and_merges_are_yamls(text: str) -> None:
    assert read_value(text, "here") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment"])
def test_nothing_is_nothing(text: str) -> None:
    assert compose(text, lambda line: "here") is None and read_value(text, "here") is None


@pytest.mark.parametrize(("text", "problem", "line"), [
    ("a: 1\nb: [", "not valid YAML", 2),
    ("a: 1\n\tb: 2", "not valid YAML", 2),
    ("a: *nowhere", "not valid YAML", 1),
    ("a: 1\nb: 2024-05-01", "neither text", 2),
    ("a: !!set {x, y}", "neither text", 1),
    ("a: !!binary aGk=", "neither text", 1),
    ("a: !!python/object/apply:os.system [ls]", "neither text", 1),
    ("a: !own 3", "neither text", 1),
    ("a: !!int three", "not what its tag says", 1),
    ("a: !!bool maybe", "not what its tag says", 1),
    ("a: !!str [1]", "not what its tag says", 1),
    ("a: !!map [1]", "not what its tag says", 1),
    ("b:\n  1: x", "a key must be text", 2),
    ("true: x", "a key must be text", 1),
    ("? [a]\n: x", "a key must be text", 1),
    ("a: &a [*a]", "contains itself", 1),
    ("a: &a {b: [*a]}", "contains itself", 1),
    ("a: " + "9" * 41, "a number is too long", 1),
    ("a:\n" + "".join(" " * i + "- \n" for i in range(2, 60)), "nested too deeply", None),
    ("[" * 25 + "]" * 25, "nested too deeply", 1),
])  # fmt: skip
def test_what_is_refused_and_where(text: str, problem: str, line: int | None) -> None:
    found = refused(text)
    assert problem in found.problem and (line is None or found.place == f"line {line}")


def test_limits_are_reached_but_not_passed() -> None:
    compose("[" * 24 + "]" * 24, lambda line: "here")
    compose("a: " + "9" * 40, lambda line: "here")
    found = refused("# " + "x" * 200_000)
    assert "too long" in found.problem and found.found == "200,002"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n6convert.store.yaml_text._MOST_VALUES", 50)


def test_values_are_counted(few: None) -> None:
    """A list is one value and its elements are one each; keys of mappings count, too."""
    assert len(read_value("[" + "1," * 49 + "]", "here")) == 49
    assert "50 values" in str(refused("[" + "1," * 50 + "]").limit)
    assert len(read_value("\n".join(f"a{i}: 1" for i in range(24)), "here")) == 24
    assert "holds too much" in refused("\n".join(f"a{i}: 1" for i in range(25))).problem


def test_aliases_count_with_what_they_stand_for(few: None) -> None:
    """Nine levels of nine: small as a text, 9^9 values when it is expanded."""
    bomb = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    assert "holds too much" in refused(bomb).problem
    tame = "a: &a [1, 2, 3]\nb: [" + ", ".join(["*a"] * 10) + "]\nc: 1"
    assert read_value(tame, "here")["b"] == [[1, 2, 3]] * 10, "1 + 3 keys + 4 + 1 + 10 * 4 + 1: exactly 50"
    assert "holds too much" in refused(tame.replace("c: 1", "c: [1]")).problem
    assert "holds too much" in refused(tame.replace("[1, 2, 3]", "[1, 2, 3, 4]")).problem


def test_a_name_that_is_given_twice_is_told() -> None:
    assert refused("a: &a 1\nb: &a 2").found == "second occurrence"


def test_what_is_shown_is_short_and_visible() -> None:
    found = refused('a: !own "' + "x" * 500 + '\\e[2J"')
    assert len(str(found.found)) < 120 and "\x1b" not in str(found) and "put it in quotes" in str(found.remedy)


def test_a_merge_of_no_mapping() -> None:
    node = compose("a: 1\n<<: 3", lambda line: f"line {line}")
    assert node is not None
    with pytest.raises(RecipeError, match="not valid YAML"):
        plain(node, lambda line: f"line {line}")


def test_our_own_files_are_read() -> None:
    assert read_own("n6convert.npu.targets", "neural_art.yaml")
