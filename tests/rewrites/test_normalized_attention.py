"""Weights that are normalized before they are summed: every spelling, what int8 gains, where it stays away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, sample, software

RULE = "normalized-attention"
TOKENS, SIZE, HEADS = 24, 8, 2
CUT = ("cut-product", "cut-pad", "column-to-mean")
PLAIN = {"ranges": "minmax", "equalization": False, "bias_correction": "off", "rounding": "nearest"}


def parts(g: GraphWriter, spread: float, size: int = SIZE) -> tuple[str, str, str]:
    """Queries, keys and values [1, heads, tokens, size]; features and tokens of trained sizes."""
    x = g.input("x", [1, HEADS, TOKENS, 16])
    loud = g.constant(g.random.lognormal(0, spread, (1, HEADS, TOKENS, 1)))
    x = g.node("Mul", x, loud)
    scales = [g.random.lognormal(0, spread, size) for _ in range(2)] + [np.ones(size)]
    q, k, v = (g.node("MatMul", x, g.constant(g.random.standard_normal((16, size)) * s / 4)) for s in scales)
    q, k = (g.node("Relu", t) if spread else g.node("Add", g.node("Relu", t), g.constant(2.0)) for t in (q, k))
    return str(q), str(k), str(v)


def ends(g: GraphWriter, start: int, stop: int, axis: int) -> list[str]:
    return [g.constant([v], np.int64) for v in (start, stop, axis)]


def padded(g: GraphWriter, spread: float) -> str:
    """Values widened by a column of ones, both sums from one product."""
    q, k, v = parts(g, spread)
    wide = g.node("Pad", v, g.constant([0, 0, 0, 0, 0, 0, 0, 1], np.int64), g.constant(1.0))
    out = g.node("MatMul", q, g.node("MatMul", g.node("Transpose", k, perm=[0, 1, 3, 2]), wide))
    total = g.node("Slice", out, *ends(g, -1, 2**31 - 1, -1))
    return str(g.node("Div", g.node("Slice", out, *ends(g, 0, -1, -1)), g.node("Add", total, g.constant(1e-5))))


def summed(g: GraphWriter, spread: float) -> str:
    """The keys' sum by itself, its product with the queries inverted, and that multiplied; a mean instead of a sum."""
    q, k, v = parts(g, spread)
    turned = g.node("Transpose", k, perm=[0, 1, 3, 2])
    total = g.node("MatMul", q, g.node("ReduceMean", turned, axes=[3]))
    total = g.node("Add", total, g.constant(1e-6))
    return str(g.node("Mul", g.node("MatMul", q, g.node("MatMul", turned, v)), g.node("Reciprocal", total)))


def by_channels(g: GraphWriter, spread: float) -> str:
    """Channels first: (v k^T) q, as the authors' own code has it."""
    q, k, v = (g.node("Transpose", t, perm=[0, 1, 3, 2]) for t in parts(g, spread))
    turned = g.node("Transpose", k, perm=[0, 1, 3, 2])
    wide = g.node("Pad", v, g.constant([0, 0, 0, 0, 0, 0, 1, 0], np.int64), g.constant(1.0))
    out = g.node("MatMul", g.node("MatMul", wide, turned), q)
    total = g.node("Slice", out, *ends(g, -1, 2**31 - 1, -2))
    result = g.node("Div", g.node("Slice", out, *ends(g, 0, -1, -2)), g.node("Add", total, g.constant(1e-5)))
    return str(g.node("Transpose", result, perm=[0, 1, 3, 2]))


def squared(g: GraphWriter, spread: float) -> str:
    """The weights as a matrix: Relu(q k^T) over its sum."""
    q, k, v = parts(g, spread)
    weights = g.node("Relu", g.node("MatMul", q, g.node("Transpose", k, perm=[0, 1, 3, 2])))
    total = g.node("Add", g.node("ReduceSum", weights, g.constant([3], np.int64)), g.constant(1e-5))
    return str(g.node("Div", g.node("MatMul", weights, v), total))


SPELLINGS: list[Callable[[GraphWriter, float], str]] = [padded, summed, by_channels, squared]


