"""How much of an INT8 model's error is its weights' doing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from n6convert.graph.patterns.layers import layers_by_name  # noqa: E402
from n6convert.quantization import QuantizationConfig, quantize  # noqa: E402
from n6convert.quantization.ceilings import with_exact_weights  # noqa: E402
from n6convert.quantization.fidelity import Evaluator  # noqa: E402
from n6convert.quantization.prepare.operator_forms import constant, new_constant  # noqa: E402
from n6convert.tuning import Example, TuneConfig, tune  # noqa: E402

from .nets import parse, weights_of  # noqa: E402

DRAW = np.random.default_rng(5)
SAMPLES = [{"x": x} for x in DRAW.standard_normal((32, 1, 16, 8, 8)).astype(np.float32)]


def chain(depth: int = 4) -> ir.Model:
    """Convolutions of unlike inputs: what four bits lose nothing makes up for."""
    lines = [f"c{i} = Conv<pads=[1,1,1,1]>(r{i}, w{i}, b) r{i + 1} = Relu(c{i})" for i in range(depth)]
    body = f"r0 = Identity(x) {' '.join(lines)} y = Identity(r{depth})"
    weights = weights_of({f"w{i}": (16, 16, 3, 3) for i in range(depth)})
    bias = np.zeros(16, np.float32)
    return parse(f"net (float[1,16,8,8] x) => (float[1,16,8,8] y) {{ {body} }}", b=bias, **weights)


def test_what_rounding_of_weights_costs_is_what_eight_bits_do_not_lose() -> None:
    """Two ways to one number: four bits without rounding, and the file with eight bits, of the same ranges."""
    found, judged = {}, {}
    for weights in ("int8", "int4"):
        config = QuantizationConfig(weights=weights, equalization=False, merge_convolutions=False, threads=1)
        made = quantize(chain(), lambda: iter(SAMPLES), config)
        result = tune(
            made.model, made.prepared, lambda epoch: (Example(f) for f in SAMPLES), SAMPLES[:8],
            TuneConfig(steps=0), threads=1,
        )  # fmt: skip
        found[weights] = result.facts["exact_weights"]
        kept_apart = SAMPLES[7::8]
        judged[weights] = Evaluator(made.prepared, kept_apart, 1).fidelity(made.model).closeness_db
    assert all(found[w]["rounded_db"] == pytest.approx(judged[w], abs=1e-3) for w in found)
    assert found["int4"]["exact_db"] > found["int4"]["rounded_db"] + 3
    assert found["int4"]["exact_db"] == pytest.approx(found["int8"]["exact_db"], abs=0.3), "of the same ranges"
    assert 0 < found["int8"]["exact_db"] - judged["int8"] < 3


def test_exact_weights_keep_biases_that_make_up_for_activations() -> None:
    """Two ways to one number: in torch, and the INT8 file with float weights in its layers."""
    model = chain()
    for value in (model.graph.initializers[f"w{i}"] for i in range(3)):  # one huge channel, few codes for the others
        weight = np.abs(value.const_value.numpy()) / 4  # type: ignore[union-attr]
        weight[0] *= 40
        weight[1:, 0] /= 40
        value.const_value = ir.tensor(weight, name=value.name)
    samples = [{"x": np.abs(s["x"])} for s in SAMPLES]
    config = QuantizationConfig(equalization=False, rounding="nearest", merge_convolutions=False, threads=1)
    made = quantize(model, lambda: iter(samples), config)
    assert any(m["method"] == "bias correction" and m["kept"] for m in made.facts["methods"])
    tuned = tune(
        made.model, made.prepared, lambda epoch: (Example(f) for f in samples), samples[:8],
        TuneConfig(steps=0), threads=1,
    )  # fmt: skip
    judge, found = Evaluator(made.prepared, samples[7::8], 1), tuned.facts["exact_weights"]
    exact = with_exact_weights(made.prepared, made.model)
    assert found["exact_db"] == pytest.approx(judge.fidelity(exact).closeness_db, abs=0.02)
    layers, biases = layers_by_name(made.prepared.graph), layers_by_name(exact.graph)
    for name, node in biases.items():
        node.replace_input_with(2, new_constant(exact.graph, f"{name}_bias", constant(layers[name].inputs[2])))
    assert found["exact_db"] > judge.fidelity(exact).closeness_db + 0.1, "float biases miss what activations lose"
