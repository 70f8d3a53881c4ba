"""A model as the limits look at it: what is an activation, what a constant, what a name in the user's own graph."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from n6convert.linter.finding import Break, Finding, Limit, Severity
from n6convert.linter.prepare import prepare
from n6convert.linter.view import View, constant, dims, label, named, through_quantization

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g '
QDQ = """(float[1,4] x) => (float[1,4] y) <float s = {0.5}, int8 z = {0}, int8[4] w = {1,2,3,4}> {
  q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  c = DequantizeLinear (w, s, z)
  n = Shape (x)  m = Cast <to = 1> (n)  r = ReduceMax <keepdims = 0> (m)
  a = Add (d, c)  b = Mul (a, r)  y = Relu (b) }"""


@pytest.fixture
def view() -> View:
    return prepare(ir.from_onnx_text(HEAD + QDQ), "stm32n6570-dk@4.0")


def _value(view: View, name: str) -> ir.Value:
    values = [*view.graph.inputs, *view.graph.initializers.values(), *(v for n in view.nodes for v in n.outputs)]
    return next(value for value in values if value.name == name)


def test_what_depends_on_the_input(view: View) -> None:
    """A shape that is known is a constant, and so is what follows from it."""
    found = {name for name in "xqdcnmrabyw" if view.depends_on_input(_value(view, name))}
    assert found == set("xqdaby")
    assert not view.depends_on_input(None)


@pytest.mark.parametrize(("name", "source"), [("d", "x"), ("q", "x"), ("c", "w"), ("a", "a"), ("x", "x")])
def test_pairs_are_seen_through(name: str, source: str, view: View) -> None:
    found = through_quantization(_value(view, name))
    assert found is not None and found.name == source


def test_constants_and_shapes(view: View) -> None:
    weights = constant(_value(view, "w"))
    assert weights is not None and weights.tolist() == [1, 2, 3, 4]
    assert constant(_value(view, "a")) is None and constant(None) is None
    assert dims(_value(view, "a")) == (1, 4) and dims(None) is None


def test_open_sizes_are_none() -> None:
    model = ir.from_onnx_text(HEAD + "(float[N,4] x) => (float[N,4] y) { y = Relu (x) }")
    assert dims(model.graph.inputs[0]) == (None, 4)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("conv", "conv"), ("conv/~unroll/3", "conv"), ("conv_QuantizeLinear_Input", "conv"), ("a/b", "a/b")],
)
def test_names_are_the_users_own(name: str, shown: str) -> None:
    assert named(ir.Value(name=name)) == shown


def test_the_view_is_of_a_copy(view: View) -> None:
    model = ir.from_onnx_text(HEAD + QDQ)
    seen = prepare(model, None)
    seen.graph.remove(seen.graph[-1])
    assert len(model.graph) == len(view.graph) == len(seen.graph) + 1
    assert view.quantized and not view.four_bits and view.opset == 17


def test_subgraphs_are_looked_into() -> None:
    body = """(float[1,4] x, bool c) => (float[1,4] y)
      { y = If (c) <then_branch = t () => (float[1,4] p) { p = Exp (x) }, else_branch = e () => (float[1,4] n)
      { n = Relu (x) }> }"""
    found = prepare(ir.from_onnx_text(HEAD + body), None)
    assert {node.op_type for node in found.nodes} == {"If", "Exp", "Relu"}
    assert [label(node) for node in found.of_type("Exp")] == ["Exp 'p'"]


# findings ------------------------------------------------------------------------------------------------------------


def _limit(*breaks: Break) -> Limit:
    return Limit("rule", "It must not.", Severity.WARNING, "mend it", "seen", lambda view: iter(breaks))


def test_a_break_says_only_what_differs(view: View) -> None:
    plain, own = _limit(
        Break("a", "Conv 'c'", "t"), Break("b", severity=Severity.ERROR, remedy="other", evidence="read")
    ).findings(view)  # fmt: skip
    assert plain == Finding("rule", Severity.WARNING, "Conv 'c'", "t", "It must not.", "a", "mend it", "seen")
    assert (own.severity, own.remedy, own.evidence, own.node) == (Severity.ERROR, "other", "read", None)


@pytest.mark.parametrize(
    ("node", "tensor", "place"), [("N", "t", "N [t]"), (None, "t", "[t]"), ("N", None, "N"), (None, None, "model")]
)
def test_a_finding_as_a_line(node: str | None, tensor: str | None, place: str) -> None:
    finding = Finding("r", Severity.ERROR, node, tensor, "Limit.", "found it", "mend it", "seen")
    assert str(finding) == f"error r at {place}: found it. Limit. Remedy: mend it."
    plain = finding.as_dict()
    assert plain["severity"] == "error" and type(plain["severity"]) is str and plain["node"] == node
