"""Learned rounding: weights decide for codes that serve their block, a step from the chosen ones at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize  # noqa: E402
from n6convert.tuning import Example, TuneConfig, TuneResult, tune  # noqa: E402
from n6convert.tuning.parameters import Parameters  # noqa: E402
from n6convert.tuning.rounding import Rounding  # noqa: E402

from .nets import parse, smooth, weights_of  # noqa: E402

SHAPES = {"w0": (16, 3, 3, 3), "w1": (16, 16, 3, 3)}
BODY = """
net (float[1,3,12,12] x) => (float[1,16,12,12] y) {
  c = Conv<pads=[1,1,1,1]>(x, w0, b) r = Relu(c)
  y0 = Conv<pads=[1,1,1,1]>(r, w1, b) y = Relu(y0)
}"""


@pytest.fixture(scope="module")
def compensated() -> QuantizationResult:
    """Four-bit weights as the quantizer rounds them: errors of neighbors, whose inputs are alike, cancel."""
    model = parse(BODY, b=np.zeros(16, np.float32), **weights_of(SHAPES))
    config = QuantizationConfig(weights="int4", equalization=False, merge_convolutions=False, threads=1)
    return quantize(model, lambda: smooth(32), config)


def nearest(result: QuantizationResult) -> QuantizationResult:
    """The same grids, each weight on the code next to it."""
    assert result.prepared is not None
    exact = {n.outputs[0].name: n.inputs[1].const_value.numpy() for n in result.prepared.graph if n.op_type == "Conv"}
    parameters = Parameters(result.model, result.prepared)
    held = numbers(result.model)
    with torch.no_grad():
        for weight in exact.values():
            name = next(n for n, a in held.items() if n.endswith("_quantized") and a.shape == weight.shape)
            steps = weight / held[name.replace("_quantized", "_scale")].reshape(-1, 1, 1, 1)
            limit = 7 if held[name].dtype.name == "int4" else 127
            leaf = next(leaf for n, leaf in parameters.leaves.items() if n.endswith(f"/{name}") and leaf.dim() == 4)
            leaf.copy_(torch.from_numpy(np.clip(np.round(steps), -limit, limit)))
    return replace(result, model=parameters.written())


def numbers(model: ir.Model) -> dict[str, np.ndarray]:
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}


def learned(result: QuantizationResult) -> TuneResult:
    assert result.prepared is not None
    config = TuneConfig(block_steps=80, steps=0, time_budget=None, rounding_rate=0.1)
    source = smooth(32, seed=5)
    return tune(
        result.model, result.prepared, lambda epoch: (Example(f) for f in source), smooth(16, seed=99), config,
        threads=1,
    )  # fmt: skip


def test_nearest_rounding_is_worse_than_learned(compensated: QuantizationResult) -> None:
    first = nearest(compensated)
    result = learned(first)
    facts = result.facts
    assert facts["kept"] and facts["gain"]["low"] > 2, facts["gain"]
    before, after = numbers(first.model), numbers(result.model)
    moved = after["w1_quantized"].astype(int) - before["w1_quantized"].astype(int)
    assert 0.02 < np.mean(moved != 0) < 0.5 and np.abs(moved).max() == 1
    assert facts["agreement"][1]["differing"] <= 1e-4 * facts["agreement"][1]["codes"]
    assert [n.op_type for n in result.model.graph] == [n.op_type for n in first.model.graph]


def test_errors_that_cancel_are_hardly_disturbed(compensated: QuantizationResult) -> None:
    """Moved towards float weights, or all at once, this network loses five decibels and more."""
    facts = learned(compensated).facts
    assert facts["gain"]["db"] > -0.5
    assert facts["before"]["closeness_db"] > learned(nearest(compensated)).facts["after"]["closeness_db"]


def test_weights_decide_near_ones_first_and_all_in_the_end() -> None:
    chosen = torch.tensor([0.0, 0.0, 0.0, 7.0, -7.0])
    places = torch.tensor([0.1, 0.45, 1.8, 7.6, -7.2])
    rounding, leaf = Rounding(chosen, 7.0), places.clone()
    rounding.settle(leaf, 0.1)
    torch.testing.assert_close(leaf, torch.tensor([0.1, 0.45, 1.0, 7.0, -7.0]))
    rounding.settle(leaf, 0.5)
    torch.testing.assert_close(leaf, torch.tensor([0.0, 0.45, 1.0, 7.0, -7.0]))
    rounding.settle(leaf, 0.95)
    torch.testing.assert_close(leaf, torch.tensor([0.0, 0.0, 1.0, 7.0, -7.0]))
