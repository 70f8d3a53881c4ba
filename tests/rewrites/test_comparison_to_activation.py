from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software

RULE = "comparison-to-activation"
SHAPE = [1, 4, 3, 5]
Spelled = Callable[[GraphWriter, str], str]


def where(g: GraphWriter, op: str, a: str, b: str, then: str, other: str) -> str:
    return str(g.node("Where", g.node(op, a, b), then, other))


def masked(g: GraphWriter, op: str, a: str, b: str, x: str, negated: bool = False) -> str:
    mask = g.node(op, a, b)
    mask = g.node("Not", mask) if negated else mask
    return str(g.node("Mul", g.node("Cast", mask, to=1), x))


def hard_swish(g: GraphWriter, x: str) -> str:
    inner = g.node("Div", g.node("Mul", x, g.node("Add", x, g.constant(3.0))), g.constant(6.0))
    middle = where(g, "Greater", x, g.constant(-3.0), inner, g.constant(0.0))
    return where(g, "LessOrEqual", g.constant(3.0), x, x, middle)


def hard_swish_by_masks(g: GraphWriter, x: str) -> str:
    inner = g.node("Mul", g.node("Mul", x, g.node("Add", x, g.constant(3.0))), g.constant(1 / 6))
    both = g.node("And", g.node("Greater", x, g.constant(-3.0)), g.node("Less", x, g.constant(3.0)))
    middle = g.node("Mul", inner, g.node("Cast", both, to=1))
    return str(g.node("Add", middle, masked(g, "GreaterOrEqual", x, g.constant(3.0), x)))


def clip(g: GraphWriter, x: str) -> str:
    low = where(g, "Less", x, g.constant(-0.5), g.constant(-0.5), x)
    return where(g, "Greater", low, g.constant(0.75), g.constant(0.75), low)


def hard_sigmoid(g: GraphWriter, x: str) -> str:
    line = g.node("Add", g.node("Mul", x, g.constant(0.2)), g.constant(0.5))
    high = where(g, "GreaterOrEqual", x, g.constant(2.5), g.constant(1.0), line)
    return where(g, "Less", g.constant(-2.5), x, high, g.constant(0.0))


def channels(g: GraphWriter, low: float, high: float) -> str:
    return g.constant(np.linspace(low, high, 4).reshape(4, 1, 1))


SPELLED: dict[str, tuple[Spelled, set[str]]] = {
    "thresholded": (lambda g, x: where(g, "Greater", x, g.constant(0.3), x, g.constant(0.0)), {"ThresholdedRelu"}),
    "thresholded by a mask": (lambda g, x: masked(g, "Less", g.constant(0.3), x, x), {"ThresholdedRelu"}),
    "thresholded at and above": (lambda g, x: masked(g, "Less", x, g.constant(0.3), x, True), {"ThresholdedRelu"}),
    "kept below": (
        lambda g, x: where(g, "Greater", x, g.constant(0.3), g.constant(0.0), x), {"ThresholdedRelu", "Mul", "Add"}
    ),
    "relu": (lambda g, x: where(g, "LessOrEqual", x, g.constant(0.0), g.constant(0.0), x), {"Relu"}),
    "relu6": (
        lambda g, x: where(g, "Greater", x, g.constant(6.0), g.constant(6.0), g.node("Relu", x)), {"Clip"}
    ),
    "clip": (clip, {"Clip"}),
    "at least": (lambda g, x: where(g, "Greater", x, g.constant(-0.2), x, g.constant(-0.2)), {"Clip"}),
    "leaky": (
        lambda g, x: where(g, "Greater", x, g.constant(0.0), x, g.node("Mul", x, g.constant(0.1))), {"LeakyRelu"}
    ),
    "prelu": (
        lambda g, x: where(g, "Less", x, g.constant(0.0), g.node("Mul", channels(g, 0.1, 0.4), x), x), {"PRelu"}
    ),
    "absolute": (lambda g, x: where(g, "Less", x, g.constant(0.0), g.node("Neg", x), x), {"Mul", "Relu", "Add"}),
    "hard sigmoid": (hard_sigmoid, {"HardSigmoid"}),
    "hard swish": (hard_swish, {"HardSigmoid", "Mul"}),
    "hard swish by masks": (hard_swish_by_masks, {"HardSigmoid", "Mul"}),
    "threshold with another value": (
        lambda g, x: where(g, "Greater", x, g.constant(0.1), x, g.constant(2.0)), {"Add", "ThresholdedRelu"}
    ),
    "mask": (
        lambda g, x: str(g.node("Cast", g.node("Greater", x, g.constant(0.2)), to=1)),
        {"Add", "Clip", "ThresholdedRelu", "Relu", "Sub"},
    ),
    "threshold by channel": (
        lambda g, x: where(g, "Greater", x, channels(g, -0.5, 0.5), x, g.constant(0.0)),
        {"Add", "Clip", "ThresholdedRelu", "Relu", "Sub", "Mul"},
    ),
    "clip by channel": (
        lambda g, x: where(g, "Less", x, channels(g, 0.2, 0.5), x, channels(g, 0.2, 0.5)), {"Add", "Relu", "Mul"}
    ),
    "shrink": (
        lambda g, x: str(
            g.node(
                "Add",
                masked(g, "Greater", x, g.constant(0.5), g.node("Sub", x, g.constant(0.5))),
                masked(g, "Less", x, g.constant(-0.5), g.node("Add", x, g.constant(0.5))),
            )
        ),
        {"Add", "Relu", "Mul"},
    ),
}  # fmt: skip


