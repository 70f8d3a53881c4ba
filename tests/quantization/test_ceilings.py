"""INT8 models with exact parts, and methods that are not tried where exact parts bring nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.ceilings import (
    changed_tensors,
    with_exact_tensors,
    with_exact_weights,
    with_rounded_weights,
)
from n6convert.quantization.fidelity import Fidelity
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.methods import bias_correction
from n6convert.quantization.methods.candidate import Candidate
from n6convert.quantization.methods.context import CLIPPED
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.find import RangeResult
from n6convert.recipe.quantization import Effort
from n6convert.runtime.session import run_model

from .nets import feeds, parse

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
SHAPE = (1, 8, 6, 6)
TWO = "net (float[1,8,6,6] x) => (float[1,4,6,6] y) { h = Conv(x, w) y = Conv(h, v) }"


def two_layers() -> ir.Model:
    rng = np.random.default_rng(2)
    w, v = (rng.normal(0, 0.4, shape).astype(np.float32) for shape in ((8, 8, 1, 1), (4, 8, 1, 1)))
    return parse(TWO, w=w, v=v)


def grid(model: ir.Model, name: str, values: np.ndarray) -> np.ndarray:
    """Values on the grid of a tensor of the INT8 model."""
    node = next(n for n in model.graph if n.op_type == "QuantizeLinear" and (n.inputs[0].name or "").startswith(name))
    scale, zero = (n.const_value.numpy() for n in node.inputs[1:3])
    return (np.clip(np.rint(values / scale) + zero, -128, 127) - zero.astype(np.float32)) * scale


def grid_step(model: ir.Model, name: str) -> float:
    return float(np.diff(np.unique(grid(model, name, np.linspace(-1, 1, 4096)))).min())


def test_exact_parts_are_all_that_changes() -> None:
    model, sample = two_layers(), next(iter(feeds(SHAPE)()))
    float_model = prepare(model)
    int8 = quantize(model, feeds(SHAPE), PLAIN).model
    w, v = (layer.weight()[:, :, 0, 0] for layer in layers_of(int8))

    def net(x: np.ndarray) -> np.ndarray:
        return np.einsum("oi,bihw->bohw", v @ w, x)

    rounded = with_rounded_weights(float_model, int8)
    assert {n.op_type for n in rounded.graph} == {"Conv"}
    np.testing.assert_allclose(run_model(rounded, sample)["y"], net(sample["x"]), atol=1e-5)
    assert np.abs(run_model(float_model, sample)["y"] - net(sample["x"])).max() > 1e-3
    unrounded = with_exact_weights(float_model, with_exact_tensors(int8, {"x", "h"}))
    gaps = run_model(unrounded, sample)["y"] - run_model(float_model, sample)["y"]
    assert np.abs(gaps).max() < 1.01 * grid_step(int8, "y")
    for names, x in (({"x", "h", "y"}, sample["x"]), ({"h", "y"}, grid(int8, "x", sample["x"]))):
        found, step = run_model(with_exact_tensors(int8, names), sample)["y"], grid_step(int8, "y")
        assert np.abs(found - net(x)).max() < 0.51 * step, "what the graph gives is on its grid"
    np.testing.assert_array_equal(run_model(with_exact_tensors(int8, ()), sample)["y"], run_model(int8, sample)["y"])


def test_changed_tensors_are_those_that_another_form_makes_otherwise_and_their_readers_results() -> None:
    body = "net (float[1,4] x) => (float[1,4] z) { a = Relu(x) b = Neg(a) c = Abs(b) z = Sqrt(c) }"
    before, after = parse(body), parse(body.replace("Neg(a)", "Tanh(a)"))
    assert changed_tensors(before, before) == set()
    assert changed_tensors(before, after) == {"a", "b", "c"}


#: uneven channels that end in a share of the result far below its rounding
BRANCHES = """net (float[1,8,6,6] x) => (float[1,8,6,6] y) {
  h = Conv(x, w)
  r = Relu(h)
  s = Conv(r, v)
  l = Conv(x, u)
  y = Add(l, s)
}"""


@pytest.mark.parametrize(("share", "effort", "tried"), [(1e-4, "default", False), (1e-4, "thorough", True),
                                                         (1.0, "default", True)])  # fmt: skip
def test_equalization_is_not_tried_where_exact_tensors_bring_nothing(share: float, effort: Effort, tried: bool) -> None:
    rng = np.random.default_rng(5)
    sizes = np.geomspace(0.02, 20, 8)
    w, v, u = (rng.normal(0, 0.35, (8, 8, 1, 1)) for _ in range(3))
    weights = {"w": w * sizes[:, None, None, None], "v": share * v / sizes[:, None, None], "u": u}
    model = parse(BRANCHES, **{n: a.astype(np.float32) for n, a in weights.items()})
    config = PLAIN.model_copy(update={"equalization": True, "effort": effort})
    facts = quantize(model, feeds(SHAPE, 6), config, held_back=feeds(SHAPE, 4, seed=9)).facts
    assert ("equalization" in [m["method"] for m in facts["methods"]]) == tried


@pytest.mark.parametrize(("effort", "tried"), [("default", False), ("thorough", True)])
def test_rounding_is_not_tried_where_exact_weights_bring_next_to_nothing(effort: Effort, tried: bool) -> None:
    """Weights a hundredth of a step off their codes: activations make the noise."""
    rng = np.random.default_rng(7)
    codes = [rng.integers(-127, 128, shape) for shape in ((8, 8, 1, 1), (4, 8, 1, 1))]
    for code in codes:
        code[:, 0] = 127
    w, v = (((code + rng.uniform(-0.01, 0.01, code.shape)) / 200).astype(np.float32) for code in codes)
    config = PLAIN.model_copy(update={"rounding": "second-order", "effort": effort})
    facts = quantize(parse(TWO, w=w, v=v), feeds(SHAPE, 6), config, held_back=feeds(SHAPE, 16, seed=9)).facts
    assert ("second-order rounding" in [m["method"] for m in facts["methods"]]) == tried


def _near() -> Fidelity:
    return Fidelity(9.0, {}, shift_db=1.0)


class Asked:
    """A context in which every model is as close to float as its name says."""

    def __init__(self, clipping_gain_db: float) -> None:
        self.config, self.clips_rightly = QuantizationConfig(), clipping_gain_db > CLIPPED
        self.quantized = self.refined = self.same
        self.asked: list[tuple[object, ...]] = []

    def same(self, *of: object, **how: object) -> Candidate:
        self.asked.append((*of, *how))
        found = RangeResult({}, {}, {}, {})
        return Candidate(ir.Model(ir.Graph([], [], nodes=[]), ir_version=8), found, Plan(), None, _near, [])


@pytest.mark.parametrize(("gain", "asked"), [(1.5, 1), (0.5, 3)])
def test_biases_are_not_corrected_behind_ranges_that_are_far_worse(
    gain: float, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bias_correction, "unclipped_ranges", lambda *of: "whole")
    context = Asked(gain)
    bias_correction.bias_correction(context, context.same())
    assert len(context.asked[1:]) == asked, "one correction, or ranges that clip nothing and both of their corrections"
