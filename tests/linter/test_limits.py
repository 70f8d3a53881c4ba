"""Each limit: a graph that breaks it and the same graph without the fault."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, RecipeError
from n6convert.linter import Severity, limits, lint

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def graph(body: str, inputs: str = "float[1,4,8,8] x", outputs: str = "float[1,4,8,8] y", head: str = HEAD) -> ir.Model:
    return ir.from_onnx_text(f"{head} g ({inputs}) => ({outputs}) {body}")


def rules(model: ir.Model, target: str | None = None, least: str = "info") -> dict[str, str]:
    order = [str(s) for s in Severity]
    found = lint(model, target)
    return {f.rule: str(f.severity) for f in reversed(found) if order.index(f.severity) <= order.index(least)}


W = "<float[4,4,1,1] w = {" + ", ".join(["0.5"] * 16) + "}>"
RELU = "{ y = Relu (x) }"
SQUARE = "<float[8,8] w = {" + ", ".join(["1"] * 64) + "}"
QDQ = """
<float s = {0.1}, int8 z = {0}, int8[4,4,1,1] w = {%s}, float[4] ws = {0.1,0.1,0.1,0.1}, int8[4] wz = {0,0,0,0},
 int32[4] b = {1,2,3,4}, float[4] bs = {0.01,0.01,0.01,0.01}, int32[4] bz = {0,0,0,0}>
{
 xq = QuantizeLinear (x, s, z)
 xd = DequantizeLinear (xq, s, z)
 wd = DequantizeLinear <axis = 0> (w, ws, wz)
 bd = DequantizeLinear <axis = 0> (b, bs, bz)
 c = Conv (xd, wd, bd)
 cq = QuantizeLinear (c, s, z)
 y = DequantizeLinear (cq, s, z)
}""".replace("%s", ", ".join(["3"] * 16))

#: rule, fault-free body, faulty body, further arguments of graph() for the faulty one
CASES = [
    ("refused-operators", RELU, '{ y = Einsum <equation = "abcd->abcd"> (x) }', {}),
    ("fused-normalization", RELU, "<float[8] g = {1,1,1,1,1,1,1,1}> { y = LayerNormalization (x, g) }", {}),
    (
        "reshape-allowzero",
        "<int64[4] s = {1,4,8,8}> { y = Reshape (x, s) }",
        "<int64[4] s = {1,4,8,8}> { y = Reshape <allowzero = 1> (x, s) }",
        {},
    ),
    (
        "slice-sentinels",
        "<int64[1] a={1}, int64[1] b={4}, int64[1] c={1}> { y = Slice (x, a, b, c) }",
        "<int64[1] a={1}, int64[1] b={2147483647}, int64[1] c={1}> { y = Slice (x, a, b, c) }",
        {"outputs": "float[1,3,8,8] y"},
    ),
    (
        "slice-axes",
        "<int64[1] a={0}, int64[1] b={1}, int64[1] c={0}> { y = Slice (x, a, b, c) }",
        "<int64[1] a={0}, int64[1] b={1}, int64[1] c={0}> { y = Slice (x, a, b, c) }",
        {"inputs": "float[2,4,8,8] x"},
    ),
    (
        "transpose-batch",
        "{ y = Transpose <perm = [0,2,3,1]> (x) }",
        "{ y = Transpose <perm = [1,0,2,3]> (x) }",
        {"outputs": "float[4,1,8,8] y"},
    ),
    ("concat-batch", "{ y = Concat <axis=1> (x, x) }", "{ y = Concat <axis=0> (x, x) }",
     {"outputs": "float[2,4,8,8] y"}),
    (
        "pad-mode",
        "<int64[8] p={0,0,1,1,0,0,1,1}> { y = Pad (x, p) }",
        '<int64[8] p={0,0,1,1,0,0,1,1}> { y = Pad <mode = "wrap"> (x, p) }',
        {"outputs": "float[1,4,10,10] y"},
    ),
    (
        "pad-inputs",
        "<int64[8] p={0,0,1,1,0,0,1,1}> { y = Pad (x, p) }",
        "<int64[4] p={1,1,1,1}, int64[2] a={2,3}> { y = Pad (x, p, , a) }",
        {"outputs": "float[1,4,10,10] y", "head": '<ir_version: 8, opset_import: ["" : 18]>'},
    ),
    (
        "clip-bounds",
        "<float a={0.0}, float b={6.0}> { y = Clip (x, a, b) }",
        "<float a={0.0}> { b = Constant <value_float = 6.0> () y = Clip (x, a, b) }",
        {},
    ),
    (
        "resize-modes",
        '<float[4] s={1,1,2,2}> { y = Resize <mode="nearest"> (x, , s) }',
        '<float[4] s={1,1,2,2}> { y = Resize <mode="cubic"> (x, , s) }',
        {"outputs": "float[1,4,16,16] y"},
    ),
    (
        "resize-on-cpu",
        '<float[4] s={1,1,2,2}> { y = Resize <mode="nearest", coordinate_transformation_mode="asymmetric",'
        ' nearest_mode="floor"> (x, , s) }',
        '<float[4] s={1,1,2,2}> { y = Resize <mode="linear"> (x, , s) }',
        {"outputs": "float[1,4,16,16] y"},
    ),
    (
        "gemm-bias",
        f"{SQUARE}, float[8] c = {{1,1,1,1,1,1,1,1}}> {{ y = Gemm (x, w, c) }}",
        f"{SQUARE}> {{ c = Relu (x) y = Gemm (x, w, c) }}",
        {"inputs": "float[1,8] x", "outputs": "float[1,8] y"},
    ),
    ("matmul-rank", RELU, "{ y = MatMul (x, x) }", {}),
    ("two-activations", f"{W} {{ y = Conv (x, w) }}", "{ y = MatMul (x, x) }", {}),
    ("conv-geometry", f"{W} {{ y = Conv (x, w) }}", f"{W} {{ y = Conv (x, w) }}", {"inputs": "float[1,4,0,8] x"}),
    ("cpu-operators", RELU, "{ y = Softmax (x) }", {}),
    ("unlisted-operators", RELU, "{ y = Sign (x) }", {}),
    ("power-exponent", "<float a = {2.0}> { y = Pow (x, a) }", "{ y = Pow (x, x) }", {}),
    ("division", "<float a = {2.0}> { y = Div (x, a) }", "{ y = Div (x, x) }", {}),
    (
        "constant-minus",
        "<float[1,4,1,1] c = {1,2,3,4}> { y = Sub (x, c) }",
        "<float[1,4,1,1] c = {1,2,3,4}> { y = Sub (c, x) }",
        {},
    ),
    ("prelu-slope", RELU, "<float[4,1,1] a = {1,2,3,4}> { y = PRelu (x, a) }", {}),
    ("integer-activations", RELU, "{ y = Cast <to = 7> (x) }", {"outputs": "int64[1,4,8,8] y"}),
    ("bool-tensors", RELU, "{ b = Cast <to = 9> (x) n = Not (b) y = Cast <to = 1> (n) }", {}),
    ("float-types", RELU, "{ h = Cast <to = 10> (x) y = Cast <to = 1> (h) }", {}),
    ("unconnected-outputs", RELU, "{ y = Relu (x) z = Sigmoid (x) }", {}),
    ("unconnected-inputs", RELU, RELU, {"inputs": "float[1,4,8,8] x, float[1,4] u"}),
    ("trivial-outputs", RELU, RELU, {"outputs": "float[1,4,8,8] y, float[1,4,8,8] x"}),
    ("rank", RELU, RELU, {"inputs": "float[1,2,2,8,8] x", "outputs": "float[1,2,2,8,8] y"}),
    ("dimension", RELU, RELU, {"inputs": "float[1,65536] x", "outputs": "float[1,65536] y"}),
    ("batch", RELU, RELU, {"inputs": "float[2,4,8,8] x", "outputs": "float[2,4,8,8] y"}),
    ("dynamic-shapes", RELU, RELU, {"inputs": "float[1,4,H,8] x", "outputs": "float[1,4,H,8] y"}),
    ("input-types", RELU, "{ y = Cast <to = 1> (x) }", {"inputs": "int64[1,4,8,8] x"}),
    ("rank-one-inputs", RELU, RELU, {"inputs": "float[8] x", "outputs": "float[8] y"}),
    ("opset", RELU, RELU, {"head": '<ir_version: 8, opset_import: ["" : 21]>'}),
    ("ir-version", RELU, RELU, {"head": '<ir_version: 10, opset_import: ["" : 17]>'}),
    (
        "custom-operators",
        RELU,
        "{ y = com.acme.Magic (x) }",
        {"head": '<ir_version: 8, opset_import: ["" : 17, "com.acme" : 1]>'},
    ),
    ("camera-rows", RELU, RELU, {"inputs": "float[1,3,64,250] x", "outputs": "float[1,3,64,250] y"}),
    ("mixed-scales", "{ a = Sigmoid (x) b = Sigmoid (x) y = Concat <axis=1> (a, b) }",
     "{ a = Sigmoid (x) y = Concat <axis=1> (a, x) }", {"outputs": "float[1,8,8,8] y"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "good", "bad", "more"), CASES, ids=[case[0] for case in CASES])
def test_limit_finds_the_fault_and_only_the_fault(rule: str, good: str, bad: str, more: dict[str, str]) -> None:
    assert rule in rules(graph(bad, **more))
    outputs = "float y" if "outputs" in more else "float[1,4,8,8] y"
    head = more.get("head", HEAD) if rule == "pad-inputs" else HEAD
    inputs = more["inputs"] if rule == "gemm-bias" else "float[1,4,8,8] x"
    model = ir.from_onnx_text(f"{head} g ({inputs}) => ({outputs}) {good}")
    model.graph.outputs[0].shape = None
    assert rule not in rules(model)


@pytest.mark.parametrize(("switch", "found"), [("", True), ("+expand-softmax", False)])
def test_softmax_is_no_work_of_the_cpu_where_the_compiler_expands_it(switch: str, found: bool) -> None:
    model, target = graph("{ y = Softmax (x) }"), f"stm32n6570-dk@4.0{switch}"
    assert ("cpu-operators" in rules(model, target)) is found


@pytest.mark.parametrize(
    ("shape", "found"),
    [("1,3,224,224", None), ("1,227,227,3", "681 bytes"), ("1,1,96,90", "90 bytes"), ("1,3,30,30", None),
     ("1,4,64,65", None), ("1,3,64,320", None)],
)  # fmt: skip
def test_rows_that_the_camera_cannot_write(shape: str, found: str | None) -> None:
    """Pictures of one or three channels in either layout; sides below 32 are no pictures."""
    broken = [f for f in lint(graph(RELU, f"float[{shape}] x", f"float[{shape}] y")) if f.rule == "camera-rows"]
    assert [found in f.found for f in broken if found] == ([True] if found else [])
    assert len(broken) == bool(found)
    for f in broken:
        below, above = (int(word) for word in f.remedy.split() if word.isdecimal())
        assert below % 16 == above % 16 == 0 and above - below == 16


QDQ_FAULTS = [
    ("activation-type", "int8 z = {0}", "uint8 z = {0}", "error"),
    ("activation-per-tensor", "xq = QuantizeLinear (x, s, z)", "xq = QuantizeLinear <axis = 1> (x, ws, wz)", "error"),
    ("scales", "float s = {0.1}", "float s = {0.0}", "error"),
    ("weight-axis", "wd = DequantizeLinear <axis = 0>", "wd = DequantizeLinear <axis = 1>", "error"),
    ("weight-grid", "int8[4] wz = {0,0,0,0}", "int8[4] wz = {0,1,0,0}", "warning"),
    ("bias-grid", "float[4] bs = {0.01,0.01,0.01,0.01}", "float[4] bs = {0.01,0.01,0.01,0.02}", "warning"),
    ("float-island", "cq = QuantizeLinear (c, s, z)", "t = Sigmoid (c) cq = QuantizeLinear (t, s, z)", "warning"),
    ("static-quantization", "cq = QuantizeLinear (c, s, z)",
     "cq, ds, dz = DynamicQuantizeLinear (c) v = DequantizeLinear(cq, ds, dz)", "error"),
]  # fmt: skip


def test_plain_qdq_breaks_no_limit() -> None:
    assert rules(graph(QDQ), least="warning") == {}


@pytest.mark.parametrize(("rule", "old", "new", "severity"), QDQ_FAULTS, ids=[f[0] for f in QDQ_FAULTS])
def test_quantization_limits(rule: str, old: str, new: str, severity: str) -> None:
    assert old in QDQ
    assert rules(graph(QDQ.replace(old, new))).get(rule) == severity


def test_float_activation_at_int8_weights_is_an_error() -> None:
    body = QDQ.replace("xd = DequantizeLinear (xq, s, z)", "xd = Sigmoid (x)").replace(
        "xq = QuantizeLinear (x, s, z)", ""
    )
    assert rules(graph(body))["float-island"] == "error"


def test_a_relu_behind_a_convolution_needs_no_scale_in_between() -> None:
    body = QDQ.replace("cq = QuantizeLinear (c, s, z)", "t = Relu (c) cq = QuantizeLinear (t, s, z)")
    assert "float-island" not in rules(graph(body))


def test_versions_differ() -> None:
    ten = graph(RELU, head='<ir_version: 10, opset_import: ["" : 17]>')
    assert rules(ten, "stm32n6570-dk@2.2")["ir-version"] == "error"
    assert rules(ten, "stm32n6570-dk@4.0.1")["ir-version"] == "warning"
    five = graph(RELU, "float[1,2,2,8,8] x", "float[1,2,2,8,8] y")
    assert (rules(five, "2.1")["rank"], rules(five, "4.0")["rank"]) == ("warning", "error")
    for spec in ("stm32n6570-dk@9.9", "9.9", "@2.1", "stm32n6570-dk@4.0+nonsense", "board@4.0"):
        with pytest.raises(RecipeError):
            lint(five, spec)


def test_mixed_scale_of_pixels_and_probabilities_is_an_error() -> None:
    body = """<float s = {2.5}, int8 z = {-128}, float p = {0.0039}> {
      xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      a = Sigmoid (xd)  aq = QuantizeLinear (a, p, z)  ad = DequantizeLinear (aq, p, z)
      c = Concat <axis = 1> (xd, ad)  cq = QuantizeLinear (c, s, z)  y = DequantizeLinear (cq, s, z) }"""
    broken = [f for f in lint(graph(body, outputs="float[1,8,8,8] y")) if f.rule == "mixed-scales"]
    assert [str(f.severity) for f in broken] == ["error"]
    assert "0.4 of 256 levels" in broken[0].found
    assert "options.outputs=[x,a]" in broken[0].remedy
    inner = body.replace("c = Concat", "e = Concat").replace("cq =", "c = Exp (e)  cq =")
    broken = [f for f in lint(graph(inner, outputs="float[1,8,8,8] y")) if f.rule == "mixed-scales"]
    assert all("options.outputs" not in f.remedy for f in broken)
    fine = body.replace("{2.5}", "{0.0039}")
    assert "mixed-scales" not in rules(graph(fine, outputs="float[1,8,8,8] y"))


def test_sentences_are_filled_and_unique() -> None:
    known = limits()
    assert len(known) > 40
    assert len({limit.sentence for limit in known.values()}) == len(known)
    for limit in known.values():
        assert limit.sentence.endswith(".") and "{" not in limit.sentence and "{IR" not in limit.remedy
        assert limit.evidence and limit.remedy


def test_malformed_graph_is_refused() -> None:
    model = graph(RELU)
    model.graph.remove(model.graph[0])
    with pytest.raises(GraphError, match="produced by no node"):
        lint(model)


def test_findings_do_not_change_the_model() -> None:
    model = graph("{ t = Relu (x) y = Relu (t) }")
    before = ir.to_proto(model).SerializeToString()
    lint(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_rows_and_columns_of_a_map_are_no_channels():
    from n6convert.linter.rules_scales import _poor_channels

    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 1, (1, 6, 8, 8)).astype(np.float32)
    maps[:, :, :2] *= 0.02
    assert list(_poor_channels([maps], 1 / 255)) == []
    mixed = rng.uniform(0, 1, (1, 6, 8, 8)).astype(np.float32)
    mixed[:, :2] *= 0.02
    assert len(list(_poor_channels([mixed], 1 / 255))) == 1
    assert len(list(_poor_channels([mixed.transpose(0, 2, 3, 1)], 1 / 255))) == 1