def written(spelled: Spelled) -> ir.Model:
    g = GraphWriter()
    return g.model(spelled(g, g.node("Conv", g.input("x", SHAPE), g.weight(4, 4, 1, 1, scale=2.0))))


@pytest.mark.parametrize("name", SPELLED)
def test_spelled_by_comparison(name: str) -> None:
    spelled, wanted = SPELLED[name]
    model = written(spelled)
    result = apply(model, RULE)
    assert ops(result.model).keys() - {"Conv"} == wanted
    assert any("Greater" in op or "Less" in op for op in software(model, OLD))
    whole = rewrite(model, None, RewriteConfig(), target=OLD).model
    assert not software(whole, OLD) and not software(whole, NEW)


def test_hard_swish_becomes_one_operator() -> None:
    result = apply(written(hard_swish), RULE, "activation-forms")
    assert ops(result.model) == {"Conv": 1, "HardSwish": 1}


def test_a_place_on_the_threshold_stays_on_its_side() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 1, 1, 3])
    model = g.model(*[where(g, op, x, g.constant(0.5), x, g.constant(0.0)) for op in ("Greater", "GreaterOrEqual")])
    from n6convert.runtime.session import run_model

    feed = {"x": np.array([0.4999, 0.5, 0.5001], np.float32).reshape(1, 1, 1, 3)}
    before, after = run_model(model, feed), run_model(apply(model, RULE).model, feed)
    assert all(np.array_equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_any_function_of_a_few_breaks(start: int) -> None:
    for seed in range(start, start + 20):
        result = apply(written(lambda g, x, seed=seed: random_function(g, x, np.random.default_rng(seed))), RULE)
        assert not {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"} & ops(result.model).keys(), seed


def random_function(g: GraphWriter, x: str, draw: np.random.Generator) -> str:
    """A Where, or a sum with a masked part, over affine functions and at most one other of its kind."""

    def number() -> str:
        return g.constant(draw.uniform(-1, 1)) if draw.integers(3) else channels(g, *draw.uniform(-1, 1, 2))

    def line() -> str:
        kind = draw.integers(4)
        if kind == 0:
            return number()
        return x if kind == 1 else str(g.node("Add", g.node("Mul", x, number()), number()))

    op = str(draw.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]))
    pair = [x, g.constant(draw.uniform(-1, 1))]
    a, b = pair if draw.integers(2) else pair[::-1]
    inner = x
    if draw.integers(3) == 0:
        inner = where(g, "Greater", x, g.constant(draw.uniform(1, 2)), line(), x)
    if draw.integers(2):
        return where(g, op, a, b, inner, line())
    return str(g.node("Sub", inner, masked(g, op, a, b, line(), bool(draw.integers(2)))))


def test_squares_that_are_no_product_are_refused() -> None:
    g = GraphWriter()
    x = g.input("x", SHAPE)
    model = g.model(where(g, "Greater", x, g.constant(0.5), g.node("Mul", x, x), g.constant(1.0)))
    assert "square that is no product" in reasons(apply(model, RULE), RULE)


def test_a_mask_of_another_tensor_is_left() -> None:
    g = GraphWriter()
    x = g.input("x", SHAPE)
    model = g.model(where(g, "Greater", g.input("m", SHAPE), g.constant(0.5), x, g.constant(0.0)))
    assert not apply(model, RULE).applied


@pytest.mark.parametrize("op", ["Greater", "LessOrEqual"])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_choice_between_two_tensors_is_max_or_min(op: str, swapped: bool) -> None:
    g = GraphWriter()
    a, b = g.input("a", SHAPE), g.input("b", SHAPE)
    model = g.model(where(g, op, a, b, *((b, a) if swapped else (a, b))))
    assert ops(apply(model, "max-min-to-relu").model)["Relu"] == 1
