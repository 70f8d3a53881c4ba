from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.query import attribute
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, sample, software

RULE = "stack-to-grouped-conv"


STACKS = [([5, 1, 8], [5]), ([5, 3, 8], [5]), ([1, 4, 6, 8], [4]), ([1, 4, 6, 8], [1, 4]), ([2, 3, 4, 8], [2, 3])]


@pytest.mark.parametrize(("shape", "stack"), STACKS)
def test_the_same_products(shape: list[int], stack: list[int]) -> None:
    g = GraphWriter()
    y = g.node("MatMul", g.input("x", shape), g.weight(*stack, 8, 7, scale=0.3))
    result = apply(g.model(y), RULE)
    assert "MatMul" not in ops(result.model)
    conv = next(n for n in result.model.graph if n.op_type == "Conv")
    assert attribute(conv, "group") == np.prod(stack)


def test_one_matrix_for_all_rows_is_left_to_others() -> None:
    g = GraphWriter()
    y = g.node("MatMul", g.input("x", [1, 3, 8]), g.weight(1, 8, 7, scale=0.3))
    assert "MatMul" in ops(apply(g.model(y), RULE).model)


def test_a_distance_with_a_matrix_a_position_stays_on_the_npu() -> None:
    """Mahalanobis distances of a map's features, as detectors of anomalies compute them."""
    g = GraphWriter()
    x = g.input("x", [1, 12, 8, 8])
    rows = g.node("Transpose", g.reshape(x, [1, 12, 64]), perm=[2, 0, 1])
    product = g.node("MatMul", rows, g.weight(64, 12, 12, scale=0.2))
    square = g.node("ReduceMean", g.node("Mul", product, product), axes=[-1], keepdims=0)
    model = g.model(g.reshape(g.node("Transpose", square, perm=[1, 0]), [1, 1, 8, 8]))
    result = rewrite(model, lambda: [sample(model)], RewriteConfig(), target=NEW)
    assert not software(result.model, NEW)
    assert all(attribute(n, "perm")[0] == 0 for n in result.model.graph if n.op_type == "Transpose")
