from __future__ import annotations

import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def unit(groups: int = 3, channels: int = 48):
    """A unit of ShuffleNet: grouped 1x1 convolutions with a channel shuffle between them."""
    g = GraphWriter()
    x = g.input("x", [1, channels, 14, 14])
    y = g.node(
        "Relu", g.node("Conv", x, g.weight(channels, channels // groups, 1, 1), g.vector(channels), group=groups)
    )
    y = g.reshape(y, [1, groups, channels // groups, 14, 14])
    y = g.reshape(g.node("Transpose", y, perm=[0, 2, 1, 3, 4]), [1, channels, 14, 14])
    y = g.node("Conv", y, g.weight(channels, 1, 3, 3), pads=[1] * 4, group=channels)
    return g.model(g.node("Add", g.node("Conv", y, g.weight(channels, channels // groups, 1, 1), group=groups), x))


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("groups", [2, 3, 8])
def test_a_shuffle_leaves_the_cpu(groups: int, target: str) -> None:
    model = unit(groups)
    result = apply(model, "channel-shuffle-to-conv", target=target)
    assert ops(result.model)["Conv"] == 4 and "Transpose" not in ops(result.model)
    assert software(model, target) and not software(result.model, target)
    both = rewrite(model, None, RewriteConfig(), target=target, threads=1)
    assert both.after < both.before and not software(both.model, target)


def test_rows_that_move_are_no_shuffle() -> None:
    g = GraphWriter()
    y = g.node("Transpose", g.reshape(g.input("x", [1, 6, 4, 4]), [1, 6, 2, 2, 4]), perm=[0, 1, 3, 2, 4])
    assert not apply(g.model(g.reshape(y, [1, 6, 4, 4])), "channel-shuffle-to-conv").applied
