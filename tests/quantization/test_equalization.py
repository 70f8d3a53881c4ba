from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.equalization.equalize import equalize
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.methods import Candidate
from n6convert.quantization.methods.equalization import METHOD
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.find import RangeResult
from n6convert.quantization.time_budget import BudgetExceeded
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import around_one, feeds, parse, pointwise, record

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(seed: int, *shape: int) -> np.ndarray:
    return (rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def uneven_net() -> ir.Model:
    """Channels of very different size between layers: Conv-PRelu-depthwise-Relu-Conv, a residual sum, ConvTranspose."""
    size = np.geomspace(0.05, 20, 8).astype(np.float32)
    body = """
    net (float[1,3,12,12] x) => (float[1,4,24,24] y) {
      a = Conv<pads=[1,1,1,1]>(x, w1, b1)
      p = PRelu(a, slope)
      d = Conv<pads=[1,1,1,1], group=8>(p, w2, b2)
      r = Relu(d)
      e = Conv(r, w3, b3)
      f = Conv(e, w4, b4)
      s = Add(e, f)
      y = ConvTranspose<strides=[2,2]>(s, w5, b5)
    }"""
    w1 = weights(1, 8, 3, 3, 3) * size[:, None, None, None]
    w3 = weights(3, 8, 8, 1, 1) * size[:, None, None, None] / size[None, :, None, None]
    w4 = weights(4, 8, 8, 1, 1) * size[:, None, None, None] / size[None, :, None, None]
    w5 = weights(5, 8, 4, 2, 2) / size[:, None, None, None]
    slope = np.full((8, 1, 1), 0.25, np.float32)
    values = {"w1": w1, "w2": weights(2, 8, 1, 3, 3), "w3": w3, "w4": w4, "w5": w5, "slope": slope}
    biases = {f"b{i + 1}": weights(10 + i, n, 1)[:, 0] * 0.01 for i, n in enumerate((8, 8, 8, 8, 4))}
    return parse(body, **values, **biases)


def test_equalization_is_exact_in_float_and_evens_channels_out() -> None:
    model, source = prepare(uneven_net()), feeds((1, 3, 12, 12))
    even, records, _ = equalize(model, list(source()))
    assert len(records) >= 3
    sample = next(iter(feeds((1, 3, 12, 12), seed=5)()))
    before, after = run_model(model, sample)["y"], run_model(even, sample)["y"]
    assert max_relative_difference(before, after) < 1e-5


def test_equalization_helps_where_channels_are_uneven() -> None:
    source, held_back = feeds((1, 3, 12, 12), 8), feeds((1, 3, 12, 12), 4, seed=7)
    result = quantize(uneven_net(), source, PLAIN.model_copy(update={"equalization": True}), held_back=held_back)
    plain, even = (m for m in result.facts["methods"] if m["method"] in ("ranges: minmax", "equalization"))
    assert even["method"] == "equalization" and even["kept"]
    assert even["sqnr_db"] > plain["sqnr_db"] + 3


def test_grouped_and_linear_layers_equalize_exactly() -> None:
    body = """
    net (float[1,4,6,6] x) => (float[1,5] y) {
      a = Conv<group=2>(x, w1, b1)
      r = Relu(a)
      c = Conv<group=2>(r, w2, b2)
      q = Relu(c)
      g = GlobalAveragePool(q)
      f = Flatten(g)
      y = Gemm<transB=1>(f, w3, b3)
    }"""
    size = np.geomspace(0.1, 10, 8).astype(np.float32)
    values = {
        "w1": weights(1, 8, 2, 1, 1) * size[:, None, None, None],
        "w2": weights(2, 8, 4, 1, 1),
        "w3": weights(3, 5, 8),
    }
    values["w2"] *= size[:, None, None, None]
    model = prepare(parse(body, **values, b1=np.zeros(8, "f4"), b2=np.zeros(8, "f4"), b3=np.zeros(5, "f4")))
    even, records, _ = equalize(model, list(feeds((1, 4, 6, 6))()))
    assert len(records) == 2
    sample = next(iter(feeds((1, 4, 6, 6), seed=3)()))
    assert max_relative_difference(run_model(model, sample)["y"], run_model(even, sample)["y"]) < 1e-5


@pytest.mark.parametrize("key", [{"equalization": False}, {"ranges_file": "ranges.json"}])
def test_the_recipe_may_leave_it_out(key: dict[str, object]) -> None:
    assert METHOD.wanted(QuantizationConfig()) and not METHOD.wanted(QuantizationConfig(**key))


def test_off_it_is_not_run_and_on_it_says_what_it_evened_out() -> None:
    results = [
        quantize(uneven_net(), feeds((1, 3, 12, 12)), PLAIN.model_copy(update={"equalization": on}))
        for on in (False, True)
    ]
    off, on = (record(r, METHOD.name) for r in results)
    assert off is None and on is not None and len(on["groups"]) >= 3


def test_a_single_layer_has_nothing_to_even_out() -> None:
    result = quantize(pointwise(), around_one(), PLAIN.model_copy(update={"equalization": True}))
    assert record(result, METHOD.name) is None


@pytest.mark.parametrize(("effort", "again"), [("default", False), ("thorough", True)])
def test_channels_that_were_evened_out_are_not_again(effort: str, again: bool) -> None:
    tried = []

    class Context:
        config = QuantizationConfig(effort=effort)

        def completed(self, *_: object) -> None:
            tried.append(1)
            raise BudgetExceeded

    best = Candidate(
        prepare(uneven_net()), RangeResult({}, {}, {}, {}), Plan(), uneven_net(), lambda: None, [], even=True
    )  # type: ignore[arg-type,return-value]
    if again:
        with pytest.raises(BudgetExceeded):
            METHOD.attempt(Context(), best)  # type: ignore[arg-type]
    else:
        assert METHOD.attempt(Context(), best) is None  # type: ignore[arg-type]
    assert bool(tried) == again
