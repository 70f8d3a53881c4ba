"""Four-bit codes of a layer, and the bias that takes over what they shift."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise.narrow_rounding import narrow_rows
from n6convert.quantization.layerwise.rounding import input_statistics
from n6convert.quantization.layerwise.second_order import DAMPING, round_rows
from n6convert.quantization.layerwise.walk import Layer, walk_layers
from n6convert.quantization.weights.four_bits import best_scales

from .nets import parse

SHAPES = {"conv": (32, 16, 1, 1), "grouped": (32, 8, 1, 1), "gemm": (32, 16)}
BODIES = {
    "conv": "net (float[1,16,6,6] x) => (float[1,32,6,6] y) { r = Relu(x) y = Conv(r, w, b) }",
    "grouped": "net (float[1,16,6,6] x) => (float[1,32,6,6] y) { r = Relu(x) y = Conv<group=2>(r, w, b) }",
    "gemm": "net (float[36,16] x) => (float[36,32] y) { r = Relu(x) y = Gemm<transB=1>(r, w, b) }",
}


def case(kind: str, count: int) -> tuple[Layer, np.ndarray]:
    """A layer whose inputs have a mean far from zero, and its float rows."""
    draw, shape = np.random.default_rng(3), SHAPES[kind]
    weight = draw.normal(0, 0.2, shape).astype(np.float32)
    model = parse(BODIES[kind], w=weight, b=np.zeros(32, np.float32))
    size = (36, 16) if kind == "gemm" else (1, 16, 6, 6)
    mixing = draw.standard_normal((4, 16))

    def sample() -> np.ndarray:
        places = 4 + draw.standard_normal((36, 4)) @ mixing + 0.2 * draw.standard_normal((36, 16))
        return np.ascontiguousarray((places if kind == "gemm" else places.T).reshape(size), np.float32)

    samples = [{"x": sample()} for _ in range(count)]
    config = QuantizationConfig(ranges="minmax", **QuantizationConfig.off())
    result = quantize(model, lambda: iter(samples), config)
    (layer,) = walk_layers(result.model, samples)
    return layer, weight.reshape(32, -1)


@pytest.mark.parametrize("kind", list(BODIES))
def test_the_bias_takes_over_the_mean_of_the_error(kind: str) -> None:
    layer, rows = case(kind, 12)
    scales = best_scales(rows)
    found = narrow_rows(layer, rows, scales)
    assert found.codes.min() >= -8 and found.codes.max() <= 7
    groups = layer.node.attributes.get_int("group", 1)
    step = float(layer.initializer(0, 1).const_value.numpy())
    inputs = np.concatenate(
        [c if kind == "gemm" else c[0].reshape(16, -1).T for c in (q.astype(float) for q in layer.codes())]
    )
    values = step * (inputs - layer.zero_point)
    gaps = rows - found.codes * scales[:, None]
    by_group = [v @ g.T for v, g in zip(np.split(values, groups, 1), np.split(gaps, groups), strict=True)]
    errors = np.concatenate(by_group, axis=1)
    np.testing.assert_allclose(found.shift, errors.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_codes_are_chosen_for_what_the_bias_leaves() -> None:
    layer, rows = case("conv", 12)
    scales, inputs = best_scales(rows), input_statistics(layer, 16, 1)
    around, whole = inputs.around_means()[0], inputs.moments[0]
    found = narrow_rows(layer, rows, scales, inputs=inputs)

    def left(codes: np.ndarray) -> float:
        gaps = rows - codes * scales[:, None]
        return float(np.einsum("ij,jk,ik->", gaps, around, gaps))

    others = round_rows(rows, scales, whole.copy(), limits=(-8, 7), damping=DAMPING)
    nearest = np.clip(np.rint(rows / scales[:, None]), -8, 7)
    assert left(found.codes) < 0.8 * min(left(others), left(nearest))
