from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software

CAUSAL = np.tril(np.ones((1, 1, 8, 8))) > 0


@pytest.mark.parametrize("hidden", [-1e9, -3.4e38, -np.inf])
@pytest.mark.parametrize("scores_first", [True, False])
def test_a_mask_before_softmax_is_a_sum(hidden: float, scores_first: bool) -> None:
    g = GraphWriter()
    pair = [g.input("s", [1, 2, 8, 8]), g.constant(hidden)]
    mask = g.constant(CAUSAL if scores_first else ~CAUSAL, bool)
    where = g.node("Where", mask, *(pair if scores_first else pair[::-1]))
    model = g.model(g.node("Softmax", where, axis=-1))
    result = apply(model, "where-to-product")
    assert ops(result.model) == {"Add": 1, "Softmax": 1}
    assert software(model, OLD)["Where"] or software(model, NEW)["Where(float)"]
    assert set(software(result.model, NEW)) == {"Softmax"}


def test_other_values_are_products() -> None:
    g = GraphWriter()
    model = g.model(g.node("Where", g.constant(CAUSAL[0, 0], bool), g.input("x", [1, 8, 8]), g.input("y", [1, 8, 1])))
    result = apply(model, "where-to-product")
    assert "Where" not in ops(result.model)
    assert not software(result.model, OLD)


def test_zeros_cost_one_product() -> None:
    g = GraphWriter()
    model = g.model(g.node("Where", g.constant(CAUSAL[0, 0], bool), g.input("x", [1, 8, 8]), g.constant(0.0)))
    assert ops(apply(model, "where-to-product").model) == {"Mul": 1}


def test_a_computed_mask_becomes_numbers_before_it_is_repeated() -> None:
    g = GraphWriter()
    flags = g.node("Equal", g.node("Relu", g.input("m", [1, 1, 1, 8])), g.constant(0.0))
    wide = g.node("Expand", flags, g.constant([1, 2, 8, 8], np.int64))
    model = g.model(g.node("Softmax", g.node("Where", wide, g.constant(-1e9), g.input("s", [1, 2, 8, 8])), axis=-1))
    result = apply(model, "where-to-product")
    cast = next(node for node in result.model.graph if node.op_type == "Cast")
    assert tuple(cast.outputs[0].shape) == (1, 1, 1, 8)
    assert "Where" not in ops(result.model) and "Expand" not in ops(result.model)


def test_infinity_elsewhere_is_refused() -> None:
    g = GraphWriter()
    model = g.model(
        g.node("Exp", g.node("Where", g.constant(CAUSAL, bool), g.input("s", [1, 2, 8, 8]), g.constant(-np.inf)))
    )
    assert "no number" in reasons(apply(model, "where-to-product"), "where-to-product")