def model(spelling: Callable[[GraphWriter, float], str], spread: float) -> ir.Model:
    g = GraphWriter(3)
    return g.model(spelling(g, spread))


def int8_db(float_model: ir.Model, quantized: ir.Model) -> float:
    """SQNR of the INT8 form of a graph by min-max ranges, on samples that made none of them."""
    feeds = [sample(float_model, seed) for seed in range(8)]
    int8 = quantize(quantized, lambda: iter(feeds), QuantizationConfig(**PLAIN)).model
    others = [sample(float_model, seed) for seed in (20, 21, 22, 23)]
    exact, found = (
        np.concatenate([next(iter(run_model(m, s, threads=1).values())) for s in others]) for m in (float_model, int8)
    )
    return sqnr_db(exact, found)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_wide_denominators_are_normalized_first(
    spelling: Callable[[GraphWriter, float], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``apply`` proves the same function; INT8 comes closer by far than without what the quantizer does itself."""
    monkeypatch.setattr("n6convert.quantization.quantizer.normalize_sums", lambda model, *_: (model, []))
    before = model(spelling, 1.2)
    kept = apply(before, *CUT, exclude=[RULE]).model
    after = apply(before, RULE, *CUT)
    assert [a.rule for a in after.applied].count(RULE) == 1
    gained = int8_db(before, after.model) - int8_db(before, kept)
    assert gained > 3, gained


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_least_inverse_is_several_steps_of_its_grid(spelling: Callable[[GraphWriter, float], str]) -> None:
    """One or two steps wrong by a third make shares that saturate, in numerators and denominators alike."""
    after = apply(model(spelling, 0.5), RULE, *CUT).model
    inverses = [n.outputs[0] for n in after.graph if n.op_type == "Reciprocal"]
    assert inverses
    after.graph.outputs.extend(inverses)
    found = run_model(after, sample(after), threads=1)
    spans = [found[str(v.name)].max() / found[str(v.name)].min() for v in inverses]
    assert max(spans[:-1]) < 34 and spans[-1] < 66, spans


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_it_made_is_not_looked_at_again(spelling: Callable[[GraphWriter, float], str]) -> None:
    """Looking costs a run of the network for each shape of its tensors."""
    after = apply(model(spelling, 1.2), RULE, *CUT[:2]).model
    again = apply(after, RULE)
    assert not again.applied and not reasons(again, RULE)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_narrow_ones_stay(spelling: Callable[[GraphWriter, float], str]) -> None:
    result = apply(model(spelling, 0.0), RULE, *CUT)
    assert RULE not in {a.rule for a in result.applied} and "only" in reasons(result, RULE)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_nothing_is_left_on_the_cpu(target: str) -> None:
    rules = (
        "matmul-to-mul-mean",
        "transpose-by-slices",
        "division-to-product",
        "reduce-to-pool",
        "two-sided-broadcast",
    )
    result = apply(model(padded, 1.2), RULE, *CUT, *rules, "merge-layout", "sink-layout", target=target)
    assert not software(result.model, target), software(result.model, target)


def test_a_token_without_weights_gets_zero() -> None:
    """0 / (0 + 1e-5) before, and nothing else afterwards."""
    g = GraphWriter(3)
    before = g.model(padded(g, 1.2))
    after = apply(before, RULE, *CUT).model
    feeds = {k: v.copy() for k, v in sample(before).items()}
    feeds["x"][:, :, 3] = 0.0
    exact, found = (next(iter(run_model(m, feeds, threads=1).values())) for m in (before, after))
    assert not exact[:, :, 3].any() and not found[:, :, 3].any()
    assert np.allclose(exact, found, atol=1e-3 * np.abs(exact).max())


def test_a_quotient_of_something_else_stays() -> None:
    g = GraphWriter(3)
    q, k, v = parts(g, 1.2)
    turned = g.node("Transpose", k, perm=[0, 1, 3, 2])
    other = g.node("ReduceMax", q, axes=[3], keepdims=1)
    out = g.node("MatMul", q, g.node("MatMul", turned, v))
    result = apply(g.model(g.node("Div", out, g.node("Add", other, g.constant(1.0)))), RULE)
    assert not result.applied and "not the sums" in reasons(result, RULE)
    assert ops(result.model)["Div"] == 1
