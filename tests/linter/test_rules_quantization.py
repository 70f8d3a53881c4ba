"""Boundaries of the limits of the QDQ form, on one convolution whose grids are changed one at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from n6convert.linter import Finding

Lint = Callable[..., list[Finding]]

WEIGHTS = ", ".join(["3"] * 8)
BODY = """
<float s = {0.5}, int8 z = {0}, int8[2,4,1,1] w = {WEIGHTS}, float[2] ws = {0.1, 0.2}, int8[2] wz = {0, 0},
 int32[2] b = {1, 2}, float[2] bs = {0.05, 0.1}, int32[2] bz = {0, 0}>
{ xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
  wd = DequantizeLinear <axis = 0> (w, ws, wz)  bd = DequantizeLinear <axis = 0> (b, bs, bz)
  c = Conv (xd, wd, bd)  cq = QuantizeLinear (c, s, z)  y = DequantizeLinear (cq, s, z) }""".replace("WEIGHTS", WEIGHTS)


def _changed(*pairs: str) -> str:
    body = BODY
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in body
        body = body.replace(old, new)
    return body


_ALL = ["not-quantized", "static-quantization", "qoperator-format", "activation-type", "activation-per-tensor",
        "scales", "quantize-attributes", "weight-grid", "weight-axis", "bias-grid", "float-island",
        "requantized-copies"]  # fmt: skip


@pytest.mark.parametrize("rule", _ALL)
def test_the_plain_graph_keeps_every_limit(rule: str, broken: Lint) -> None:
    assert broken(rule, BODY) == []


@pytest.mark.parametrize(
    ("rule", "pairs", "found", "severity"),
    [
        ("activation-type", ("int8 z = {0}", "int16 z = {0}"), {"int16"}, "error"),
        ("activation-type", ("int8 z = {0}", "uint8 z = {128}"), {"uint8"}, "error"),
        ("activation-type", ("Linear (x, s, z)", "Linear (x, s)", "Linear (xq, s, z)", "Linear (xq, s)"),
         {"no zero point, uint8"}, "error"),
        ("scales", ("float s = {0.5}", "float s = {-0.5}"), {"scale -0.5"}, "error"),
        ("scales", ("float s = {0.5}", "float s = {0.0}"), {"scale 0.0"}, "error"),
        ("scales", ("ws = {0.1, 0.2}", "ws = {0.1, 0.0}"), {"scale 0.0"}, "error"),
        ("weight-grid", ("wz = {0, 0}", "wz = {0, 7}"), {"zero point 7"}, "warning"),
        ("weight-grid", ("int8[2,4,1,1] w", "uint8[2,4,1,1] w", "int8[2] wz", "uint8[2] wz"),
         {"weights of type uint8"}, "error"),
        ("weight-axis", ("wd = DequantizeLinear <axis = 0>", "wd = DequantizeLinear <axis = 1>"),
         {"axis 1 instead of 0"}, "error"),
        ("bias-grid", ("bs = {0.05, 0.1}", "bs = {0.05, 0.101}"), {"another scale"}, "warning"),
        ("bias-grid", ("c = Conv (xd, wd, bd)", "f = Constant <value_floats=[1.0, 2.0]> () c = Conv (xd, wd, f)"),
         {"float bias"}, "warning"),
        ("float-island", ("y = DequantizeLinear (cq, s, z)", "d = DequantizeLinear (cq, s, z) y = Exp (d)"),
         {"no Q/DQ"}, "warning"),
    ],
)  # fmt: skip
def test_each_fault_alone(rule: str, pairs: tuple[str, ...], found: set[str], severity: str, broken: Lint) -> None:
    hits = broken(rule, _changed(*pairs))
    assert {hit.found for hit in hits} == found and {str(hit.severity) for hit in hits} == {severity}


@pytest.mark.parametrize(("scale", "found"), [("0.10009", 0), ("0.1002", 1), ("0.0998", 1)])
def test_a_bias_scale_may_be_off_by_a_thousandth(scale: str, found: int, broken: Lint) -> None:
    assert len(broken("bias-grid", _changed("bs = {0.05, 0.1}", f"bs = {{0.05, {scale}}}"))) == found


def test_the_axis_may_be_counted_from_behind(broken: Lint) -> None:
    assert (
        broken("weight-axis", _changed("wd = DequantizeLinear <axis = 0>", "wd = DequantizeLinear <axis = -4>")) == []
    )


@pytest.mark.parametrize(
    ("node", "axis", "found"),
    [
        ("Gemm <transB = 1>", 0, []), ("Gemm <transB = 1>", 1, ["axis 1 instead of 0"]), ("Gemm", 1, []),
        ("Gemm", 0, ["axis 0 instead of 1"]), ("MatMul", 1, []), ("MatMul", 0, ["axis 0 instead of 1"]),
    ],
)  # fmt: skip
def test_columns_of_a_product(node: str, axis: int, found: list[str], broken: Lint) -> None:
    kind, _, attributes = node.partition(" ")
    body = f"""<float s = {{0.5}}, int8 z = {{0}}, int8[2,2] w = {{1,2,3,4}}, float[2] ws = {{0.1, 0.2}},
      int8[2] wz = {{0, 0}}> {{
      xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      wd = DequantizeLinear <axis = {axis}> (w, ws, wz)
      c = {kind} {attributes} (xd, wd)  cq = QuantizeLinear (c, s, z)  y = DequantizeLinear (cq, s, z) }}"""
    assert [hit.found for hit in broken("weight-axis", body, inputs="float[1,2] x")] == found


def test_weights_of_four_bits_by_version(broken: Lint) -> None:
    body = _changed("int8[2,4,1,1] w", "int4[2,4,1,1] w", "int8[2] wz", "int4[2] wz")
    old = broken("weight-grid", body, opset=21, ir_version=10, target="stm32n6570-dk@2.2")
    assert [hit.found for hit in old] == ["weights of type int4"]
    for rule in ("weight-grid", "opset", "ir-version"):
        assert broken(rule, body, opset=21, ir_version=10, target="stm32n6570-dk@3.0") == []


def test_a_float_graph_is_said_to_be_one(broken: Lint) -> None:
    (hit,) = broken("not-quantized", "{ y = Relu (x) }")
    assert str(hit.severity) == "info" and hit.node is None


def test_quantized_weights_alone_leave_the_network_in_float(broken: Lint) -> None:
    body = _changed(
        "xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)", "xd = Identity (x)",
        "cq = QuantizeLinear (c, s, z)  y = DequantizeLinear (cq, s, z)", "y = Identity (c)",
    )  # fmt: skip
    (hit,) = broken("static-quantization", body)
    assert hit.found == "2 quantized weights, no quantized activation" and str(hit.severity) == "error"


def test_a_relu_is_fused_only_into_what_it_alone_reads(broken: Lint) -> None:
    alone = _changed("cq = QuantizeLinear (c, s, z)", "r = Relu (c) cq = QuantizeLinear (r, s, z)")
    assert broken("float-island", alone) == []
    shared = _changed(
        "cq = QuantizeLinear (c, s, z)  y = DequantizeLinear (cq, s, z)",
        "r = Relu (c) rq = QuantizeLinear (r, s, z) rd = DequantizeLinear (rq, s, z)"
        " cq = QuantizeLinear (c, s, z) cd = DequantizeLinear (cq, s, z) a = Add (cd, rd)"
        " aq = QuantizeLinear (a, s, z) y = DequantizeLinear (aq, s, z)",
    )
    assert {hit.node for hit in broken("float-island", shared)} == {"Conv 'c'", "Relu 'r'"}


def test_moves_keep_their_grid(broken: Lint) -> None:
    body = """<float s = {0.5}, float t = {0.25}, int8 z = {0}, int8 o = {1}> {
      xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      m = Transpose <perm = [0,2,3,1]> (xd)  mq = QuantizeLinear (m, SCALE)  y = DequantizeLinear (mq, SCALE) }"""
    assert broken("requantized-copies", body.replace("SCALE", "s, z")) == []
    (hit,) = broken("requantized-copies", body.replace("SCALE", "t, z"))
    assert hit.found == "scale 0.5 becomes 0.25"
    assert len(broken("requantized-copies", body.replace("SCALE", "s, o"))) == 1, "the zero point belongs to the grid"


def test_operators_of_the_other_format_are_one_finding(broken: Lint) -> None:
    body = """<float s = {0.5}, uint8 z = {0}> { xq = QuantizeLinear (x, s, z)
      a = com.acme.QLinearSigmoid (xq, s, z, s, z)  b = com.acme.QLinearSigmoid (a, s, z, s, z)
      y = DequantizeLinear (b, s, z) }"""
    (hit,) = broken("qoperator-format", body)
    assert hit.found == "2 QLinear operators" and hit.node == "QLinearSigmoid 'a'"


@pytest.mark.parametrize(("attribute", "found"), [("block_size = 2", ["block_size"]), ("axis = 1", [])])
def test_blocks_are_not_known(attribute: str, found: list[str], broken: Lint) -> None:
    body = _changed("wd = DequantizeLinear <axis = 0>", f"wd = DequantizeLinear <{attribute}>")
    assert [hit.found for hit in broken("quantize-attributes", body, opset=21)] == found


@pytest.mark.parametrize(("bias", "found"), [
    ("float[3] bs = {0.05, 0.1, 0.1}", {"3 scales beside 2 of the weight"}),
    ("float[1] bs = {0.05}", {"another scale"}),
])  # fmt: skip
def test_scales_of_bias_and_weight_of_different_number(bias: str, found: set[str], broken: Lint) -> None:
    """Neither broadcasts: a file whose weight is scaled along its inputs has as many scales as these."""
    hits = broken("bias-grid", _changed("float[2] bs = {0.05, 0.1}", bias))
    assert {hit.found for hit in hits} == found


def test_a_weight_scaled_along_its_inputs_is_told_with_its_bias(broken: Lint) -> None:
    changes = ("wd = DequantizeLinear <axis = 0>", "wd = DequantizeLinear <axis = 1>", "float[2] ws = {0.1, 0.2}",
               "float[4] ws = {0.1, 0.2, 0.1, 0.1}", "int8[2] wz = {0, 0}", "int8[4] wz = {0, 0, 0, 0}")  # fmt: skip
    assert [h.found for h in broken("weight-axis", _changed(*changes))] == ["axis 1 instead of 0"]
    assert [h.found for h in broken("bias-grid", _changed(*changes))] == ["2 scales beside 4 of the weight"]
