"""Zero point 0 for summed products and their factors, where the outputs hardly notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.product_zero_points import ProductGroup, SummedProducts, affordable
from n6convert.quantization.methods import MethodContext, context
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.find import RangeResult, find_ranges

from .nets import parse

CONFIG = QuantizationConfig(threads=1)
FOR_SPEED = QuantizationConfig(threads=1, zero_points="speed")
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
    products = SummedProducts(model, found.ranges, found.statistics)
    assert [(len(group.grids), group.saved) for group in products.groups] == [(3, 64 * 32 / 2)]
    ranges, records = products.centered(products.groups)
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
    products = SummedProducts(model, found.ranges, found.statistics)
    assert products.groups == []
    assert products.centered([]) == (dict(found.ranges), [])


@pytest.mark.parametrize(("policy", "taken"), [("speed", True), ("accuracy", False)])
def test_the_outputs_decide_unless_speed_is_asked_for(policy: str, taken: bool) -> None:
    """The mean of this net is all it has: it puts the outputs further from float."""
    result = quantize(parse(NET), _samples, CONFIG.model_copy(update={"zero_points": policy}))
    zero_points = {t["name"]: t["zero_point"] for t in result.facts["tensors"]}
    assert (zero_points["query"] == 0) == taken
    assert any(t["name"] == "query" and t["taken"] == taken for t in result.facts["zero_points"]["tensors"])


TWO = """net (float[1, 64, 32] x, float[1, 1, 32] w, float[1, 64, 32] z, float[1, 1, 32] v)
        => (float[1, 64, 1] y, float[1, 64, 1] u) {
    keys = Neg(x)
    query = Relu(w)
    first = Mul(keys, query)
    other = Abs(z)
    second = Mul(%s, query)
    third = Mul(other, v)
    y1 = GlobalAveragePool(first)
    y2 = GlobalAveragePool(second)
    y = Add(y1, y2)
    u = GlobalAveragePool(third)
}"""


@pytest.mark.parametrize(("factor", "sizes"), [("z", [5, 3]), ("other", [7])])
def test_products_that_share_a_grid_are_one_group(factor: str, sizes: list[int]) -> None:
    """Grids with zero point 0 already do not count: none here, as seeded samples never reach equally far."""
    model = prepare(parse(TWO % factor))
    shapes = SIZES | {"z": (1, 64, 32), "v": (1, 1, 32)}
    rng = np.random.default_rng(0)
    samples = [{n: rng.standard_normal(s).astype(np.float32) + 0.3 for n, s in shapes.items()} for _ in range(4)]
    found = find_ranges(model, lambda: iter(samples), samples, CONFIG, None)
    products = SummedProducts(model, found.ranges, found.statistics)
    assert [len(group.grids) for group in products.groups] == sizes
    _, records = products.centered(products.groups[-1:])
    assert [r["taken"] for r in records] == [False] * sum(sizes[:-1]) + [True] * sizes[-1]


def test_groups_and_their_grids_come_in_graph_order() -> None:
    """Not in the order of a set of names, which is another one in every process: groups are halved in this order."""
    lines = [f"k{i} = Neg(x) q{i} = Relu(w) p{i} = Mul(k{i}, q{i}) y{i} = GlobalAveragePool(p{i})" for i in range(6)]
    head = f"net (float[1, 64, 32] x, float[1, 1, 32] w) => ({', '.join(f'float[1, 64, 1] y{i}' for i in range(6))})"
    model = prepare(parse(f"{head} {{ {' '.join(lines)} }}"))
    found = _found(model)
    products = SummedProducts(model, found.ranges, found.statistics)
    assert [group.grids for group in products.groups] == [(f"p{i}", f"k{i}", f"q{i}") for i in range(6)]
    assert [r["name"] for r in products.centered([])[1]] == [n for i in range(6) for n in (f"p{i}", f"k{i}", f"q{i}")]


def _groups(saved: Sequence[float], lost_db: Sequence[float]) -> list[ProductGroup]:
    """Groups that save so many cycles and lose so much themselves."""
    return [ProductGroup((f"g{i}",), *pair) for i, pair in enumerate(zip(saved, lost_db, strict=True))]


@pytest.mark.parametrize(
    ("prices", "allowed", "taken"),
    [
        ([0.1, 0.1, 0.1, 0.1], 0.5, [0, 1, 2, 3]),
        ([0.1, 0.9, 0.1, 0.1], 0.5, [0, 2, 3]),
        ([0.1, 0.1, 0.4, 0.4], 0.5, [0, 1]),
        ([9.0, 9.0, 9.0, 9.0], np.inf, [0, 1, 2, 3]),
        ([-0.2, 0.3, 0.1, 0.1], 0.4, [0, 1, 2, 3]),
        ([0.5], 0.4, []),
        ([], 1.0, []),
    ],
)
def test_groups_are_taken_for_their_share_of_the_cycles(prices: list[float], allowed: float, taken: list[int]) -> None:
    """With losses that add up: what is left out alone is what is dear for the cycles it saves."""
    groups = _groups([100.0] * len(prices), prices)
    found = affordable(groups, lambda some: sum(g.lost_db for g in some), allowed)
    assert sorted(found, key=groups.index) == [groups[i] for i in taken]


def test_what_saves_more_may_lose_more() -> None:
    groups = _groups((100.0, 300.0), (0.35, 0.35))
    assert affordable(groups, lambda some: sum(g.lost_db for g in some), 0.5) == groups[1:]


def test_all_are_tried_at_once_and_no_more_where_they_are_cheap() -> None:
    asked: list[int] = []
    groups = _groups([1.0] * 72, [0.0] * 72)
    affordable(groups, lambda some: float(asked.append(len(some)) or 0.0), 1.0)
    assert asked == [72]
    affordable(groups, lambda some: float(asked.append(len(some)) or 9.0), 1.0)
    assert len(asked) < 10


def test_zero_points_are_decided_once_and_models_made_later_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(groups: Sequence[ProductGroup], *given: Any) -> list[ProductGroup]:
        asked.append(len(groups))
        return affordable(groups, *given)

    monkeypatch.setattr(context, "affordable", counted)
    samples = list(_samples())
    prepared = prepare(parse(NET))
    evaluator = Evaluator(prepared, samples)
    work = MethodContext(_samples, samples, FOR_SPEED, evaluator, None, None, None)
    before = work.quantized(prepared)
    best = work.centered(before)
    assert best is not None and work.centered(best) is None and asked == [1]
    later = work.quantized(prepared)
    names = ("keys", "query", "product")
    assert all(before.plan.grids[n].zero_point != 0 for n in ("keys", "query"))
    assert [c.plan.grids[n].zero_point for c in (best, later) for n in names] == [0] * 6
    assert later.zero_points == best.zero_points and asked == [1]


@pytest.mark.parametrize("enough", [True, False])
def test_a_model_that_is_good_enough_only_without_keeps_its_grids(enough: bool) -> None:
    def zero_points(model: ir.Model) -> set[int]:
        made = (n for n in model.graph if n.op_type == "QuantizeLinear" and n.inputs[0].name in ("keys", "query"))
        return {int(n.inputs[2].const_value.numpy()) for n in made}

    def accepted(model: ir.Model, sqnr_db: Mapping[str, float]) -> bool:
        return enough and zero_points(model) != {0}

    result = quantize(parse(NET), _samples, FOR_SPEED, accepted=accepted)
    assert (zero_points(result.model) == {0}) == (not enough)
