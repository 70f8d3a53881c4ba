from __future__ import annotations

import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, ops, reasons, sample, software


def head(outputs: int, kernel: int, size: int = 64, into: int = 64):
    g = GraphWriter()
    x = g.input("x", [1, into, size, size])
    y = g.node("Conv", x, g.weight(outputs, into, kernel, kernel), g.vector(outputs), pads=[kernel // 2] * 4)
    return g.model(g.node("Sigmoid", y))


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_segmentation_head_of_19_classes(target: str) -> None:
    model = head(19, 3)
    result = rewrite(model, lambda: [sample(model)], RewriteConfig(), target=target, threads=1)
    assert ops(result.model) == {"Conv": 1, "Slice": 1, "Sigmoid": 1}
    assert result.after < 0.5 * result.before and result.difference < 1e-5
    assert not software(result.model, target)
    assert "24 rows alone: 19" in next(a.because for a in result.applied if a.rule == "pad-output-channels")


def test_refused_with_all_figures_where_it_does_not_pay() -> None:
    result = rewrite(head(18, 1, 13), None, RewriteConfig(), target=NEW, threads=1)
    assert "18 channels are predicted fastest as they are: 18 0." in reasons(result, "pad-output-channels")


def test_round_numbers_stay() -> None:
    assert not rewrite(head(24, 3, 8), None, RewriteConfig(rules=["pad-output-channels"]), target=NEW).applied
