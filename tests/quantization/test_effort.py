"""How much is tried: fast leaves refining out, the default looks at some samples first, thorough at all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize, quantizer
from n6convert.quantization.fidelity import Evaluator, Fidelity
from n6convert.quantization.methods import SCREEN, Candidate, MethodContext, candidate
from n6convert.quantization.methods.base import WORTH
from n6convert.quantization.prepare.prepare import prepare
from n6convert.recipe.quantization import Effort

from .nets import cnn, feeds, parse

COUNT = 2 * SCREEN


class Counted:
    """Calibration samples, and how many were read in all."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self) -> Iterator[dict[str, Any]]:
        for sample in feeds((1, 3, 16, 16), COUNT)():
            self.read += 1
            yield sample


def quantized(effort: Effort) -> tuple[Any, int]:
    source = Counted()
    result = quantize(cnn(), source, QuantizationConfig(effort=effort), held_back=feeds((1, 3, 16, 16), 4, seed=5))
    return result, source.read


def test_more_effort_than_fast_reads_more_samples_and_comes_no_less_close() -> None:
    found = {effort: quantized(effort) for effort in ("fast", "default", "thorough")}
    fast_reads, *others = (read for _, read in found.values())
    assert fast_reads < min(others), "methods that walk the layers read samples of their own"
    evaluator = Evaluator(prepare(cnn()), list(feeds((1, 3, 16, 16), 4, seed=5)()))
    fast, default, thorough = (evaluator.fidelity(r.model).closeness_db for r, _ in found.values())
    assert min(default, thorough) > fast - 0.2, "methods that tie are kept"
    tried = {m["method"] for m in found["fast"][0].facts["methods"]}
    assert tried <= {"ranges: mse", "ranges: minmax"}


