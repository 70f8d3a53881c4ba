"""Limits of the file and of its ends, at their borders and by compiler."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

from n6convert.linter import Finding, lint

Lint = Callable[..., list[Finding]]

RELU = "{ y = Relu (x) }"


@pytest.mark.parametrize(("opset", "found"), [(6, True), (7, False), (20, False), (21, True)])
def test_opsets_from_7_to_20(opset: int, found: bool, broken: Lint) -> None:
    assert [hit.found for hit in broken("opset", RELU, opset=opset)] == [f"opset {opset}"] * found


@pytest.mark.parametrize(
    ("version", "compiler", "severity"), [(9, "2.2", None), (10, "2.2", "error"), (10, "3.0", "warning")]
)
def test_ir_versions(version: int, compiler: str, severity: str | None, broken: Lint) -> None:
    hits = broken("ir-version", RELU, ir_version=version, target=f"stm32n6570-dk@{compiler}")
    assert [str(hit.severity) for hit in hits] == ([severity] if severity else [])


@pytest.mark.parametrize(("opset", "scales", "found"), [(12, 2, 1), (13, 2, 0), (12, 1, 0)])
def test_scales_by_channel_need_opset_13(opset: int, scales: int, found: int, broken: Lint) -> None:
    values = ", ".join(["0.1"] * scales)
    body = f"""<int8[2,2] w = {{1,2,3,4}}, float[{scales}] s = {{{values}}}> {{
      d = DequantizeLinear (w, s)  y = MatMul (x, d) }}"""
    assert len(broken("opset-per-channel", body, inputs="float[1,2] x", opset=opset)) == found


@pytest.mark.parametrize(
    ("shape", "severity", "found"),
    [
        ("1,4,8,8", None, None), ("N,4,8,8", "warning", "shape [N, 4, 8, 8]"),
        ("1,4,H,8", "error", "shape [1, 4, H, 8]"), ("N,4,H,8", "error", "shape [N, 4, H, 8]"),
    ],
)  # fmt: skip
def test_only_the_batch_may_be_open(shape: str, severity: str | None, found: str | None, broken: Lint) -> None:
    hits = broken("dynamic-shapes", RELU, inputs=f"float[{shape}] x")
    assert [(str(hit.severity), hit.found) for hit in hits] == ([(severity, found)] if severity else [])
    assert all(hit.tensor == "x" for hit in hits)


@pytest.mark.parametrize(("shape", "found"), [("1,4", []), ("2,4", ["batch 2"]), ("4", []), ("N,4", [])])
def test_the_batch_is_one(shape: str, found: list[str], broken: Lint) -> None:
    assert [hit.found for hit in broken("batch", RELU, inputs=f"float[{shape}] x")] == found


@pytest.mark.parametrize(
    ("kind", "found"),
    [("float", []), ("int8", []), ("uint8", []), ("int64", ["type int64"]), ("int32", ["type int32"]),
     ("bool", ["type bool"]), ("float16", ["type float16"])],
)  # fmt: skip
def test_types_of_inputs(kind: str, found: list[str], broken: Lint) -> None:
    hits = broken("input-types", "{ y = Cast <to = 1> (x) }", inputs=f"{kind}[1,4] x")
    assert [hit.found for hit in hits] == found


@pytest.mark.parametrize(("shape", "found"), [("4", ["rank 1"]), ("1,4", [])])
def test_inputs_need_a_batch(shape: str, found: list[str], broken: Lint) -> None:
    assert [hit.found for hit in broken("rank-one-inputs", RELU, inputs=f"float[{shape}] x")] == found


def test_only_the_first_unknown_shape_is_told(broken: Lint) -> None:
    body = "{ i = NonZero (x) f = Cast <to = 1> (i) g = Relu (f) y = Exp (g) }"
    (hit,) = broken("unknown-shapes", body, inputs="float[1,4] x")
    assert hit.tensor == "i" and hit.node == "NonZero 'i'"


def test_inference_that_fails_is_told_once(broken: Lint) -> None:
    body = "<float[3] c = {1,2,3}> { a = Add (x, c) y = Relu (a) }"
    (hit,) = broken("unknown-shapes", body, inputs="float[1,4] x")
    assert hit.found.startswith("shape inference:")


def test_a_foreign_operator_is_named_with_its_domain(broken: Lint) -> None:
    (hit,) = broken("custom-operators", "{ y = com.acme.Magic (x) }")
    assert hit.found == "operator com.acme::Magic"
    assert broken("custom-operators", "{ y = com.acme.QLinearMagic (x) }") == [], "a limit of their own tells those"


def test_an_output_that_nobody_reads(broken: Lint) -> None:
    (hit,) = broken("unconnected-outputs", "{ y = Relu (x) z = Sigmoid (x) }")
    assert (hit.tensor, hit.node) == ("z", "Sigmoid 'z'")
    assert broken("unconnected-outputs", "{ y, z = Split <axis=1, num_outputs=2> (x) }", outputs="float y, float z",
                  opset=18) == []  # fmt: skip


def test_an_input_that_is_an_output_is_read_but_not_computed(broken: Lint) -> None:
    more = {"inputs": "float[1,4] x, float[1,4] u", "outputs": "float y, float u"}
    assert broken("unconnected-inputs", RELU, **more) == []
    assert [hit.tensor for hit in broken("trivial-outputs", RELU, **more)] == ["u"]


def test_initializers_among_the_inputs() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) <float c = {1}> { y = Add (x, c) }'
    )
    assert "initializers-as-inputs" not in {f.rule for f in lint(model)}
    model.graph.inputs.append(model.graph.initializers["c"])
    (hit,) = [f for f in lint(model) if f.rule == "initializers-as-inputs"]
    assert (hit.found, hit.tensor) == ("1 listed", "c")
