from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


@pytest.mark.parametrize("indices", [0, -1, [1, 2, 3], [[1], [2]], [-2, -1]])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_consecutive_indices_are_a_slice(indices: object, axis: int) -> None:
    g = GraphWriter()
    model = g.model(g.node("Gather", g.input("x", [1, 6, 8]), g.constant(indices, np.int64), axis=axis))
    assert "Gather" not in ops(apply(model, "gather-to-slice").model)


def test_the_first_token_leaves_the_cpu() -> None:
    g = GraphWriter()
    model = g.model(g.node("Gather", g.input("x", [1, 16, 32]), g.constant(0, np.int64), axis=1))
    for target in (OLD, NEW):
        assert software(model, target) and not software(apply(model, "gather-to-slice").model, target)


@pytest.mark.parametrize("indices", [[2, 1], [0, 2], [1, 1]])
def test_other_indices_stay(indices: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Gather", g.input("x", [1, 6, 8]), g.constant(indices, np.int64), axis=1))
    assert not apply(model, "gather-to-slice").applied


@pytest.mark.parametrize("target", [OLD, NEW])
def test_queries_keys_and_values_of_one_projection(target: str) -> None:
    """As vision transformers are exported: [1, S, 3, h, d] turned to [3, 1, h, S, d], and one index each."""
    from n6convert.rewrites import RewriteConfig, rewrite

    g = GraphWriter()
    joint = g.reshape(g.linear(g.input("x", [1, 16, 32]), 32, 96), [1, 16, 3, 4, 8])
    turned = g.node("Transpose", joint, perm=[2, 0, 3, 1, 4])
    q, k, v = (g.node("Gather", turned, g.constant(i, np.int64), axis=0) for i in range(3))
    scores = g.node("Softmax", g.node("MatMul", q, g.node("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    context = g.node("Transpose", g.node("MatMul", scores, v), perm=[0, 2, 1, 3])
    model = g.model(g.linear(g.reshape(context, [1, 16, 32]), 32, 32))
    result = rewrite(model, None, RewriteConfig(), target=target, threads=1)
    assert software(model, target) and not software(result.model, target)
    assert result.after < result.before / 2