@pytest.mark.parametrize(("seed", "more"), [(0, 0), (2, COUNT)])
def test_rounding_is_tried_on_all_samples_only_where_some_leave_it_a_little_behind(
    seed: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(behind: float) -> int:
        monkeypatch.setattr(candidate, "BEHIND", behind)
        monkeypatch.setattr(MethodContext, "rounding_promises", lambda *_: True)
        source = Counted()
        config = QuantizationConfig(equalization=False, bias_correction="off")
        quantize(cnn(seed), source, config, held_back=feeds((1, 3, 16, 16), 4, seed=5))
        return source.read

    assert read(behind=100.0) - read(behind=0.0) == more


@pytest.mark.parametrize(("exact", "tried"), [(30.5, True), (30.05, False), (29.95, False), (29.5, True)])
def test_a_method_is_tried_unless_exact_parts_leave_the_outputs_where_they_are(exact: float, tried: bool) -> None:
    """Outputs that get worse by finer parts show errors that cancel by chance, not that nothing is to be gained."""

    class Measured(Evaluator):
        def fidelity(self, model: ir.Model) -> Fidelity:
            return Fidelity(exact, {})

    context = MethodContext([], [], QuantizationConfig(), Measured(cnn(), []), None, None, None)  # type: ignore[arg-type]
    prepared = prepare(cnn())
    best = Candidate(prepared, None, None, prepared, lambda: Fidelity(30.0, {}), [])  # type: ignore[arg-type]
    assert context.promises(best, cnn, WORTH) == tried


@pytest.mark.parametrize(
    ("weights", "exact_db", "tried"),
    [
        ([0.9, 0.9, 0.9, 0.9, 0.9], 4.0, True),
        ([0.9, 0.9, 0.9, 0.9, 0.9], 0.9, False),  # errors of tensors are as large whatever weights do
        ([0.1, 0.1, 0.1, 0.1, 0.1], 4.0, False),
        ([0.1, 0.1, 0.1, 0.1, 90.0], 4.0, False),  # beyond what the samples reached, any form of the network is wild
        ([2.0, 2.0, 2.0, 2.0, 0.1], -1.1, True),  # errors that cancel by chance
        ([1.0, 1.0, 1.0, 1.0, 1.0], 0.0, False),  # outputs that cannot be further from float
    ],
)
def test_rounding_is_tried_where_weights_make_much_of_the_noise_of_most_samples(
    weights: list[float], exact_db: float, tried: bool
) -> None:
    def fidelity(noise: list[float], closeness_db: float = 0.0) -> Fidelity:
        bounded = np.stack([np.full(len(noise), 100.0), np.array(noise)], axis=-1)[:, None]
        return Fidelity(closeness_db, {}, bounded=bounded)

    class Measured(Evaluator):
        def fidelity(self, model: ir.Model) -> Fidelity:
            exact = any("exact_weight" in name for name in model.graph.initializers)
            return fidelity(weights, exact_db if exact else 0.0)

    context = MethodContext([], [], QuantizationConfig(), Measured(cnn(), []), None, None, None)  # type: ignore[arg-type]
    made = quantized("fast")[0]
    best = Candidate(made.prepared, None, None, made.model, lambda: fidelity([1.0] * 5), [])  # type: ignore[arg-type]
    assert context.rounding_promises(best, 2.0) == tried
    assert (context.most_db is None) == tried


@pytest.mark.parametrize("tails", [2.5, 30.0])
def test_fast_is_never_further_than_minmax_ranges(tails: float) -> None:
    rng = np.random.default_rng(4)
    samples = [{"x": rng.standard_t(tails, (1, 3, 16, 16)).astype(np.float32)} for _ in range(12)]
    evaluator = Evaluator(prepare(cnn()), samples[8:])
    plain = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
    minmax, fast = (
        quantize(cnn(), lambda: iter(samples[:8]), config, held_back=lambda: iter(samples[8:]))
        for config in (plain, QuantizationConfig(effort="fast"))
    )
    assert evaluator.fidelity(fast.model).closeness_db >= evaluator.fidelity(minmax.model).closeness_db


@pytest.mark.parametrize("effort", ["fast", "default", "thorough"])
def test_the_time_budget_holds_whatever_the_effort(effort: Effort) -> None:
    config = QuantizationConfig(effort=effort, time_budget=1e-9)
    result = quantize(cnn(), feeds((1, 3, 16, 16), COUNT), config)
    kept = [m["method"] for m in result.facts["methods"]]
    assert set(kept) <= {"ranges: mse", "ranges: minmax"}
    assert bool(result.facts["methods_out_of_time"]) == (effort != "fast")


def test_a_method_that_can_bring_too_little_is_named_with_what_it_could() -> None:
    facts = quantized("default")[0].facts
    left = {m["method"]: m["most_db"] for m in facts["methods_not_promising"]}
    assert left and set(left).isdisjoint(m["method"] for m in facts["methods"])
    assert all(most <= 2.0 for most in left.values()), "more would have been worth a trial"
    assert quantized("thorough")[0].facts["methods_not_promising"] == []


@pytest.mark.parametrize(("effort", "stops"), [("default", True), ("thorough", False)])
def test_nothing_more_is_tried_for_outputs_as_close_as_eight_bits_get(effort: Effort, stops: bool) -> None:
    """One layer whose inputs lie on the grid: only its weights and its result are rounded."""
    random = np.random.default_rng(0)
    model = parse(
        "net (float[1,8,4,4] x) => (float[1,4,4,4] y) <float[4,8,1,1] w> { y = Conv(x, w) }",
        w=random.standard_normal((4, 8, 1, 1)).astype(np.float32),
    )
    samples = [{"x": random.integers(0, 256, (1, 8, 4, 4)).astype(np.float32)} for _ in range(8)]
    result = quantize(model, lambda: iter(samples), QuantizationConfig(effort=effort))
    first = result.facts["methods"][0]
    assert min(first["sqnr_db"], first["closeness_db"]) > 40
    tried = {m["method"] for m in result.facts["methods"]}
    assert (tried <= {"ranges: mse", "ranges: minmax", "unseen values"}) == stops
    assert ("second-order rounding" in result.facts["methods_not_needed"]) == stops


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    found = [quantize(cnn(), feeds((1, 3, 16, 16), 20), QuantizationConfig(threads=count)) for count in (1, 2, 5)]
    one, *others = [ir.to_proto(r.model).SerializeToString(deterministic=True) for r in found]
    assert all(other == one for other in others)


UNEVEN = """g (float[1, 8, 4, 4] x) => (float[1, 6, 1, 1] y)
<float[8, 8, 1, 1] w, float[6, 8, 1, 1] v> {
  h = Conv (x, w)
  r = Relu (h)
  p = GlobalAveragePool (r)
  y = Conv (p, v)
}"""


def test_even_channels_are_not_given_up_because_fewer_samples_reach_less_far() -> None:
    """Samples of very different size: on a share of them every model clips what all of them reach."""
    rng = np.random.default_rng(3)
    sizes = np.geomspace(1, 12, 8)[rng.permutation(8)]
    weights = {"w": rng.normal(0, 0.4, (8, 8, 1, 1)) * sizes[:, None, None, None], "v": rng.normal(0, 1, (6, 8, 1, 1))}
    weights["v"] /= sizes[:, None, None]
    model = parse(UNEVEN, **{n: w.astype(np.float32) for n, w in weights.items()})
    loudness = np.sort(rng.lognormal(0, 1, COUNT))
    samples = [{"x": (s * rng.normal(0, 1, (1, 8, 4, 4))).astype(np.float32)} for s in (*loudness, *loudness[::2])]
    config = QuantizationConfig(bias_correction="off", rounding="nearest")
    result = quantize(
        model, lambda: iter(samples[:COUNT]), config, held_back=lambda: iter(samples[COUNT:])
    )  # fmt: skip
    methods = {m["method"]: m for m in result.facts["methods"]}
    assert methods["equalization"]["kept"], methods
    assert methods["equalization"]["sqnr_db"] > methods["ranges: mse"]["sqnr_db"] + 3


@pytest.mark.parametrize(("effort", "explain", "in_doubt", "measured"), [
    ("fast", None, -100.0, False), ("fast", None, 100.0, True), ("fast", True, -100.0, True),
    ("default", None, -100.0, True), ("default", False, -100.0, False),
])  # fmt: skip
def test_fast_explains_only_outputs_that_are_in_doubt(
    effort: Effort, explain: bool | None, in_doubt: float, measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizer, "_IN_DOUBT", in_doubt)
    config = QuantizationConfig(effort=effort)
    result = quantize(cnn(), feeds((1, 3, 16, 16), 4), config, explain=explain)
    assert bool(result.facts["worst"]) == measured
    assert result.facts["tensors"]
    assert all((t["sqnr_db"] is not None) == measured for t in result.facts["tensors"])
