from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.methods.second_order_rounding import METHOD
from n6convert.quantization.prepare.prepare import prepare

from .nets import around_one, cnn, feeds, parse, pointwise, record

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(seed: int, *shape: int) -> np.ndarray:
    return (rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.mark.parametrize("attributes", ["pads=[1,1,1,1]", "strides=[2,2], pads=[0,1,1,0]", "dilations=[2,2], group=2"])
def test_second_moments_reproduce_the_layers_energy(attributes: str) -> None:
    """``sum(y^2) = w H w^T`` for a convolution without bias, whatever its geometry."""
    from n6convert.quantization.layerwise.rounding import second_moments
    from n6convert.quantization.layerwise.walk import walk_layers

    groups = 2 if "group" in attributes else 1
    body = f"net (float[1,4,9,9] x) => (float[1,6,n,m] y) {{ y = Conv<{attributes}>(x, w) }}"
    model = parse(body, w=weights(1, 6, 4 // groups, 3, 3))
    samples = list(feeds((1, 4, 9, 9), 3)())
    int8 = quantize(model, feeds((1, 4, 9, 9), 3), PLAIN).model
    layer = next(walk_layers(int8, samples))
    codes, scales = (layer.initializer(1, part).const_value.numpy() for part in (0, 1))
    rows = (codes * scales[:, None, None, None]).reshape(6, -1)
    step = float(layer.initializer(0, 1).const_value.numpy())
    moments = [m * step**2 for m in second_moments(layer, rows.shape[1], groups)]
    energy = np.concatenate(
        [np.einsum("oi,ij,oj->o", r, h, r) for r, h in zip(np.split(rows, groups), moments, strict=True)]
    )
    expected = sum((y.astype(np.float64) ** 2).sum(axis=(0, 2, 3)) for y in layer.outputs())
    np.testing.assert_allclose(energy, expected, rtol=1e-4)


def test_rounding_is_never_worse_than_nearest_on_held_back_samples() -> None:
    held_back = feeds((1, 3, 16, 16), 6, seed=8)
    for seed in range(3):
        scores = [
            Evaluator(prepare(cnn(seed)), list(held_back())).score(
                quantize(
                    cnn(seed), feeds((1, 3, 16, 16), 4), PLAIN.model_copy(update={"rounding": kind}),
                    held_back=held_back,
                ).model
            )
            for kind in ("nearest", "second-order")
        ]  # fmt: skip
        assert scores[1] >= scores[0]


@pytest.mark.parametrize("rounding", ["second-order", "nearest"])
def test_errors_of_weights_that_read_alike_values_cancel(rounding: str) -> None:
    config = PLAIN.model_copy(update={"rounding": rounding, "effort": "thorough"})  # by default 40 dB are enough
    result = quantize(pointwise(), around_one(), config, held_back=around_one(4, 7))
    found, before = record(result, METHOD.name), result.facts["methods"][0]
    assert (found is not None) == (rounding == "second-order") == METHOD.wanted(config)
    if found is not None:
        assert found["kept"] and found["sqnr_db"] > before["sqnr_db"] + 3


def test_without_weights_there_is_nothing_to_round() -> None:
    model = parse("net (float[1,64,8,8] x) => (float[1,64,8,8] y) { y = Relu(x) }")
    result = quantize(model, around_one(), PLAIN.model_copy(update={"rounding": "second-order"}))
    assert record(result, METHOD.name) is None
