"""Biases that undo what rounding the weights shifts, by the means of what layers read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise.measured_bias_correction import correct_by_means, input_means
from n6convert.quantization.layerwise.walk import Layer, layers_of
from n6convert.quantization.methods import bias_correction
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.session import Session

from .nets import around_one, feeds, parse, pointwise, record
from .test_padding import BODY, MASK

PLAIN = QuantizationConfig(ranges="minmax", **QuantizationConfig.off())


def biases(layer: Layer) -> NDArray[np.float64]:
    codes, steps = (layer.initializer(2, part).const_value.numpy() for part in (0, 1))  # type: ignore[union-attr]
    return np.asarray(codes * steps, np.float64)


def test_means_are_those_of_tokens_and_the_shift_goes() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((6, 5)).astype(np.float32)
    model = parse(
        BODY.replace("[1,4,6] z", "[1,4,5] z").replace(
            "z = MatMul(p, x)", "q = MatMul(p, x)\n m = MatMul(q, w)\n z = Add(m, b)"),
        w=w, b=np.ones(5, np.float32),
    )  # fmt: skip
    samples = [{"x": rng.standard_normal((1, 4, 6)).astype(np.float32) + 1, "mask": MASK} for _ in range(4)]
    prepared, result = prepare(model), quantize(model, lambda: iter(samples), PLAIN)
    means = input_means(prepared, samples)
    (layer,) = layers_of(result.model)
    read = [Session(prepared, ["q"]).run_on(s)["q"][0, :3] for s in samples]
    np.testing.assert_allclose(means[layer.name], np.mean(np.concatenate(read), axis=0), rtol=1e-5)
    before = biases(layer)
    correct_by_means(prepared, result.model, means)
    shift = means[layer.name] @ (w - layer.weight().reshape(6, 5))
    assert np.abs(shift).max() > layer.output_scale / 8
    np.testing.assert_allclose(biases(layer) - before, shift, atol=layer.output_scale / 16)


@pytest.mark.parametrize(("behind", "left"), [("y = Relu(a)", 0), ("y = Add(a, x)", 1)])
def test_layers_that_a_function_reads_stay(behind: str, left: int) -> None:
    body = f"net (float[1,3,4,4] x) => (float[1,3,4,4] y) {{ a = Conv(x, w)\n {behind} }}"
    model = prepare(parse(body, w=np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)))
    assert len(input_means(model, feeds((1, 3, 4, 4), 2)())) == left


@pytest.mark.parametrize(("rounded", "padded"), [(True, True), (False, True), (True, False)])
def test_it_is_tried_where_errors_of_texts_have_little_in_common(
    rounded: bool, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless weights are exact, or nothing is padded."""
    monkeypatch.setattr(bias_correction, "tokens_of", lambda *_: np.ones(1, bool) if padded else None)
    monkeypatch.setattr(bias_correction, "_IN_COMMON", np.inf)
    monkeypatch.setattr("n6convert.quantization.quantizer._FINE", np.inf)
    model = pointwise()
    for value in model.graph.initializers.values() if not rounded else ():
        value.const_value = type(value.const_value)(np.sign(value.const_value.numpy()), name=value.name)  # type: ignore
    config = PLAIN.model_copy(update={"bias_correction": "sequential"})
    result = quantize(model, around_one(), config, held_back=around_one(16, 7))
    found = record(result, bias_correction.METHOD.name)
    assert (found is not None) == (rounded and padded)
    if found is not None:
        assert found["kept"] and found["kind"] == "means"
        assert found["sqnr_db"] > result.facts["methods"][0]["sqnr_db"] + 3
