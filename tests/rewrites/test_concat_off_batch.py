from __future__ import annotations

import pytest

from n6convert.linter import lint

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, software


def heads(sizes: list[int]):
    g = GraphWriter()
    x = g.input("x", [1, 6, 10])
    parts = [g.node("Relu", g.node("Concat", *[x] * n, axis=0) if n > 1 else x) for n in sizes]
    return g.model(g.node("Exp", g.node("Concat", *parts, axis=0)))


def refused(model, target: str) -> set[str]:
    return {finding.rule for finding in lint(model, target)}


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("sizes", [[1, 1, 1], [1, 2]])
def test_no_concat_along_the_batch(sizes: list[int], target: str) -> None:
    model = heads(sizes)
    assert "concat-batch" in refused(model, target)
    result = apply(model, "concat-off-batch", target=target)
    assert "concat-batch" not in refused(result.model, target)
    assert not software(result.model, target)


def test_other_axes_are_left_alone() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 10])
    assert not apply(g.model(g.node("Concat", x, x, axis=1)), "concat-off-batch").applied
