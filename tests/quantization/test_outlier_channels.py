"""Norms behind massive activations and gates with one huge channel: the same function, far less INT8 noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.grid.from_ranges import observed
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.calibrate import calibrate
from n6convert.quantization.ranges.channel_extents import Extent, Extents
from n6convert.quantization.reparameterization.gate_input import decouple_gate_inputs
from n6convert.quantization.reparameterization.norm_rows import norm_axes
from n6convert.quantization.reparameterization.outlier_norm import (
    FewRows,
    rewrite_outlier_norms,
)
from n6convert.recipe.quantization import Effort
from n6convert.runtime.comparison import max_relative_difference, sqnr_db
from n6convert.runtime.session import run_model

from .nets import parse
from .walk import float_islands

ROWS, WIDTH = 16, 48


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(count: int = 8, seed: int = 0, sink: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Rows of usual size; the first of each sample drives one unit far up, as the first token of a sentence does."""
    found = []
    for x in rng(seed).standard_normal((count, 1, ROWS, WIDTH)).astype(np.float32):
        x[0, 0, 0] = 40 * sink
        found.append({"x": x})
    return found


def sentence_net(norm: str = "y = LayerNormalization <axis = -1> (s, gamma, beta)") -> ir.Model:
    """Linear, residual sum, norm, and a linear layer behind it; unit 7 gets the huge value."""
    weight = (rng(1).standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    weight[:, 7] = 0
    weight[0, 7] = 3
    body = f"""
    net (float[1,{ROWS},{WIDTH}] x) => (float[1,{ROWS},{WIDTH}] z) {{
      p = MatMul(x, w1)
      a = Add(p, b1)
      h = MatMul(x, w0)
      s = Add(a, h)
      {norm}
      q = MatMul(y, w2)
      z = Add(q, b1)
    }}"""
    other = (rng(2).standard_normal((2, WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    gamma, beta = (rng(3).standard_normal((2, WIDTH)) * 0.1).astype(np.float32)
    other[0][0] = 0
    used = {"gamma": 1 + gamma, "beta": beta} if "gamma" in norm else {}
    return parse(body, opset=17, w0=other[0], w1=weight, w2=other[1], b1=beta, **used)


RMS = """
      sq = Mul(s, s)
      mean = ReduceMean <axes = [-1], keepdims = 1> (sq)
      root = Sqrt(mean)
      y = Div(s, root)
"""


@pytest.mark.parametrize("norm", ["y = LayerNormalization <axis = -1> (s, gamma, beta)", RMS])
def test_a_wide_norm_is_the_same_within_the_error_it_states(norm: str) -> None:
    model = prepare(sentence_net(norm))
    wide, records = rewrite_outlier_norms(model, samples())
    (record,) = records
    assert record["variance_spread"] > 50 and 0 < record["largest_error"] < 0.01
    assert record["hinges"] < WIDTH
    for sample in samples(seed=5):
        exact, found = (run_model(m, sample, threads=1)["z"] for m in (model, wide))
        rows = np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
        assert np.median(rows) < 2 * record["largest_error"]
        assert rows.max() < 0.06  # the row whose squares are a sum of hinges


@pytest.mark.parametrize("norm", ["y = LayerNormalization <axis = -1> (s, gamma, beta)", RMS])
def test_what_an_earlier_pass_saw_of_a_norm_spares_another_one(norm: str) -> None:
    model = prepare(sentence_net(norm))
    channels = Extents((n, Extent.empty(a)) for n, a in norm_axes(model.graph).items())
    assert channels
    statistics = calibrate(model, lambda: iter(samples(12)), observed(model.graph), channels=channels)
    read = []

    def counted() -> Iterator[dict[str, np.ndarray]]:
        for sample in samples(12):
            read.append(1)
            yield sample

    wide, records = rewrite_outlier_norms(model, counted(), statistics=statistics, channels=channels)
    assert len(read) == 4
    whole, others = rewrite_outlier_norms(model, samples(12))
    assert records == others
    seen = FewRows(model, samples(12)[:4]).of_all(statistics, channels)
    assert seen is not None and rewrite_outlier_norms(model, [], seen=seen)[1] == others
    sample = samples(seed=5)[0]
    found, expected = (run_model(m, sample, threads=1)["z"] for m in (wide, whole))
    assert max_relative_difference(found, expected) < 1e-3


def test_what_was_seen_of_something_else_than_the_variances_does_not_count() -> None:
    """The mean of squares is there, but nothing is known of it: all samples are looked at."""
    model = prepare(sentence_net(RMS))
    channels = Extents((n, Extent.empty(a)) for n, a in norm_axes(model.graph).items())
    calibrate(model, lambda: iter(samples(12)), [], channels=channels)
    read = iter(samples(12))
    _, records = rewrite_outlier_norms(model, read, statistics={}, channels=channels)
    assert not list(read) and records == rewrite_outlier_norms(model, samples(12))[1]
    assert FewRows(model, samples(12)[:4]).of_all({}, channels) is None


def test_a_norm_of_one_vector() -> None:
    """[1, C]: the channels are the second of two axes, and there is one row."""
    norm = "y = LayerNormalization <axis = -1> (s, gamma, beta)"
    body = f"net (float[1,{WIDTH}] x) => (float[1,{WIDTH}] y) {{ s = Add(x, beta) {norm} }}"
    gamma, beta = (rng(3).standard_normal((2, WIDTH))).astype(np.float32)
    model = prepare(parse(body, opset=17, gamma=gamma, beta=beta))
    vectors = [{"x": s["x"][0, i % 2 : i % 2 + 1]} for i, s in enumerate(samples())]
    wide, records = rewrite_outlier_norms(model, vectors)
    assert records[0]["variance_spread"] > 10
    for sample in vectors:
        exact, found = (run_model(m, sample, threads=1)["y"] for m in (model, wide))
        assert max_relative_difference(exact, found) < 0.06


def test_rows_of_usual_size_leave_a_norm_alone() -> None:
    model = prepare(sentence_net())
    quiet = samples(sink=0.0)
    for sample in quiet:
        sample["x"][..., 0] = 0
        sample["x"] *= 6 / np.linalg.norm(sample["x"], axis=-1, keepdims=True)
    same, records = rewrite_outlier_norms(model, quiet)
    assert not records and [n.op_type for n in same.graph] == [n.op_type for n in model.graph]


def test_something_else_than_a_norm_is_left_alone() -> None:
    """``c * sqrt(mean(c*c))`` has the shape of a norm but is none."""
    model = prepare(sentence_net(RMS.replace("Div", "Mul")))
    assert not rewrite_outlier_norms(model, samples())[1]


def test_int8_gains_where_one_value_took_the_whole_grid() -> None:
    model = sentence_net()

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        return iter(samples())

    plain = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
    full = plain.model_copy(update={"equalization": True})
    scores = []
    for config in (plain, full):
        result = quantize(model, feeds, config, held_back=lambda: iter(samples(seed=9, count=3)))
        assert not float_islands(result.model)
        pairs = [(run_model(m, s, threads=1)["z"] for m in (model, result.model)) for s in samples(seed=5)]
        scores.append(np.mean([sqnr_db(a[:, 1:], b[:, 1:]) for a, b in pairs]))
    assert [m["kept"] for m in result.facts["methods"] if m["method"] == "outlier channels"] == [True]
    assert scores[1] > scores[0] + 6


@pytest.mark.parametrize("effort", ["fast", "default", "thorough"])
def test_no_effort_leaves_a_network_useless_that_massive_activations_spoil(effort: Effort) -> None:
    result = quantize(
        sentence_net(), lambda: iter(samples()), QuantizationConfig(effort=effort), held_back=lambda: samples(3, seed=9)
    )
    pairs = [(run_model(m, s, threads=1)["z"] for m in (sentence_net(), result.model)) for s in samples(seed=5)]
    assert np.mean([sqnr_db(a[:, 1:], b[:, 1:]) for a, b in pairs]) > 20  # -6 dB as it is
    first = result.facts["methods"][0]
    assert first["method"] == "outlier channels" and first["kept"] and first["norms"]


@pytest.mark.parametrize(("sink", "first"), [(1.0, "outlier channels"), (0.02, "ranges: mse")])
def test_one_sample_that_spoils_a_norm_for_all_is_enough(sink: float, first: str) -> None:
    """The other form is the first model: that by ranges alone, which would be useless, is not even judged."""
    quiet = samples(sink=0.02)
    feeds = [*quiet[:6], *samples(1, seed=7, sink=sink), *quiet[6:]]
    config = QuantizationConfig(bias_correction="off", rounding="nearest", merge_convolutions=False, threads=1)
    made = quantize(sentence_net(), lambda: iter(feeds), config, held_back=lambda: iter(samples(8, seed=5, sink=0.02)))
    assert made.facts["methods"][0]["method"] == first
    assert made.facts["methods"][0]["sqnr_db"] > 20


@pytest.mark.parametrize("sink", [0.0, 0.2])
def test_norms_that_int8_holds_as_they_are_stay_where_nothing_else_is_tried(sink: float) -> None:
    model, seen = prepare(sentence_net()), samples(sink=sink)
    for sample in seen:
        sample["x"][..., 0] *= sink > 0
    assert FewRows(model, seen[:4]).spoiled(seen) is None
    assert FewRows(model, samples()[:4]).spoiled(samples())
    facts = quantize(sentence_net(), lambda: iter(seen), QuantizationConfig(effort="fast")).facts
    assert facts["methods"][0]["method"] == "ranges: mse"


def gate_net(function: str) -> ir.Model:
    weight = (rng(1).standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    weight[:, 3] *= 20
    body = f"""
    net (float[1,{ROWS},{WIDTH}] x) => (float[1,{ROWS},{WIDTH}] z) {{
      p = MatMul(x, w1)
      h = Add(p, b)
      k = Mul(h, scale)
      f = {function}(k)
      g = Mul(h, f)
      q = MatMul(g, w2)
      z = Add(q, b)
    }}"""
    bias = np.zeros(WIDTH, np.float32)
    second = (rng(2).standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    return parse(body, opset=17, w1=weight, w2=second, b=bias, scale=np.float32(0.7))


@pytest.mark.parametrize("function", ["Sigmoid", "Erf"])
def test_a_gate_with_a_huge_channel_reads_a_copy_of_its_own(function: str) -> None:
    model = prepare(gate_net(function))
    loose, records = decouple_gate_inputs(model, samples(sink=0.02))
    assert len(records) == 1 and records[0]["largest_to_usual_channel"] > 4
    for sample in samples(seed=5, sink=0.02):
        exact, found = (run_model(m, sample, threads=1)["z"] for m in (model, loose))
        assert max_relative_difference(exact, found) < 1e-3


@pytest.mark.parametrize(("width", "copies"), [(300, [300, 300]), (600, [1200])])
def test_a_gate_of_a_map_in_parts_that_the_npu_holds_is_copied_in_parts(width: int, copies: list[int]) -> None:
    weights = rng(1).standard_normal((2, width, 8, 1, 1)).astype(np.float32) / 3
    weights[0, 3] *= 20
    body = f"""
    net (float[1,8,4,1] x) => (float[1,{2 * width},4,1] g) {{
      a = Conv(x, wa)
      b = Conv(x, wb)
      h = Concat <axis = 1> (a, b)
      f = Sigmoid(h)
      g = Mul(h, f)
    }}"""
    model = prepare(parse(body, opset=17, wa=weights[0], wb=weights[1]))
    feeds = [{"x": x} for x in rng(2).standard_normal((4, 1, 8, 4, 1)).astype(np.float32)]
    loose, records = decouple_gate_inputs(model, feeds)
    assert len(records) == 1
    assert [n.attributes.get_int("group", 1) for n in loose.graph if n.attributes.get_int("group", 1) > 1] == copies
    exact, found = (run_model(m, feeds[0], threads=1)["g"] for m in (model, loose))
    assert max_relative_difference(exact, found) < 1e-3


def test_even_gates_stay() -> None:
    model = gate_net("Erf")
    weight = next(v for n, v in model.graph.initializers.items() if n == "w1")
    weight.const_value = ir.tensor((rng(1).standard_normal((WIDTH, WIDTH)) / 7).astype(np.float32), name="w1")
    assert not decouple_gate_inputs(prepare(model), samples(sink=0.02))[1]
