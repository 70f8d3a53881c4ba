from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import quantize
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, sample, software

RULE = "lrn-decompose"


def network(**attributes: float) -> tuple[GraphWriter, str]:
    g = GraphWriter()
    x = g.node("Relu", g.node("Conv", g.input("x", [1, 8, 12, 12]), g.weight(16, 8, 3, 3)))
    return g, g.node("LRN", x, **attributes)


@pytest.mark.parametrize("size", [1, 3, 5, 41])
@pytest.mark.parametrize("numbers", [{}, {"alpha": 2.0, "beta": 0.5, "bias": 2.0}, {"alpha": 1.0, "beta": 1.0}])
def test_the_same_numbers(size: int, numbers: dict[str, float]) -> None:
    g, y = network(size=size, **numbers)
    assert "LRN" not in ops(apply(g.model(y), RULE, target=NEW).model)


def test_no_part_runs_on_the_cpu_and_int8_is_close() -> None:
    g, y = network(size=5, alpha=1.0, beta=0.75, bias=2.0)
    model = g.model(y)
    samples = [sample(model, seed) for seed in range(12)]
    rewritten = rewrite(model, lambda: samples, RewriteConfig(), target=NEW).model
    assert software(model, NEW) and not software(rewritten, NEW)
    quantized = quantize(rewritten, lambda: samples, QuantizationConfig(effort="fast")).model
    wanted, found = (run_model(m, samples[0])[y] for m in (model, quantized))
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 2 * np.ptp(wanted) / 255


def test_a_core_without_powers_keeps_it() -> None:
    g, y = network(size=5)
    assert "before core 4.0" in reasons(apply(g.model(y), RULE, target=OLD), RULE)
