"""What a limit is made of, and what its findings say: the sentence, the place, the remedy, filled with the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from onnx_text import parsed

from n6convert.graph.fault import Fault
from n6convert.linter import constants, finding_of, lint
from n6convert.linter.catalog import limits, limits_of_structure
from n6convert.linter.finding import Break, Finding, Limit, Severity, limit, registered
from n6convert.linter.prepare import prepare
from n6convert.linter.rules_camera import picture_size
from n6convert.linter.view import View

EVERY = sorted(limits())


def made(node: str | None = "Relu 'r'", tensor: str | None = "t") -> Finding:
    return Finding("a-rule", Severity.WARNING, node, tensor, "No more than 4.", "5 of them", "take 4", "[#x]")


@pytest.mark.parametrize(("node", "tensor", "place"), [
    ("Relu 'r'", "t", "Relu 'r' [t]"), ("Relu 'r'", None, "Relu 'r'"), (None, "t", "[t]"), (None, None, "model"),
])  # fmt: skip
def test_a_finding_is_one_line_with_its_place(node: str | None, tensor: str | None, place: str) -> None:
    text = str(made(node, tensor))
    assert text == f"warning a-rule at {place}: 5 of them. No more than 4. Remedy: take 4."


def test_a_finding_as_json() -> None:
    found = json.loads(json.dumps(made(tensor=None).as_dict()))
    assert list(found) == ["rule", "severity", "node", "tensor", "limit", "found", "remedy", "evidence"]
    assert found["severity"] == "warning" and found["tensor"] is None and found["node"] == "Relu 'r'"


def test_a_break_may_know_better_than_its_limit() -> None:
    """Severity, remedy and evidence of the limit are taken where the break says none."""

    def check(view: View) -> Iterator[Break]:
        yield Break("here", "n", "t")
        yield Break("there", severity=Severity.INFO, remedy="another way", evidence="seen")

    view = prepare(parsed("y = Relu(x)", "float[1,2] x", "float[1,2] y"), None)
    plain, special = Limit("own", "A sentence.", Severity.ERROR, "a way", "known", check).findings(view)
    assert (plain.severity, plain.remedy, plain.evidence, plain.limit) == (
        Severity.ERROR,
        "a way",
        "known",
        "A sentence.",
    )
    assert (special.severity, special.remedy, special.evidence) == (Severity.INFO, "another way", "seen")
    assert (plain.node, plain.tensor, special.node) == ("n", "t", None) and plain.rule == special.rule == "own"


def test_a_limit_is_named_like_its_function_and_says_its_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n6convert.linter.finding._LIMITS", {})

    @limit(Severity.INFO, remedy="keep to {SLICE_AXES}", evidence="none")
    def of_the_test(view: View) -> Iterator[Break]:
        """Cuts of {SLICE_AXES} axes
        at most, below {DIM_LIMIT:,}."""
        yield Break("x")

    (found,) = registered().values()
    assert found.name == "of-the-test" and found.check is of_the_test
    assert found.sentence == f"Cuts of {constants.SLICE_AXES} axes at most, below {constants.DIM_LIMIT:,}."
    assert found.remedy == f"keep to {constants.SLICE_AXES}"
    found_before = registered()
    found_before.clear()
    assert registered(), "a copy"


@pytest.mark.parametrize("name", EVERY)
def test_every_limit_is_told_in_whole_words(name: str) -> None:
    found = limits()[name]
    assert found.sentence.endswith((".", '").', ")")) and "  " not in found.sentence and "\n" not in found.sentence
    assert found.remedy and found.evidence and not found.remedy.endswith(".")
    assert not re.search(r"{[A-Z_]", found.sentence + found.remedy), "a number that was not filled in"


def test_what_other_grids_cannot_mend_is_a_part_of_all() -> None:
    names = [f.name for f in limits_of_structure()]
    assert names and set(names) <= set(EVERY) and "mixed-scales" not in names


@pytest.mark.parametrize(("limit", "sentence"), [(None, "too many"), ("3 of them", "too many; allowed: 3 of them")])
def test_a_fault_of_the_file_as_a_finding(limit: str | None, sentence: str) -> None:
    found = finding_of(Fault("a-rule", "too many", "Relu r", "t", limit, None, "fewer"))
    assert (found.severity, found.limit, found.found) == (Severity.ERROR, sentence, "too many")
    assert (found.node, found.tensor, found.remedy) == ("Relu r", "t", "fewer")
    assert finding_of(Fault("a-rule", "too many", found="9")).found == "9"


def test_errors_come_first_and_each_kind_in_the_order_of_the_limits() -> None:
    model = parsed("a = Cast<to=11>(x) b = Cast<to=1>(a) y = Erf(b)", "float[1,3,64,40] x", "float[1,3,64,40] y")
    found = lint(model)
    order = [list(Severity).index(f.severity) for f in found]
    assert order == sorted(order) and {"error", "warning", "info"} == {str(f.severity) for f in found}


@pytest.mark.parametrize(("shape", "size"), [
    ((1, 3, 64, 40), (64, 40, 3)), ((1, 64, 40, 3), (64, 40, 3)), ((1, 1, 32, 32), (32, 32, 1)),
    ((None, 96, 96, 1), (96, 96, 1)), ((1, 3, 31, 64), None), ((1, 4, 64, 64), None), ((1, 64, 64, 2), None),
    ((3, 64, 64), None), ((1, 3, None, 64), None), (None, None), ((1, 3, 64, 3), None), ((1, 3, 3, 3), None),
])  # fmt: skip
def test_what_has_the_shape_of_a_picture(
    shape: tuple[int | None, ...] | None, size: tuple[int, int, int] | None
) -> None:
    assert picture_size(shape) == size


@pytest.mark.parametrize(("width", "channels", "remedy"), [
    (40, 3, "a width of 32 or 48 pixels"), (33, 1, "a width of 32 or 48 pixels"), (48, 3, None), (224, 1, None),
    (100, 1, "a width of 96 or 112 pixels"),
])  # fmt: skip
def test_rows_of_a_camera(width: int, channels: int, remedy: str | None) -> None:
    shape = f"1,{channels},64,{width}"
    hits = [f for f in lint(parsed("y = Relu(x)", f"float[{shape}] x", "float[] y")) if f.rule == "camera-rows"]
    assert [h.remedy for h in hits] == ([remedy] if remedy else [])
    for hit in hits:
        assert hit.tensor == "x" and f"= {width * channels} bytes" in hit.found
        numbers = [int(n) for n in re.findall(r"\d+", hit.remedy)]
        assert all(n * channels % constants.CAMERA_ROW == 0 for n in numbers), "the advice itself must hold"
