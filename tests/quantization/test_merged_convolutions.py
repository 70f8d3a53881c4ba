from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.equalization.equalize import Evened
from n6convert.quantization.methods import Candidate, MethodContext, equalization
from n6convert.recipe.quantization import Bias
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .nets import feeds, parse
from .walk import float_islands


def weights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def operators(model: ir.Model) -> float:
    """A predictor for which fewer operators are faster."""
    return float(model.graph.num_nodes())


def uneven(first: np.ndarray, second: np.ndarray) -> ir.Model:
    """A factor for each channel, then sums of channels."""
    body = """
    net (float[1,8,16,16] x) => (float[1,4,16,16] y) {
      d = Conv<group=8>(x, w1)
      y = Conv(d, w2)
    }"""
    return parse(body, w1=first.reshape(8, 1, 1, 1).astype(np.float32), w2=second.astype(np.float32))


def test_the_method_is_kept_where_it_costs_no_accuracy() -> None:
    """Large sums that cancel in the second convolution: what lies between them needs a coarse grid."""
    factors = np.tile([50.0, 50.5], 4)
    second = np.kron(np.eye(4), [1.0, -1.0]).reshape(4, 8, 1, 1)

    def source() -> Iterator[dict[str, np.ndarray]]:
        """Every other channel nearly that before it."""
        for sample in feeds((1, 8, 16, 16), 8)():
            values = sample["x"]
            values[:, 1::2] = values[:, ::2] + 0.1 * values[:, 1::2]
            yield sample

    model = uneven(factors, second)
    result = quantize(model, source, milliseconds=operators)
    record = result.facts["methods"][-1]
    assert record["method"] == "merged convolutions" and record["kept"] and len(record["pairs"]) == 1
    assert [n.op_type for n in result.model.graph].count("Conv") == 1
    assert float_islands(result.model) == []
    two = quantize(model, source, QuantizationConfig(merge_convolutions=False)).model
    sample = next(source())
    reference = run_model(model, sample)["y"]
    one, other = (sqnr_db(reference, run_model(m, sample)["y"]) for m in (result.model, two))
    assert one > other + 1


@pytest.mark.parametrize(("rest", "tried"), [(0, True), (1000, False)])
def test_the_method_is_tried_where_it_saves_time_or_the_rounding_between_is_seen(rest: int, tried: bool) -> None:
    """What lies between the two is the input once more, and one operator less is much or little."""
    model = uneven(np.ones(8), weights(2, 4, 8, 1, 1))
    result = quantize(model, feeds((1, 8, 16, 16)), milliseconds=lambda model: rest + operators(model))
    left_out = {m["method"]: m["most_db"] for m in result.facts["methods_not_promising"]}
    assert ("merged convolutions" in [m["method"] for m in result.facts["methods"]]) is tried
    assert tried or left_out["merged convolutions"] < 0.5


def test_the_method_is_dropped_where_it_costs_accuracy() -> None:
    """Channels of very unlike size that the first evens out: the one would need weights as unlike."""
    sizes = np.geomspace(0.01, 1, 8)

    def source() -> Iterator[dict[str, np.ndarray]]:
        for sample in feeds((1, 8, 16, 16), 8)():
            yield {"x": sample["x"] * sizes.reshape(1, 8, 1, 1).astype(np.float32)}

    result = quantize(uneven(1 / sizes, weights(2, 4, 8, 1, 1)), source, milliseconds=operators)
    record = result.facts["methods"][-1]
    assert record["method"] == "merged convolutions" and not record["kept"]
    assert [n.op_type for n in result.model.graph].count("Conv") == 2


