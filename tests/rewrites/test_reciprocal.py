"""Forms of 1/x and 1/sqrt(x): right in float, their INT8 errors, and which one is written for which core."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.rewrites import reciprocal
from n6convert.rewrites.by_latency import predicted_milliseconds
from n6convert.rewrites.reciprocal import Form, Inverse, forms, int8_error
from n6convert.rewrites.rule import Context
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops

ENDS = {"narrow": (0.8, 1.25), "wide": (0.05, 20.0), "far": (3e4, 1e5)}
SPREADS = {name: np.geomspace(*ends, 600) for name, ends in ENDS.items()}


def evaluated(form: Form, shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """What the nodes of a form make of x in float32, its factor included."""
    source = ir.Value(name="x", shape=ir.Shape(list(shape)), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([source], [], nodes=[], opset_imports={"": 17}, name="form")
    build = Builder(graph, "form", 17)
    result = build.mul(form.write(build, source), form.factor)
    graph.extend(build.nodes)
    graph.outputs.append(result)
    answers = run_model(ir.Model(graph, ir_version=8), {"x": x.reshape(shape).astype(np.float32)}, threads=1)
    return next(iter(answers.values())).astype(np.float64)


@pytest.mark.parametrize("power", [-1.0, -0.5])
@pytest.mark.parametrize("spread", SPREADS)
def test_every_form_is_the_power_within_a_thirtieth_of_a_permille(power: float, spread: str) -> None:
    values = SPREADS[spread]
    found = forms(power, values)
    assert [form.name for form in found][:3] == ["Pow", "Tan and Atan", "Exp and Asinh"]
    for form in found:
        shape = (1, 1, values.size // 3, 3) if form.name == "Relu table" else (1, values.size, 1)
        x = values[: int(np.prod(shape))]
        np.testing.assert_allclose(evaluated(form, shape, x).reshape(-1), x**power, rtol=4e-5, err_msg=form.name)


@pytest.mark.parametrize("shape", [(1, 1, 5, 4), (1, 20, 1), (4, 5), (1, 2, 5, 2)])
def test_a_table_keeps_the_shape(shape: tuple[int, ...]) -> None:
    values = np.geomspace(0.5, 2, 20)
    table = forms(-0.5, values)[-1]
    assert table.name == "Relu table" and evaluated(table, shape, values).shape == shape


def test_a_range_that_needs_too_many_knots_has_no_table() -> None:
    assert "Relu table" not in {form.name for form in forms(-1.0, np.geomspace(1e-4, 1e4, 9))}


def test_int8_errors_are_those_of_the_reference() -> None:
    """[#function-forms]: 0.42 % where only input and result are rounded, 0.56 % by Tan and Atan, 0.86 % by Asinh."""
    random = np.random.default_rng(0)
    variances = random.lognormal(0.0, 0.5, 4000)
    error = {form.name: 100 * int8_error(form, -0.5, variances) for form in forms(-0.5, variances)}
    for name, known in (("Pow", 0.42), ("Tan and Atan", 0.56), ("Exp and Asinh", 0.86), ("Relu table", 0.42)):
        assert error[name] == pytest.approx(known, abs=0.05), name


def test_the_core_decides_and_the_figures_of_all_forms_are_told() -> None:
    values = np.geomspace(0.2, 5, 300)
    for target, version, taken in ((OLD, (2, 1), "Tan and Atan"), (NEW, (4, 0), "Pow")):
        context = Context(version, timer=predicted_milliseconds(target))
        choice = Inverse(-0.5).choose(context, (1, 1, 8, 8), values)
        assert choice.form.name == taken
        assert choice.because.startswith(f"1/sqrt of [1, 1, 8, 8] alone: {taken} ")
        assert "% off in INT8" in choice.because
        assert ("Pow" in choice.because) is (version == (4, 0)) and "Exp and Asinh" in choice.because


def test_the_usual_form_is_left_where_another_one_loses_much_less() -> None:
    """Nearly all rows at one end of a range of 1 to 10,000: what counts is where the steps of 8 bits come to lie."""
    values = np.concatenate([np.geomspace(1e-2, 1e2, 50), np.full(4000, 95.0)])
    context = Context((2, 1), timer=predicted_milliseconds(OLD))
    found = {form.name: int8_error(form, -0.5, values) for form in forms(-0.5, values)}
    choice = Inverse(-0.5).choose(context, (1, 1, 8, 8), values)
    best = min((name for name in found if name != "Pow"), key=lambda name: found[name])
    assert choice.form.name == best != "Tan and Atan" and found["Tan and Atan"] > 2 * found[best]


def test_without_a_predictor_the_core_alone_decides() -> None:
    values = np.ones(3)
    assert Inverse(-1.0).choose(Context((4, 0)), (1, 3), values).form.name == "Pow"
    plain = Inverse(-1.0).choose(Context((2, 1)), (1, 3), values)
    assert (plain.form.name, plain.because) == ("Tan and Atan", "")


def test_rules_report_why_they_wrote_a_form() -> None:
    g = GraphWriter()
    quotient = g.node("Div", g.input("x", [1, 4, 6]), g.node("Exp", g.input("y", [1, 4, 1])))
    result = apply(g.model(g.node("Softmax", g.layernorm(quotient, 6))), "division-to-product", "layernorm-decompose",
                   "softmax-decompose", target=OLD)  # fmt: skip
    assert ops(result.model)["Tan"] == 3
    because = {entry["rule"]: entry["because"] for entry in result.facts()["applied"]}
    for rule, kind in (("division-to-product", "1/x"), ("layernorm-decompose", "1/sqrt"), ("softmax-decompose", "1/x")):
        assert because[rule][0].startswith(kind)


def test_forms_are_measured_once_for_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def counted(form: Form, power: float, values: NDArray[np.float64]) -> float:
        measured.append(form.name)
        return int8_error(form, power, values)

    monkeypatch.setattr(reciprocal, "int8_error", counted)
    context, inverse = Context((4, 0), timer=predicted_milliseconds(NEW)), Inverse(-1.0)
    choices = [inverse.choose(context, (1, 300), np.geomspace(1, high, 300)) for high in (5, 5, 9)]
    assert choices[0] is choices[1] and choices[0] != choices[2]
    assert len(measured) == 2 * len(set(measured))
