from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def ends(g: GraphWriter, start: int, stop: int, axis: int) -> list[str]:
    return [g.constant([v], np.int64) for v in (start, stop, axis)]


def linear_attention(tokens: int = 12, size: int = 8):
    """Values widened by ones; numerator and denominator are cut from one product."""
    g = GraphWriter()
    q, k, v = (g.node("Relu", g.input(n, [1, 2, tokens, size])) for n in "qkv")
    pads = g.constant([0, 0, 0, 0, 0, 0, 0, 1], np.int64)
    wide = g.node("Pad", v, pads, g.constant(1.0))
    out = g.node("MatMul", q, g.node("MatMul", g.node("Transpose", k, perm=[0, 1, 3, 2]), wide))
    above = g.node("Slice", out, *ends(g, 0, -1, -1))
    below = g.node("Slice", out, *ends(g, -1, 2**31 - 1, -1))
    return g.model(above, g.node("Add", below, g.constant(0.1)))


def test_numerator_and_denominator_are_products_of_their_own() -> None:
    result = apply(linear_attention(), "cut-product", "column-to-mean")
    assert ops(result.model)["MatMul"] == 3 and ops(result.model)["GlobalAveragePool"] == 1
    assert not {"Pad", "Slice"} & ops(result.model).keys()
    widths = {n.outputs[0].shape[-1] for n in result.model.graph if n.op_type == "MatMul"}
    assert widths == {8, 1}


@pytest.mark.parametrize("target", [OLD, NEW])
def test_nothing_is_left_on_the_cpu(target: str) -> None:
    rules = ("cut-product", "column-to-mean", "matmul-to-mul-mean", "transpose-by-slices")
    result = apply(linear_attention(), *rules, target=target)
    assert software(linear_attention(), target) and not software(result.model, target)


@pytest.mark.parametrize("axis", [2, 3])
def test_rows_and_columns_of_a_split(axis: int) -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.input("a", [1, 2, 6, 5]), g.input("b", [1, 2, 5, 6]))
    parts = g.node("Split", product, g.constant([2, 4], np.int64), axis=axis, outputs=2)
    result = apply(g.model(*(g.node("Relu", p) for p in parts)), "cut-product")
    assert ops(result.model)["MatMul"] == 2 and "Split" not in ops(result.model)


def test_a_product_that_others_read_stays() -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.input("a", [1, 6, 5]), g.input("b", [1, 5, 6]))
    model = g.model(g.node("Slice", product, *ends(g, 0, 2, 2)), g.node("Relu", product))
    assert not apply(model, "cut-product").applied


@pytest.mark.parametrize(
    ("start", "stop", "left"), [(1, 3, {"Slice": 1}), (0, 1, {}), (5, 7, {}), (0, 3, {"Pad": 1, "Slice": 1})]
)
def test_a_cut_of_a_padded_tensor(start: int, stop: int, left: dict[str, int]) -> None:
    """One in front and two behind of four: the tensor itself, its padding, or both."""
    g = GraphWriter()
    wide = g.node("Pad", g.input("x", [1, 3, 4]), g.constant([0, 0, 1, 0, 0, 2], np.int64), g.constant(0.5))
    cut = g.node("Slice", wide, *ends(g, start, stop, 2))
    result = apply(g.model(g.node("Add", cut, g.input("y", [1, 3, stop - start]))))
    assert {k: v for k, v in ops(result.model).items() if k in ("Pad", "Slice")} == left