def test_even_channels_of_the_two_are_those_of_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that were evened out, kept or not, are not evened out again for the merged convolutions."""
    counted = []
    equalize = equalization.equalize

    def noted(model: ir.Model, *args: Any, **kwargs: Any) -> Evened:
        counted.append(sum(n.op_type == "Conv" for n in model.graph))
        return equalize(model, *args, **kwargs)

    monkeypatch.setattr(equalization, "equalize", noted)
    monkeypatch.setattr(MethodContext, "promises", lambda *_: True)
    rng = np.random.default_rng(5)
    body = """
    net (float[1,8,16,16] x) => (float[1,4,16,16] y) {
      a = Conv(x, w0)
      r = Relu(a)
      d = Conv<group=8>(r, w1)
      y = Conv(d, w2)
    }"""
    first = weights(1, 8, 8, 1, 1) * np.geomspace(0.05, 1, 8).reshape(8, 1, 1, 1).astype(np.float32)
    model = parse(body, w0=first, w1=rng.uniform(0.5, 2, (8, 1, 1, 1)).astype(np.float32), w2=weights(2, 4, 8, 1, 1))
    result = quantize(
        model, feeds((1, 8, 16, 16), 16), held_back=feeds((1, 8, 16, 16), 8, seed=3), milliseconds=operators
    )
    assert "merged convolutions" in [m["method"] for m in result.facts["methods"]]
    assert counted == [3], "of the model with both convolutions, once"
    sample = next(feeds((1, 8, 16, 16), 1, seed=9)())
    assert sqnr_db(run_model(model, sample)["y"], run_model(result.model, sample)["y"]) > 25


def test_biases_of_merged_weights_are_corrected_also_where_those_of_the_two_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corrected = []
    refined = MethodContext.refined

    def noted(self: MethodContext, best: Candidate, *, rounding: bool, bias: Bias, screen: bool = False) -> Candidate:
        corrected.append(bias)
        return refined(self, best, rounding=rounding, bias=bias, screen=screen)

    monkeypatch.setattr(MethodContext, "refined", noted)
    model = uneven(np.ones(8), weights(2, 4, 8, 1, 1))
    found = quantize(model, feeds((1, 8, 16, 16)), held_back=feeds((1, 8, 16, 16), 8, seed=3), milliseconds=operators)
    records = {m["method"]: m for m in found.facts["methods"]}
    assert "merged convolutions" in records and records.get("bias correction", {}).get("kind") != "sequential"
    assert corrected[-1] == "sequential"


def test_pairs_that_save_time_only_alone_are_not_quantized_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MethodContext, "promises", lambda *_: False)

    def milliseconds(model: ir.Model) -> float:
        quantized = any(n.op_type == "QuantizeLinear" for n in model.graph)
        return 10.0 if quantized else operators(model)

    model = uneven(np.ones(8), weights(2, 4, 8, 1, 1))
    result = quantize(model, feeds((1, 8, 16, 16), 8), milliseconds=milliseconds)
    assert "merged convolutions" not in [m["method"] for m in result.facts["methods"]]


@pytest.mark.parametrize("wanted", [True, False], ids=["no predictor", "not wanted"])
def test_the_method_needs_a_predictor_and_the_recipe(wanted: bool) -> None:
    model = uneven(np.ones(8), weights(2, 4, 8, 1, 1))
    config = QuantizationConfig(merge_convolutions=wanted)
    result = quantize(model, feeds((1, 8, 16, 16)), config, milliseconds=None if wanted else operators)
    assert "merged convolutions" not in [m["method"] for m in result.facts["methods"]]


def test_weights_that_were_rounded_when_merged_are_not_rounded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MethodContext, "rounding_promises", lambda *_: True)
    model = uneven(np.ones(8), weights(2, 4, 8, 1, 1))
    result = quantize(model, feeds((1, 8, 16, 16), 16), milliseconds=operators)
    records = {m["method"]: m["kept"] for m in result.facts["methods"]}
    assert records["merged convolutions"] and "second-order rounding" not in records
    apart = quantize(model, feeds((1, 8, 16, 16), 16), QuantizationConfig(merge_convolutions=False))
    assert "second-order rounding" in [m["method"] for m in apart.facts["methods"]]
