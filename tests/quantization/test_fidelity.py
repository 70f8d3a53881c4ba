"""What methods are compared by: closeness behind bounded errors, with plain SQNR as a floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, methods, quantize, quantizer
from n6convert.quantization.fidelity import Evaluator, Fidelity
from n6convert.runtime.comparison import LIMIT_DB

from .nets import cnn, feeds, parse

Samples = list[Mapping[str, Any]]


def shifted(by: np.ndarray) -> ir.Model:
    """A model that adds a constant to its input."""
    return parse("net (float[1,100] x) => (float[1,100] y) { y = Add(x, by) }", by=by.astype(np.float32))


def samples() -> Samples:
    return list(feeds((1, 100), 3)())


def test_small_errors_count_as_in_sqnr() -> None:
    evaluator = Evaluator(shifted(np.zeros(100)), samples())
    fidelity = evaluator.fidelity(shifted(np.full(100, 0.01)))
    assert fidelity.closeness_db == pytest.approx(40, abs=0.5)
    assert fidelity.sqnr_db == pytest.approx(40, abs=0.5)
    assert evaluator.score(shifted(np.full(100, 0.01))) == fidelity.sqnr_db


def test_one_element_far_off_does_not_rule() -> None:
    """One element of a hundred is wrong by 30 spreads: worse for SQNR than noise that spoils every answer a little."""
    evaluator, lonely = Evaluator(shifted(np.zeros(100)), samples()), np.zeros(100)
    lonely[7] = 30
    one, noisy = evaluator.fidelity(shifted(lonely)), evaluator.fidelity(shifted(np.full(100, 1.0)))
    assert one.sqnr_db < noisy.sqnr_db
    assert one.closeness_db > noisy.closeness_db + 10


def test_exact_and_constant_outputs() -> None:
    assert Evaluator(shifted(np.zeros(100)), samples()).fidelity(shifted(np.zeros(100))).closeness_db == 80
    constant = parse("net (float[1,4] x) => (float[1,4] y) { y = Mul(x, by) }", by=np.zeros(4, np.float32))
    evaluator = Evaluator(constant, list(feeds((1, 4), 2)()))
    assert evaluator.fidelity(constant) == Fidelity(80.0, {"y": 80.0})


@pytest.mark.parametrize(("constant", "scatter", "expected"), [(0.1, 0.0, 80.0), (0.0, 0.1, 0.0), (0.1, 0.1, 3.0)])
def test_what_errors_have_in_common_is_told_from_what_they_have_not(
    constant: float, scatter: float, expected: float
) -> None:
    model, rng = shifted(np.zeros(100)), np.random.default_rng(0)
    many = list(feeds((1, 100), 64)())
    found = [{"y": s["x"] + constant + scatter * rng.standard_normal((1, 100))} for s in many]
    assert Evaluator(model, many).compared(found).shift_db == pytest.approx(expected, abs=0.3)


def test_few_samples_do_not_tell_what_errors_have_in_common() -> None:
    assert Evaluator(shifted(np.zeros(100)), samples()).fidelity(shifted(np.full(100, 0.1))).shift_db == np.inf


def test_an_output_that_is_not_finite_tells_nothing_of_a_shift() -> None:
    many = list(feeds((1, 100), 16)())
    broken = [{"y": np.full((1, 100), np.inf)} for _ in many]
    assert Evaluator(shifted(np.zeros(100)), many).compared(broken).shift_db == np.inf


def test_a_candidate_that_nobody_asks_about_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fidelity(self: Evaluator, model: ir.Model) -> Fidelity:
        asked.append(model)
        return Fidelity(10.0, {"y": 10.0})

    monkeypatch.setattr(Evaluator, "fidelity", fidelity)
    context = methods.MethodContext([], [], QuantizationConfig(), Evaluator(cnn(), []), None, None, None)  # type: ignore[arg-type]
    measure = context.measure(cnn())
    assert not asked
    assert measure() is measure() and len(asked) == 1


def test_nothing_that_minmax_beats_in_sqnr_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is closest, plain min-max ranges stay the floor."""
    figures = {"ranges: mse": (5.0, 10.0), "ranges: minmax": (1.0, 20.0), "bad": (9.0, 19.5), "good": (2.0, 19.95)}

    def fidelity(name: str) -> Fidelity:
        closeness, sqnr = figures[name]
        return Fidelity(closeness, {"y": sqnr})

    def method(name: str) -> methods.Method:
        return methods.Method(
            name, 0, None, lambda context, best: replace(best, measure=lambda: fidelity(name), notes={})
        )

    monkeypatch.setattr(Evaluator, "fidelity", lambda self, model: fidelity("ranges: mse"))
    monkeypatch.setattr(quantizer, "METHODS", [method(n) for n in ("ranges: minmax", "bad", "good")])
    result = quantize(cnn(), feeds((1, 3, 16, 16)), QuantizationConfig(ranges="mse"))
    kept = {m["method"]: m["kept"] for m in result.facts["methods"]}
    assert kept == {"ranges: mse": True, "ranges: minmax": True, "bad": False, "good": True}


@pytest.mark.parametrize(("closer", "kept"), [(0.5, False), (1.5, True)])
def test_what_costs_time_must_be_closer_by_what_it_owes(
    closer: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(context: methods.MethodContext, best: methods.Candidate) -> methods.Candidate:
        return replace(best, measure=lambda: Fidelity(10.0 + closer, {"y": 10.0}), required_gain_db=1.0)

    monkeypatch.setattr(Evaluator, "fidelity", lambda self, model: Fidelity(10.0, {"y": 10.0}))
    monkeypatch.setattr(quantizer, "METHODS", [methods.Method("slower", 0, None, attempt)])
    result = quantize(cnn(), feeds((1, 3, 16, 16)), QuantizationConfig(ranges="mse"))
    assert [m["kept"] for m in result.facts["methods"]] == [True, kept]


def test_outputs_that_are_not_finite_are_judged() -> None:
    """A reciprocal of an INT8 zero is infinite: as wrong as an element can be, and no more than one."""
    body = "net (float[1,100] x) => (float[1,100] y) { d = Add(x, by) y = Div(one, d) }"
    far, near = np.full(100, 10, np.float32), np.full(100, 10.001, np.float32)
    samples = [{"x": np.zeros((1, 100), np.float32)}]
    evaluator = Evaluator(parse(body, by=far, one=np.ones(1, np.float32)), samples)
    near[3] = 0
    fidelity = evaluator.fidelity(parse(body, by=near, one=np.ones(1, np.float32)))
    assert fidelity.closeness_db == pytest.approx(20, abs=0.1)
    assert fidelity.sqnr_db == -LIMIT_DB
    mask = parse("net (float[1,100] x) => (float[1,100] y) { y = Add(x, by) }", by=np.full(100, -np.inf, np.float32))
    assert Evaluator(mask, samples).fidelity(mask) == Fidelity(80.0, {"y": 80.0})
