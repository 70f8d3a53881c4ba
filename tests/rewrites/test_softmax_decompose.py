from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, sample, software


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    ("shape", "axis"), [([1, 4, 6, 10], -1), ([1, 5, 7], 2), ([1, 12, 3, 4], 1), ([3, 8], 1), ([1, 4, 16, 20], 2)]
)
def test_any_axis_is_exact_and_stays_on_the_npu(op: str, shape: list[int], axis: int, target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node(op, g.input("x", shape), axis=axis))
    assert any(op in kind for kind in software(model, target))
    result = apply(model, "softmax-decompose", "transpose-by-slices", target=target)
    assert op not in ops(result.model)
    assert not software(result.model, target)


def test_a_target_that_expands_softmax_keeps_the_operator() -> None:
    g = GraphWriter()
    target = f"{NEW}+expand-softmax"
    model = g.model(g.node("Softmax", g.input("x", [1, 4, 6, 10])))
    result = apply(model, "softmax-decompose", target=target)
    assert ops(result.model) == {"Softmax": 1} and not software(result.model, target)
    assert "left to the compiler" in reasons(result, "softmax-decompose")


def test_an_axis_between_long_ones_is_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("Softmax", g.input("x", [1, 64, 8, 5]), axis=2)), "softmax-decompose")
    assert "between two others" in reasons(result, "softmax-decompose")
    assert ops(result.model)["Softmax"] == 1


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_int8_log_probabilities_are_as_good_as_their_grid(scale: float) -> None:
    """Tails of CTC and of losses: the sum that is taken off is exact, whatever the scores' range."""
    g = GraphWriter()
    model = g.model(g.node("LogSoftmax", g.node("Mul", g.input("x", [1, 12, 11]), g.constant(scale)), axis=-1))
    samples = [sample(model, seed) for seed in range(24)]
    rewritten = rewrite(model, lambda: samples[:20], RewriteConfig(), target=NEW).model
    assert not software(rewritten, NEW)
    quantized = quantize(rewritten, lambda: samples[:20], QuantizationConfig(effort="fast")).model
    name = str(model.graph.outputs[0].name)
    wanted = np.stack([run_model(model, s)[name] for s in samples[20:]])
    found = np.stack([run_model(quantized, s)[name] for s in samples[20:]])
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 2 * np.abs(wanted).max() / 255
