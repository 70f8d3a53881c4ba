"""Ends of ranges of which consumers make one result."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization.methods.ranges import unclipped_ranges
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.consumers import consumer_functions
from n6convert.quantization.ranges.find import find_ranges, ranges_beyond
from n6convert.quantization.ranges.told_apart import told_apart
from n6convert.recipe.quantization import QuantizationConfig

from .nets import feeds, parse

NONE = (-np.inf, np.inf)


def network(body: str) -> ir.Model:
    """Readers of ``a``, the input after an operator that no function is."""
    text = f"""
    net (float[1,4,8,8] x) => (float[1,4,8,8] y) {{
      six = Constant<value_float=6.0>()
      three = Constant<value_float=3.0>()
      zero = Constant<value_float=0.0>()
      a = MaxPool<kernel_shape=[1,1]>(x)
      {body}
    }}"""
    return prepare(parse(text, opset=14))


def found(body: str, low: float, high: float) -> tuple[float, float]:
    model = network(body)
    value = next(n.outputs[0] for n in model.graph if n.op_type == "MaxPool")
    return told_apart(low, high, consumer_functions(model, value))


SPELLED = "p = Add(a, three)\n c = Clip(p, zero, six)\n m = Mul(a, c)\n y = Div(m, six)"


@pytest.mark.parametrize("body", ["y = HardSwish(a)", SPELLED])
def test_a_hard_gate_reads_from_its_zero_on(body: str) -> None:
    low, high = found(body, -100.0, 20.0)
    assert -3.2 < low <= -2.95 and high == np.inf


def test_both_ends_of_a_function_that_saturates_twice() -> None:
    """1/8 of a step of 2/255 below one: from atanh(1 - 1/1020) = 3.81 on."""
    low, high = found("y = Tanh(a)", -50.0, 50.0)
    assert low == pytest.approx(-3.81, abs=0.1) and high == pytest.approx(3.81, abs=0.1)


@pytest.mark.parametrize(
    "body",
    [
        "h = HardSwish(a)\n y = Add(h, a)",  # read as it is, too
        "y = Add(x, a)",
        "h = Mul(a, three)\n y = Div(x, h)",  # a denominator is as fine as what it divides by
        "y = Exp(a)",  # no end is flat at 8 bits where its values are -1 to 1
    ],
)
def test_what_tells_all_values_apart(body: str) -> None:
    assert found(body, -1.0 if "Exp" in body else -100.0, 1.0 if "Exp" in body else 20.0) == NONE


def test_a_constant_tensor_and_infinite_results() -> None:
    assert found("y = HardSwish(a)", 2.0, 2.0) == NONE
    assert found("y = Log(a)", -1.0, 4.0) == NONE


def test_ranges_without_clipping_leave_out_what_is_not_told_apart() -> None:
    """Of what reaches far below zero in front of a HardSwish, of samples seen and to be expected."""
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((4, 4, 1, 1)).astype(np.float32) * 8 for name in "wv"}
    body = """
    net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
      a = Conv(x, w)
      h = HardSwish(a)
      y = Conv(h, v)
    }"""
    model, source = prepare(parse(body, opset=14, **weights)), feeds((1, 4, 8, 8), 16)
    few = list(source())[:2]
    seen = find_ranges(model, source, few, QuantizationConfig(), None)
    whole = unclipped_ranges(seen)
    assert whole is not None
    assert seen.statistics["a"].low < -30 and -3.3 < whole.ranges["a"][0] <= -2.9
    assert whole.ranges["a"][1] == seen.statistics["a"].high
    assert whole.ranges["y"] == (seen.statistics["y"].low, seen.statistics["y"].high)
    beyond = ranges_beyond(model, whole, few, clip=False)
    assert beyond is not None and beyond.ranges["a"][0] == whole.ranges["a"][0]
    assert beyond.ranges["a"][1] > whole.ranges["a"][1]
