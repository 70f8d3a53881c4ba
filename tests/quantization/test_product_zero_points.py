"""Zero point 0 for summed products and their factors, where the outputs hardly notice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.product_zero_points import center_products
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.find import RangeResult, find_ranges

from .nets import parse

CONFIG = QuantizationConfig(threads=1)
NET = """net (float[1, 64, 32] x, float[1, 1, 32] w) => (float[1, 64, 1] y) {
    keys = Neg(x)
    query = Relu(w)
    product = Mul(keys, query)
    y = GlobalAveragePool(product)
}"""


def _samples() -> Iterator[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield {name: rng.standard_normal(size).astype(np.float32) for name, size in SIZES.items()}


SIZES = {"x": (1, 64, 32), "w": (1, 1, 32)}


def _found(model: ir.Model) -> RangeResult:
    return find_ranges(model, _samples, list(_samples()), CONFIG, None)


def test_product_and_factors_get_zero_point_0_for_a_bit_at_most() -> None:
    model = prepare(parse(NET))
    found = _found(model)
    ranges = dict(found.ranges)
    records = center_products(model, ranges, found.statistics)
    assert [r["taken"] for r in records] == [True, True, True]
    assert all(0 <= r["sqnr_db"] - r["cheap_sqnr_db"] < 6 for r in records)
    assert [Grid.from_range(*ranges[n]).zero_point for n in ("keys", "query", "product")] == [0, 0, 0]
    assert {n: ranges[n] for n in "xwy"} == {n: found.ranges[n] for n in "xwy"}


@pytest.mark.parametrize(
    "others", ["z = Add(product, x) y = GlobalAveragePool(z)", "y = GlobalAveragePool(product) z = Neg(product)"]
)
def test_products_that_are_not_only_summed_are_left(others: str) -> None:
    text = NET.replace("y = GlobalAveragePool(product)", others).replace(
        "(float[1, 64, 1] y)", "(float[1, 64, 1] y, float[1, 64, 32] z)"
    )
    model = prepare(parse(text))
    found = _found(model)
    ranges = dict(found.ranges)
    assert center_products(model, ranges, found.statistics) == []
    assert ranges == dict(found.ranges)


@pytest.mark.parametrize(("policy", "taken"), [("speed", True), ("accuracy", False)])
def test_the_outputs_decide_unless_speed_is_asked_for(policy: str, taken: bool) -> None:
    """The mean of this net is all it has: it puts the outputs further from float."""
    result = quantize(parse(NET), _samples, CONFIG.model_copy(update={"zero_points": policy}))
    zero_points = {t["name"]: t["zero_point"] for t in result.facts["tensors"]}
    assert (zero_points["query"] == 0) == taken
    assert any(t["name"] == "query" and t["taken"] == taken for t in result.facts["zero_points"]["tensors"])
