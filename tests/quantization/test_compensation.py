"""Layers that take back what coarse weights in front of them did to their inputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.layerwise import compensation
from n6convert.quantization.layerwise.bias_correction import shift_bias
from n6convert.quantization.layerwise.compensation import FloatResults, compensated
from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.rounding import input_statistics
from n6convert.quantization.layerwise.walk import layers_of, walk_layers
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.session import Session

from .nets import parse

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
BODIES = {
    "conv": """net (float[1,8,9,9] x) => (float[1,8,9,9] y) {
        a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v, b) }""",
    "grouped": """net (float[1,8,9,9] x) => (float[1,8,9,9] y) {
        a = Conv<pads=[1,1,1,1], group=2>(x, w, b) y = Conv<pads=[1,1,1,1], group=2>(a, v, b) }""",
    "shortcut": """net (float[1,8,9,9] x) => (float[1,8,9,9] y) {
        a = Conv<pads=[1,1,1,1]>(x, w, b) c = Conv<pads=[1,1,1,1]>(a, v, b) y = Add(a, c) }""",
    "gemm_shortcut": "net (float[40,8] x) => (float[40,8] y) { a = Gemm(x, w, b) c = Gemm(a, v, b) y = Add(c, a) }",
    "gemm": "net (float[40,8] x) => (float[40,8] y) { a = Gemm(x, w, b) r = Relu(a) y = Gemm(r, v, b) }",
}
SHAPES = {"grouped": (8, 4, 3, 3), "gemm": (8, 8), "gemm_shortcut": (8, 8)}


def network(kind: str) -> ir.Model:
    draw = np.random.default_rng(3)
    shape = SHAPES.get(kind, (8, 8, 3, 3))
    w, v = (draw.standard_normal((2, *shape)) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return prepare(parse(BODIES[kind], w=w, v=v, b=np.zeros(8, np.float32)))


def samples(kind: str, count: int, seed: int) -> list[dict[str, np.ndarray]]:
    draw, shape = np.random.default_rng(seed), (40, 8) if kind.startswith("gemm") else (1, 8, 9, 9)
    return [{"x": draw.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def coarse(model: ir.Model, kind: str) -> ir.Model:
    """INT8, with a first layer whose weights have a sixteenth of their codes."""
    int8 = quantize(model, lambda: iter(samples(kind, 16, 1)), PLAIN).model
    value = next(layers_of(int8)).initializer(1)
    value.const_value = ir.Tensor((np.rint(value.const_value.numpy() / 32) * 32).astype(np.int8), name=value.name)
    return int8


def error(model: ir.Model, exact: ir.Model, kind: str) -> float:
    """Mean squared error on samples that nothing was fitted to."""
    sessions = [Session(m, threads=1) for m in (model, exact)]
    a, b = ([s.run(x)["y"] for x in samples(kind, 8, 2)] for s in sessions)
    return float(np.mean((np.stack(a) - np.stack(b)) ** 2))


def second_compensated(int8: ir.Model, exact: ir.Model, kind: str) -> ir.Model:
    """The INT8 model with nearest codes for the compensated weights of its second layer."""
    int8, feeds = int8.clone(), samples(kind, 16, 1)
    layer = list(walk_layers(int8, feeds))[1]
    weight = next(n for n in exact.graph if n.name == layer.name).inputs[1].const_value.numpy()
    found = compensated(layer, weight, FloatResults(exact, feeds, [layer.name], 1).of(layer))
    assert found.weight.shape == weight.shape
    groups = layer.node.attributes.get_int("group", 1)
    wanted = input_statistics(layer, weight.size // 8, groups)
    for a, b in zip(found.inputs.moments, wanted.moments, strict=True):
        np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(found.inputs.means, wanted.means)
    shift_bias(layer, found.shift)
    value, scale = layer.initializer(1), layer.initializer(1, 1)
    axis = layer.node.inputs[1].producer().attributes.get_int("axis")
    steps = scale.const_value.numpy().reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    value.const_value = ir.Tensor(np.clip(np.rint(found.weight / steps), -127, 127).astype(np.int8), name=value.name)
    return int8


@pytest.mark.parametrize("kind", list(BODIES))
def test_a_layer_takes_back_what_the_one_in_front_lost(kind: str) -> None:
    exact = network(kind)
    int8 = coarse(exact, kind)
    assert error(second_compensated(int8, exact, kind), exact, kind) < 0.8 * error(int8, exact, kind)


@pytest.mark.parametrize("kind", ["shortcut", "gemm_shortcut"])
def test_what_is_added_to_a_layer_is_taken_back_by_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = network(kind)
    int8 = coarse(exact, kind)
    whole = error(second_compensated(int8, exact, kind), exact, kind)
    monkeypatch.setattr(compensation, "_missing", lambda layer, exact, share: None)
    assert whole < 0.7 * error(second_compensated(int8, exact, kind), exact, kind)


def test_refining_compensates_only_where_it_is_asked_to() -> None:
    exact = network("conv")
    int8, feeds = coarse(exact, "conv"), samples("conv", 16, 1)
    first, second = (layer.name for layer in layers_of(int8))
    made = [refine(exact, int8, feeds, rounding=True, bias=False, compensating=c)[0] for c in ([], [second])]
    codes = [[layer.initializer(1).const_value.numpy() for layer in layers_of(m)] for m in made]
    assert np.array_equal(codes[0][0], codes[1][0]) and not np.array_equal(codes[0][1], codes[1][1])


def chain(depth: int = 5) -> ir.Model:
    """Convolutions one after the other, as in networks without shortcuts: four bits in each turn what follows."""
    draw = np.random.default_rng(4)
    weights = {f"w{i}": (draw.standard_normal((16, 16, 3, 3)) / 9).astype(np.float32) for i in range(depth)}
    lines = [f"c{i} = Conv<pads=[1,1,1,1]>(r{i}, w{i}, b) r{i + 1} = Relu(c{i})" for i in range(depth)]
    body = f"r0 = Identity(x) {' '.join(lines)} y = Identity(r{depth})"
    bias = np.zeros(16, np.float32)
    return parse(f"net (float[1,16,8,8] x) => (float[1,16,8,8] y) {{ {body} }}", b=bias, **weights)


def test_four_bits_come_closer_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = QuantizationConfig(weights="int4", equalization=False, merge_convolutions=False, threads=1)
    draw = np.random.default_rng(5)
    seen, unseen = ([{"x": x} for x in draw.standard_normal((n, 1, 16, 8, 8)).astype(np.float32)] for n in (32, 16))

    def closeness() -> float:
        result = quantize(chain(), lambda: iter(seen), config)
        return Evaluator(result.prepared, unseen, 1).fidelity(result.model).closeness_db

    with_it = closeness()
    monkeypatch.setattr(FloatResults, "of", lambda self, layer: None)
    assert with_it > closeness() + 0.25


def test_portions_of_layers_hold_what_all_at_once_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, feeds = network("conv"), samples("conv", 4, 1)
    layers = list(walk_layers(coarse(exact, "conv"), feeds))
    names = [layer.name for layer in layers]
    whole = FloatResults(exact, feeds, names, 1)
    found = [np.stack([s.results for s in whole.of(layer)]) for layer in layers]
    monkeypatch.setattr(compensation, "_HELD", 1)
    parts = FloatResults(exact, feeds, names, 1)
    again = [np.stack([s.results for s in parts.of(layer)]) for layer in layers]
    assert all(np.array_equal(a, b) for a, b in zip(again, found, strict=True))
    assert FloatResults(exact, feeds, [], 1).of(layers[0]) is None


def test_what_samples_do_not_agree_on_moves_nothing() -> None:
    """Differences of inputs that are noise of their own in each half of the samples."""
    draw = np.random.default_rng(0)
    inputs, noise = draw.standard_normal((2, 2, 1, 300, 20))
    inner = inputs.transpose(0, 1, 3, 2) @ inputs
    cross = noise.transpose(0, 1, 3, 2) @ inputs
    rows = draw.standard_normal((1, 10, 20))
    half = compensation._solved(inner[0], rows @ cross[0])
    assert np.square(compensation._change(inner, rows @ cross)).sum() < 0.1 * np.square(half).sum()
    turned = (inputs @ (0.1 * draw.standard_normal((20, 20)))).transpose(0, 1, 3, 2) @ inputs
    pull = (rows @ turned).sum(0)
    wanted = np.linalg.solve(inner.sum(0), pull.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert np.square(compensation._change(inner, rows @ turned) - wanted).sum() < 0.01 * np.square(wanted).sum()
