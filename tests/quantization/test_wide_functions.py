"""Functions of operands that span decades: parts are kept where they pay the time, and never asked for where not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.methods.wide_functions import METHOD

from .nets import feeds, parse, record

PLAIN = QuantizationConfig(ranges="minmax", bias_correction="off", rounding="nearest")
SAMPLES, OTHERS = feeds((1, 4, 40), 8, 1), feeds((1, 4, 40), 4, 3)


def net(spread: float) -> ir.Model:
    """The power law of a filter bank whose bands differ by e^spread."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((24, 4, 1)) * random.lognormal(0, spread, (24, 1, 1))
    body = "net (float[1,4,40] x) => (float[1,24,40] y) { bands = Conv(x, w) p = Abs(bands) y = Pow(p, power) }"
    return parse(body, w=weight.astype(np.float32), power=np.array(0.3, np.float32))


def test_the_quantizer_tries_and_keeps_it() -> None:
    result = quantize(net(1.5), SAMPLES, PLAIN, held_back=OTHERS)
    found, before = record(result, METHOD.name), result.facts["methods"][0]
    assert found is not None and found["kept"] and found["functions"][0]["thresholds"]
    assert found["closeness_db"] > before["closeness_db"] + 3 and "ms" not in found


def test_with_a_predictor_the_report_holds_the_times() -> None:
    result = quantize(net(1.5), SAMPLES, PLAIN, held_back=OTHERS, milliseconds=lambda m: float(m.graph.num_nodes()))
    found = record(result, METHOD.name)
    assert found is not None and found["ms"] > found["ms_before"] > 0


@pytest.mark.parametrize("key", [{"equalization": False}, {"ranges_file": "ranges.json"}])
def test_the_recipe_may_leave_it_out(key: dict[str, object]) -> None:
    assert METHOD.wanted(PLAIN) and not METHOD.wanted(PLAIN.model_copy(update=key))


def test_off_it_is_not_run() -> None:
    config = PLAIN.model_copy(update={"equalization": False})
    assert record(quantize(net(1.5), SAMPLES, config, held_back=OTHERS), METHOD.name) is None


def test_a_network_without_such_functions_has_nothing_to_cut() -> None:
    model = parse("net (float[1,4,40] x) => (float[1,4,40] y) { y = Relu(x) }")
    assert record(quantize(model, SAMPLES, PLAIN, held_back=OTHERS), METHOD.name) is None
