"""Grids that several tensors share: what they cost counts for each of the tensors, measured on the values."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.grid.from_ranges import make_plan
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.grid.zero_points import FAST_ZERO_POINTS, MAX_LOSS_DB, prefer_fast_zero_points
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.find import RangeResult, find_ranges

from .nets import feeds, parse
from .shared_grids import SIZE, least_loss, shared_net, tensor_losses, tensor_values

CONFIG = QuantizationConfig(threads=1)
PLAIN = CONFIG.model_copy(
    update={"equalization": False, "bias_correction": "off", "rounding": "nearest", "merge_convolutions": False}
)
SOURCE = feeds((1, 4, SIZE, SIZE), 6)
SEEDS = range(10)


@pytest.fixture(scope="module", params=SEEDS)
def calibrated(request: pytest.FixtureRequest) -> Iterator[tuple[ir.Model, RangeResult, Plan]]:
    model = prepare(shared_net(request.param))
    found = find_ranges(model, SOURCE, list(SOURCE())[:4], CONFIG, None)
    yield model, found, make_plan(model.graph, dict(found.ranges))


def _written(model: ir.Model, plan: Plan) -> list[str]:
    """Tensors that the INT8 model holds."""
    names = [v.name or "" for n in model.graph for v in n.outputs]
    return [n for n in names if n in plan.grids and n not in plan.absorbed_inputs]


def test_no_grid_costs_its_tensors_much_more_than_the_best_one(calibrated: tuple[ir.Model, RangeResult, Plan]) -> None:
    model, found, plan = calibrated
    plainly_read = [n for n in _written(model, plan) if found.effects.get(n) is None]
    values = tensor_values(model, list(SOURCE()), plainly_read)
    on_grid: dict[object, list[str]] = {}
    for name in values:
        on_grid.setdefault(plan.grids[name], []).append(name)
    shared = {grid: names for grid, names in on_grid.items() if len(names) > 1}
    for grid, names in shared.items():
        lost = tensor_losses({n: values[n] for n in names}, dict.fromkeys(names, grid))  # type: ignore[arg-type]
        assert sum(lost.values()) < 2 * least_loss([values[n] for n in names]) + 1e-5, names


@pytest.mark.parametrize("policy", list(MAX_LOSS_DB))
def test_what_cheap_zero_points_cost_every_tensor(calibrated: tuple[ir.Model, RangeResult, Plan], policy: str) -> None:
    """One bit at most, and nothing where accuracy comes first."""
    model, found, plan = calibrated
    ranges = dict(found.ranges)
    records = prefer_fast_zero_points(model, ranges, found.statistics, found.effects, policy, None)
    after = make_plan(model.graph, ranges)
    values = tensor_values(model, list(SOURCE()), _written(model, plan))
    old, new = (tensor_losses(values, p.grids) for p in (plan, after))
    lost = {n: 10 * np.log10(new[n] / old[n]) for n in old if old[n] > 0}
    assert max(lost.values()) < (0.2 if policy == "accuracy" else 7.5), lost
    assert all(after.grids[r["name"]].zero_point in FAST_ZERO_POINTS for r in records if r["taken"])
    assert policy != "speed" or all(r["taken"] for r in records)


JOINS = {
    "beside": "j = Concat<axis=1>(r, b)  y = Conv<pads=[1,1,1,1]>(j, w16, b4)",
    "the other way round": "j = Concat<axis=1>(b, r)  y = Conv<pads=[1,1,1,1]>(j, w16, b4)",
    "three": "s = Sigmoid(b)  j = Concat<axis=1>(r, s, b)  y = Conv<pads=[1,1,1,1]>(j, w24, b4)",
    "nested": "i = Concat<axis=1>(r, r)  j = Concat<axis=1>(i, b)  y = Conv<pads=[1,1,1,1]>(j, w24, b4)",
    "behind pools": """p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(b)
        j = Concat<axis=1>(r, p)  y = Conv<pads=[1,1,1,1]>(j, w16, b4)""",
    "behind a Transpose": """t = Transpose<perm=[0,1,3,2]>(b)
        j = Concat<axis=1>(r, t)  y = Conv<pads=[1,1,1,1]>(j, w16, b4)""",
    "behind a Resize": """p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)  u = Resize<mode="nearest">(p, , scales)
        j = Concat<axis=1>(r, u)  y = Conv<pads=[1,1,1,1]>(j, w16, b4)""",
    "small branch read elsewhere": """m = Mul(b, tiny)  j = Concat<axis=1>(r, m)  z = Conv<pads=[1,1,1,1]>(m, w8, b4)
        q = Conv<pads=[1,1,1,1]>(j, w16, b4)  y = Add(q, z)""",
    "small branch that counts": """m = Mul(b, tiny)  j = Concat<axis=1>(r, m)  k = Mul(j, scale)
        z = Neg(m)  q = Conv<pads=[1,1,1,1]>(k, w16, b4)  s = Conv<pads=[1,1,1,1]>(z, w8, b4)  y = Add(q, s)""",
    "split again": """j = Concat<axis=1>(r, b)  h, l = Split<axis=1>(j, halves)
        p = Conv<pads=[1,1,1,1]>(h, w8, b4)  q = Conv<pads=[1,1,1,1]>(l, w8, b4)  y = Add(p, q)""",
}


def _joining(body: str) -> ir.Model:
    rng = np.random.default_rng(0)

    def kernel(channels: int, count: int = 4) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(9 * channels), (count, channels, 3, 3)).astype(np.float32)

    weights = {"wa": kernel(4, 8), "wb": kernel(4, 8), "w8": kernel(8), "w16": kernel(16), "w24": kernel(24)}
    weights |= {"ba": np.full(8, 0.1, np.float32), "bb": np.full(8, -0.4, np.float32), "b4": np.zeros(4, np.float32)}
    weights |= {"scales": np.array([1, 1, 2, 2], np.float32), "halves": np.array([8, 8])}
    weights |= {"tiny": np.array(0.2, np.float32)}
    scale = np.ones((1, 16, 1, 1), np.float32)
    scale[:, 8:] = 5.0
    head = "a = Conv<pads=[1,1,1,1]>(x, wa, ba)  r = Relu(a)  b = Conv<pads=[1,1,1,1]>(x, wb, bb)"
    text = f"net (float[1,4,{SIZE},{SIZE}] x) => (float[1,4,{SIZE},{SIZE}] y) {{ {head} {body} }}"
    weights |= {"scale": scale}
    return parse(text, **{name: array for name, array in weights.items() if re.search(rf"\b{name}\b", text)})


@pytest.mark.parametrize("body", JOINS.values(), ids=JOINS)
@pytest.mark.parametrize("policy", ["accuracy", "balanced"])
def test_a_join_of_values_of_one_sign_and_of_both(body: str, policy: str) -> None:
    config = PLAIN.model_copy(update={"zero_points": policy})
    result = quantize(_joining(body), SOURCE, config, held_back=feeds((1, 4, SIZE, SIZE), 3, seed=9))
    assert result.facts["outputs_sqnr_db"]["y"] > (30 if policy == "accuracy" else 26)
