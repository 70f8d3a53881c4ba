"""Steep functions of wide operands in parts: the same function, far less INT8 noise, left alone where nothing gains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.reparameterization import wide_range_functions
from n6convert.quantization.reparameterization.wide_range_functions import operand_values, split_functions
from n6convert.runtime.comparison import max_relative_difference, sqnr_db
from n6convert.runtime.session import run_model

from .nets import parse
from .walk import float_islands

CHANNELS, BANDS, STEPS = 4, 24, 40
FUNCTIONS = {
    "log of a filter bank": "p = Relu(bands)  s = Add(p, least)  y = Log(s)",
    "power law": "p = Abs(bands)  y = Pow(p, power)",
    "root": "p = Relu(bands)  y = Sqrt(p)",
}


def net(function: str, spread: float) -> ir.Model:
    """A filter bank whose bands differ by e^spread, and a function of it."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((BANDS, CHANNELS, 1)) * rng.lognormal(0, spread, (BANDS, 1, 1))
    body = f"""
    net (float[1,{CHANNELS},{STEPS}] x) => (float[1,{BANDS},{STEPS}] y) {{
      bands = Conv(x, w)
      {FUNCTIONS[function].replace("  ", chr(10))}
    }}"""
    numbers = {"least": np.array(1e-2, np.float32), "power": np.array(0.3, np.float32)}
    used = {n: a for n, a in numbers.items() if n in FUNCTIONS[function]}
    return parse(body, w=weight.astype(np.float32), **used)


def feeds(count: int, seed: int) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    def make() -> Iterator[dict[str, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield {"x": rng.standard_normal((1, CHANNELS, STEPS)).astype(np.float32)}

    return make


def int8_db(model: ir.Model, parts: ir.Model) -> float:
    config = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
    int8 = quantize(parts, feeds(8, 1), config).model
    assert not float_islands(int8)
    pairs = [(run_model(model, s)["y"], run_model(int8, s)["y"]) for s in feeds(4, 2)()]
    return sqnr_db(*(np.concatenate(arrays) for arrays in zip(*pairs, strict=True)))


@pytest.mark.parametrize("function", ["power law", "root"])
def test_parts_are_the_same_function_with_less_noise(function: str) -> None:
    model = prepare(net(function, 1.5))
    parts, records = split_functions(model, operand_values(model, feeds(4, 1)()))
    assert len(records) == 1 and records[0]["thresholds"] == sorted(records[0]["thresholds"])
    for sample in feeds(3, 2)():
        assert max_relative_difference(run_model(model, sample)["y"], run_model(parts, sample)["y"]) < 1e-5
    assert int8_db(model, parts) > int8_db(model, model) + 6


def test_a_logarithm_behind_a_bias() -> None:
    """The constant lies in the layer, as rewrites leave it: log(Relu(W x + b))."""
    rng = np.random.default_rng(0)
    body = f"""
    net (float[1,{CHANNELS},{STEPS}] x) => (float[1,{BANDS},{STEPS}] y) {{
      power = Mul(x, x)
      bands = Conv(power, w, b)
      y = Log(bands)
    }}"""
    weight = rng.uniform(0, 1, (BANDS, CHANNELS, 1)) * rng.lognormal(0, 2, (BANDS, 1, 1))
    model = prepare(parse(body, w=weight.astype(np.float32), b=np.full(BANDS, 1e-2, np.float32)))
    parts, records = split_functions(model, operand_values(model, feeds(4, 1)()))
    assert records and int8_db(model, parts) > int8_db(model, model) + 6


def test_narrow_operands_stay() -> None:
    rng = np.random.default_rng(0)
    body = f"net (float[1,{CHANNELS},{STEPS}] x) => (float[1,{BANDS},{STEPS}] y) {{ b = Conv(x, w, c)  y = Log(b) }}"
    weight, bias = rng.uniform(-0.1, 0.1, (BANDS, CHANNELS, 1)), np.full(BANDS, 4.0)
    model = prepare(parse(body.replace("  ", "\n"), w=weight.astype(np.float32), c=bias.astype(np.float32)))
    assert not split_functions(model, operand_values(model, feeds(4, 1)()))[1]


def test_an_operand_that_is_an_input_has_no_finer_grid() -> None:
    body = f"net (float[1,{CHANNELS},{STEPS}] x) => (float[1,{CHANNELS},{STEPS}] y) {{ p = Relu(x)\n y = Sqrt(p) }}"
    model = prepare(parse(body))
    assert not split_functions(model, operand_values(model, feeds(4, 1)()))[1]


@pytest.mark.parametrize("parts", [None, 2, 3])
def test_an_operand_too_narrow_for_any_threshold_is_left_whole(parts: int | None) -> None:
    """A root of numbers between 0.86 and 1.72: none of the shares lies above the least one, so the search ends."""
    values = np.append(np.linspace(1.70, 1.7237, 511), 0.8633)
    thresholds, noise = wide_range_functions._thresholds(np.sqrt, values, parts)
    assert thresholds == [] and noise > wide_range_functions._FINE
