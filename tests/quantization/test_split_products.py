"""Attention products in two parts: the same function, less INT8 noise, and left alone where that would gain nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.reparameterization.split_products import split_products
from n6convert.runtime.comparison import max_relative_difference, sqnr_db
from n6convert.runtime.session import run_model

from .nets import parse
from .walk import float_islands

PLACES, WIDTH = 128, 16
PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")


def context(sharpness: float) -> ir.Model:
    """Probabilities of 64 places, times values, summed over the places in two blocks of queries."""
    half = PLACES // 2
    body = f"""
    net (float[1,{PLACES},{PLACES}] s, float[1,{PLACES},{WIDTH}] v) => (float[1,{PLACES},{WIDTH}] y) {{
      scaled = Mul(s, sharpness)
      p = Softmax <axis = -1> (scaled)
      t = Transpose <perm = [0, 2, 1]> (v)
      p1, p2 = Split <axis = 1> (p, halves)
      q1 = Reshape(p1, by_query)
      q2 = Reshape(p2, by_query)
      w1 = Mul(q1, t)
      w2 = Mul(q2, t)
      r1 = Reshape(w1, rows)
      r2 = Reshape(w2, rows)
      m1 = GlobalAveragePool(r1)
      m2 = GlobalAveragePool(r2)
      z1 = Reshape(m1, back)
      z2 = Reshape(m2, back)
      y = Concat <axis = 1> (z1, z2)
    }}"""
    shapes = {
        "by_query": [half, 1, PLACES], "rows": [1, half * WIDTH, PLACES], "back": [1, half, WIDTH],
        "halves": [half, half],
    }  # fmt: skip
    return parse(
        body, opset=13, sharpness=np.float32(sharpness), **{k: np.array(v, np.int64) for k, v in shapes.items()}
    )


def samples(count: int = 6, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    shapes = {"s": (1, PLACES, PLACES), "v": (1, PLACES, WIDTH)}
    return [{n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for _ in range(count)]


def test_two_parts_are_the_same_function() -> None:
    model = prepare(context(1.0))
    split, records = split_products(model, samples())
    assert [r["tensor"] for r in records] == ["p"] and 0 < records[0]["share"] < 1
    before, after = (run_model(m, samples(1, seed=5)[0])["y"] for m in (model, split))
    assert max_relative_difference(before, after) < 1e-5
    ops = [n.op_type for n in split.graph]
    assert ops.count("GlobalAveragePool") == 4 and ops.count("Add") == 1


def test_outputs_come_closer_and_stay_int8() -> None:
    def source() -> Iterator[dict[str, np.ndarray]]:
        return iter(samples())

    unseen = samples(3, seed=9)
    plain = quantize(context(1.0), source, PLAIN, held_back=lambda: iter(unseen))
    split = quantize(
        context(1.0), source, PLAIN.model_copy(update={"split_products": True}), held_back=lambda: iter(unseen)
    )
    method = next(m for m in split.facts["methods"] if m["method"] == "split products")
    assert method["kept"] and method["products"][0]["tensor"] == "p"
    assert not float_islands(split.model)

    def level(model: ir.Model) -> float:
        pairs = [(run_model(context(1.0), s)["y"], run_model(model, s)["y"]) for s in unseen]
        return sqnr_db(*(np.stack(arrays) for arrays in zip(*pairs, strict=True)))

    assert level(split.model) > level(plain.model) + 1.5


def test_even_factors_are_left_alone() -> None:
    assert split_products(prepare(context(0.0)), samples())[1] == []


def test_nothing_that_costs_time_happens_unasked() -> None:
    def source() -> Iterator[dict[str, np.ndarray]]:
        return iter(samples())

    result = quantize(context(1.0), source, PLAIN, held_back=source)
    assert "split products" not in [m["method"] for m in result.facts["methods"]]
