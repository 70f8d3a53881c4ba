from __future__ import annotations

import pytest

from n6convert.rewrites.rules.layout import two_sided_broadcast

from .graphs import GraphWriter
from .helpers import OLD, apply, reasons, software


def outer(op: str, a: list[int], b: list[int]):
    g = GraphWriter()
    return g.model(g.node(op, g.input("a", a), g.input("b", b)))


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
@pytest.mark.parametrize(
    ("a", "b"), [([1, 6, 1], [1, 1, 5]), ([1, 1, 5], [1, 6, 1]), ([1, 4, 1, 1], [1, 1, 3, 5]), ([5], [6, 1])]
)
def test_one_side_is_copied(op: str, a: list[int], b: list[int]) -> None:
    result = apply(outer(op, a, b), "two-sided-broadcast")
    assert result.applied


def test_leaves_the_cpu() -> None:
    model = outer("Mul", [1, 12, 1], [1, 1, 16])
    result = apply(model, "two-sided-broadcast")
    assert software(model, OLD) and not software(result.model, OLD)


def test_one_sided_and_interleaved_stay() -> None:
    assert not apply(outer("Mul", [1, 6, 5], [1, 1, 5]), "two-sided-broadcast").applied
    assert not apply(outer("Mul", [1, 6, 1, 4], [1, 1, 5, 1]), "two-sided-broadcast").applied


def test_too_many_copies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sided_broadcast, "_MAX_COPIES", 3)
    result = apply(outer("Mul", [1, 6, 1], [1, 1, 5]), "two-sided-broadcast")
    assert "6 copies" in reasons(result, "two-sided-broadcast")
