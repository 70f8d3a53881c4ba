from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.methods import MethodContext
from n6convert.quantization.methods.candidate import Candidate, closeness
from n6convert.quantization.methods.ranges import _are_alike, clips_nothing
from n6convert.quantization.methods.unseen_values import METHOD
from n6convert.quantization.prepare.prepare import prepare

from .nets import parse, record

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")


@pytest.mark.parametrize("judged", [8, 4, 0])
def test_few_samples_do_not_saturate_what_is_pooled_for_the_last_layer(judged: int) -> None:
    """Channel means of 16 samples: by what those reach alone, other samples leave 22 dB; the grid's steps allow 35."""
    model = parse(HEAD)
    rng = np.random.default_rng(5)
    sizes = rng.lognormal(0, 0.5, (400, 1, 8, 1, 1)) * rng.lognormal(0, 0.7, (1, 1, 8, 1, 1))
    samples = [{"x": s} for s in (sizes * rng.normal(1, 0.3, (400, 1, 8, 4, 4))).astype(np.float32)]
    evaluator = Evaluator(prepare(model), samples[24:])
    held_back = (lambda: iter(samples[16 : 16 + judged])) if judged else None
    scores = [
        evaluator.score(quantize(model, lambda: iter(samples[:16]), c, held_back=held_back).model)
        for c in (QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off"), QuantizationConfig())
    ]
    assert scores[1] > scores[0] + 3, scores


HEAD = """g (float[1, 8, 4, 4] x) => (float[1, 8, 1, 1] y) {
  p = GlobalAveragePool (x)
  y = Relu (p)
}"""


@pytest.mark.parametrize(("ranges", "wanted"), [("mse", True), ("auto", True), ("minmax", False), ("entropy", False)])
def test_only_ranges_that_may_be_chosen_are_widened(ranges: str, wanted: bool) -> None:
    assert METHOD.wanted(QuantizationConfig(ranges=ranges)) == wanted
    assert not METHOD.wanted(QuantizationConfig(ranges=ranges, ranges_file="ranges.json"))
    assert not METHOD.wanted(QuantizationConfig(ranges=ranges, unseen_values=False))


@pytest.mark.parametrize("ranges", ["mse", "minmax"])
def test_the_report_says_that_it_was_tried(ranges: str) -> None:
    random = np.random.default_rng(0)
    samples = [{"x": s} for s in random.lognormal(0, 1, (16, 1, 8, 4, 4)).astype(np.float32)]
    config = PLAIN.model_copy(update={"ranges": ranges})
    result = quantize(parse(HEAD), lambda: iter(samples), config)
    assert (record(result, METHOD.name) is not None) == (ranges == "mse")


def test_it_is_refused_where_held_back_samples_reach_no_further() -> None:
    """Calibration with few huge values, judged on samples with none: wider grids are coarser ones."""
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, (24, 1, 64, 8, 8))
    values[:16] *= np.where(random.random((16, 1, 64, 8, 8)) < 1e-4, 30, 1)
    samples = [{"x": v} for v in values.astype(np.float32)]
    model = parse("net (float[1,64,8,8] x) => (float[1,64,8,8] y) { y = Relu(x) }")
    config = PLAIN.model_copy(update={"ranges": "mse"})
    result = quantize(model, lambda: iter(samples[:16]), config, held_back=lambda: iter(samples[16:]))
    found = record(result, METHOD.name)
    assert found is not None and not found["kept"]


@pytest.mark.parametrize(("end", "alike"), [(1.0, True), (1.0 + 1 / 200, True), (1.1, False)])
def test_ranges_whose_ends_lie_within_a_step_are_tried_once(end: float, alike: bool) -> None:
    assert _are_alike({"a": (-1.0, 1.0), "b": (0.0, 2.0)}, {"b": (0.0, 2.0), "a": (-1.0, end)}) == alike
    assert not _are_alike({"a": (-1.0, 1.0)}, {"b": (-1.0, 1.0)})


def test_ranges_that_reach_other_samples_are_not_widened_again() -> None:
    samples = [{"x": x} for x in np.random.default_rng(2).standard_normal((24, 1, 8, 4, 4)).astype(np.float32)]
    prepared = prepare(parse(HEAD))
    evaluator = Evaluator(prepared, samples[16:], held_back=True)
    context = MethodContext(
        lambda: iter(samples[:16]), samples[:4], QuantizationConfig(), evaluator, None, None, None
    )  # fmt: skip
    wider = METHOD.attempt(context, context.quantized(prepared))
    assert wider is not None and wider.reaching
    assert METHOD.attempt(context, wider) is None


@pytest.mark.parametrize(("effort", "each"), [("default", 1), ("thorough", 2)])
def test_small_tensors_alone_are_not_tried_where_all_are_better(
    effort: Any, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    sizes = rng.lognormal(0, 0.5, (200, 1, 8, 1, 1)) * rng.lognormal(0, 0.7, (1, 1, 8, 1, 1))
    samples = [{"x": s} for s in (sizes * rng.normal(1, 0.3, (200, 1, 8, 4, 4))).astype(np.float32)]
    prepared, config = prepare(parse(HEAD)), QuantizationConfig(effort=effort)
    evaluator = Evaluator(prepared, samples[16:], held_back=True)
    context = MethodContext(lambda: iter(samples[:16]), samples[:4], config, evaluator, None, None, None)
    best = context.quantized(prepared)
    made: list[Candidate] = []
    quantized = MethodContext.quantized

    def counted(self: MethodContext, *given: Any, **more: Any) -> Candidate:
        made.append(quantized(self, *given, **more))
        return made[-1]

    monkeypatch.setattr(MethodContext, "quantized", counted)
    wider = METHOD.attempt(context, best)
    starts = 1 if clips_nothing(prepared, best.found) else 2
    assert wider is not None and closeness(wider) > closeness(best)
    assert len(made) == each * starts
