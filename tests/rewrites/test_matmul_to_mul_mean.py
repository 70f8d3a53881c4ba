from __future__ import annotations

import pytest

from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.rewrites.rules.matmul import matmul_to_mul_mean

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


def product(a: list[int], b: list[int]):
    g = GraphWriter()
    return g.model(g.node("MatMul", g.input("a", a), g.input("b", b)))


@pytest.mark.parametrize(
    ("a", "b"),
    [([1, 4, 6, 8], [1, 4, 8, 5]), ([1, 6, 8], [1, 8, 5]), ([3, 7, 8], [3, 8, 5]), ([1, 2, 1, 8], [1, 2, 8, 5])],
)
def test_products_are_exact(a: list[int], b: list[int]) -> None:
    assert "MatMul" not in ops(apply(product(a, b), "matmul-to-mul-mean").model)


def test_blocks_of_unequal_height(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_to_mul_mean, "_BLOCK_BYTES", 1000)
    result = apply(product([1, 2, 13, 8], [1, 2, 8, 10]), "matmul-to-mul-mean")
    assert ops(result.model)["Mul"] >= 3


def test_a_row_beyond_the_block_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_to_mul_mean, "_BLOCK_BYTES", 100)
    result = apply(product([1, 2, 13, 8], [1, 2, 8, 10]), "matmul-to-mul-mean")
    assert "one row's products" in reasons(result, "matmul-to-mul-mean")


@pytest.mark.parametrize(("rows", "counts"), [(40, [40]), (64, [64]), (100, [100]), (130, [])])
def test_as_many_blocks_as_it_takes_up_to_a_limit(
    rows: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row a block: 8 products of 8 bytes, so that there are as many blocks as rows, and no finer division."""
    monkeypatch.setattr(matmul_to_mul_mean, "_BLOCK_BYTES", 64)
    assert matmul_to_mul_mean._Size(1, rows, 8, 8).counts == counts
    monkeypatch.setattr(matmul_to_mul_mean, "_BLOCK_BYTES", 8 * 64)
    assert len(matmul_to_mul_mean._Size(1, rows, 8, 8).counts) > 1, "small products are tried in more blocks"


def test_values_of_a_large_attention_leave_the_cpu() -> None:
    """Two heads of 64 channels at 400 positions, as in YOLO11 at 640 pixels: 80 blocks of five rows."""
    result = apply(product([1, 2, 64, 400], [1, 2, 400, 400]), "matmul-to-mul-mean")
    assert "MatMul" not in ops(result.model) and ops(result.model)["Mul"] >= 80


@pytest.mark.parametrize("target", [OLD, NEW])
def test_an_attention_block_keeps_no_cpu_epoch(target: str) -> None:
    g = GraphWriter()
    model = g.model(g.attention(g.input("x", [1, 16, 32]), 16, 32, 4))
    assert software(model, target)["Conv"] == 8
    rules = ("matmul-to-mul-mean", "linear-to-conv", "softmax-decompose", "transpose-by-slices")
    assert not software(apply(model, *rules, target=target).model, target)


def test_the_software_convolution_stays_where_it_is_faster() -> None:
    costs = lambda m: float("MatMul" not in ops(m))  # noqa: E731
    model = product([1, 2, 13, 8], [1, 2, 8, 10])
    result = rewrite(model, None, RewriteConfig(), estimator=costs, threads=1)
    assert not result.applied
    assert "software Conv is predicted faster, 0.000 ms instead of 1.000 ms" in reasons(result, "matmul-to-mul-mean")


def test_the_form_is_chosen_by_time_and_the_others_are_told() -> None:
    """Rows first; columns are taken where the whole graph is faster with them."""
    g = GraphWriter()
    x = g.input("x", [1, 48, 64])
    keys, values = g.node("Relu", g.linear(x, 64, 64)), g.linear(x, 64, 64)
    model = g.model(g.node("MatMul", g.node("Transpose", keys, perm=[0, 2, 1]), values))
    result = rewrite(model, None, RewriteConfig(), target=NEW, threads=1)
    line = next(line for line in result.facts()["applied"] if line["rule"] == "matmul-to-mul-mean")
    assert "ms instead of software Conv" in line["because"][0]
    assert [c.place for c in result.choices] == ["1 x [64, 48] [48, 64]", "1 x [64, 48] [48, 64], blocks"]
    assert result.choices[0].milliseconds.keys() == {"rows", "columns"}
    for choice in result.choices:
        assert choice.milliseconds[choice.form] <= min(choice.milliseconds.values()) * 1.002
    assert not software(result.model, NEW)
