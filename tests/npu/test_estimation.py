"""estimate(), its advice, explain, the operator table and the two commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from nets.qdq import QdqBuilder, attention_encoder
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from n6convert.cli import app as command_line
from n6convert.cli.tables import print_estimate, print_explanation
from n6convert.errors import N6ConvertError, RecipeError, UsageError
from n6convert.npu import estimate, explain, operator_table
from n6convert.npu.ir import Where
from n6convert.npu.rules import known_operators
from n6convert.npu.rules.limits import VERSIONS

_RUNNER = CliRunner()


def _app() -> Typer:
    return command_line


@pytest.fixture(scope="module")
def encoder() -> onnx.ModelProto:
    return attention_encoder(1, 16, 32, 4, 64)


@pytest.fixture
def model_file(tmp_path: Path, encoder: onnx.ModelProto) -> Path:
    path = tmp_path / "encoder.onnx"
    onnx.save(encoder, str(path))
    return path


def test_facts_are_plain_and_agree_with_each_other(encoder: onnx.ModelProto) -> None:
    facts = json.loads(json.dumps(estimate(encoder, "stm32n6570-dk@2.2").facts()))
    placement, time = facts["placement"], facts["latency"]
    counts = placement["epochs"]
    assert counts["total"] == counts["hw"] + counts["hybrid"] + counts["sw"]
    assert placement["offload"] == pytest.approx(counts["hw"] / counts["total"], abs=1e-6)
    assert sum(placement["sw_ops"].values()) == counts["sw"]
    assert 0 < time["low"] < time["milliseconds"] < time["high"]
    assert facts["quantization_style"] == "qdq" and facts["target"] == "stm32n6570-dk@2.2"
    booked = sum(operator["microseconds"] or 0 for operator in placement["operators"]) / 1000
    assert booked == pytest.approx(time["milliseconds"], rel=0.02)
    assert {op["where"] for op in placement["operators"]} <= {where.value for where in Where}


def test_advice_is_ranked_and_names_rewrites(encoder: onnx.ModelProto) -> None:
    found = estimate(encoder, "stm32n6570-dk@2.2")
    costs = [line.microseconds for line in found.advice]
    assert costs == sorted(costs, reverse=True)
    by_op = {line.op: line for line in found.advice}
    assert by_op["Softmax"].rewrite == "softmax-decompose"
    assert by_op["Conv"].rewrite == "matmul-to-mul-mean"
    assert "x * (-1) + const" in (by_op["Sub"].remedy or "")
    assert all(0 <= line.gain_microseconds <= line.microseconds for line in found.advice)
    assert "QuantizeLinear" not in by_op, "conversions are booked on the operator that causes them"


def test_advice_covers_every_epoch_off_the_npu(encoder: onnx.ModelProto) -> None:
    found = estimate(encoder, "stm32n6570-dk@4.0")
    assert not {line.op for line in found.advice} - {*found.placement.sw_ops, *found.placement.hybrid_ops}


def test_an_expanded_operator_is_one_line_of_advice() -> None:
    b = QdqBuilder("norm")
    x = b.op("Sigmoid", b.input(1, 30, 128))
    b.output(b.op("LayerNormalization", x, b.weight(128), b.weight(128)))
    (line,) = estimate(b.model(), "stm32n6570-dk@4.0").advice
    assert line.op == "LayerNormalization" and line.epochs == 10
    assert line.rewrite == "layernorm-decompose"


@pytest.mark.parametrize(("zero", "slow"), [(-128, False), (0, False), (3, True)])
def test_zero_points_of_convolution_inputs(zero: int, slow: bool) -> None:
    b = QdqBuilder("zero")
    x = b.conv(b.input(1, 64, 32, 32, zero=0), 64, 64, 3, zero=zero)
    b.output(b.conv(x, 64, 64, 3))
    points = estimate(b.model(), "stm32n6570-dk@4.0").zero_points
    assert (points is not None) is slow
    if points is not None:
        assert points.convolutions == 1 and points.gain_cycles > 0


def test_float_models_are_called_float() -> None:
    found = estimate(attention_encoder(1, 8, 16, 2, 32, quantized=False))
    assert found.style == "float" and found.placement.epochs.hw == 0
    assert any("not quantized" in warning for warning in found.warnings)


def test_unsigned_activations_and_dynamic_quantization_are_named() -> None:
    unsigned = _one_relu(np.uint8)
    assert any("uint8" in warning for warning in estimate(unsigned).warnings)
    assert not any("uint8" in warning for warning in estimate(_one_relu(np.int8)).warnings)


def test_what_lowering_shifts_is_no_fault_of_the_file() -> None:
    """A convolution reads a tensor with zero point -128 as uint8; the file stays int8."""
    build = QdqBuilder("net")
    build.output(build.conv(build.input(1, 3, 16, 16, zero=-128), 3, 8, 3))
    assert estimate(build.model()).warnings == []
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    found = estimate(_graph(nodes, []))
    assert any("dynamic quantization" in warning for warning in found.warnings)


def _one_relu(kind: type) -> onnx.ModelProto:
    pair = [numpy_helper.from_array(np.array(0.1, np.float32), "s"), numpy_helper.from_array(np.array(0, kind), "z")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
        helper.make_node("Sigmoid", ["xf"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"]),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["y"]),
    ]
    return _graph(nodes, pair)


def _graph(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_unknown_target_names_the_known_ones(encoder: onnx.ModelProto) -> None:
    with pytest.raises(RecipeError, match="unknown target"):
        estimate(encoder, "stm32h7@2.0")


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(N6ConvertError, match="not a model"):
        estimate(42)  # type: ignore[arg-type]


# explain --------------------------------------------------------------------------------------------------------


def test_explain_lists_the_rules_of_the_version() -> None:
    old, new = explain("softmax", (2, 1)), explain("Concat", (4, 0))
    assert old.op == "Softmax" and old.rules[-1].where is Where.SW
    assert any(rule.where is Where.HYBRID for rule in new.rules)
    assert not any(rule.where is Where.HYBRID for rule in explain("Concat", (2, 1)).rules)


def test_explain_suggests_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        explain("Sofmax", (2, 1))
    assert "Softmax" in str(caught.value)


def test_the_table_has_a_line_for_every_operator_and_no_open_braces() -> None:
    table = operator_table()
    assert all(f"| {op} |" in table for op in known_operators())
    assert "{" not in table
    assert all(line.count(" | ") >= 5 for line in table.splitlines()[2:])


def test_every_rule_has_a_sentence_and_evidence() -> None:
    for op in known_operators():
        for rule in explain(op, (4, 0)).rules + explain(op, (2, 0)).rules:
            assert rule.sentence.endswith(".") and rule.evidence
            if rule.where in (Where.SW, Where.HYBRID):
                assert rule.remedy, rule.name


def test_rewrites_that_rules_name_exist() -> None:
    from n6convert.rewrites import all_rules

    known = {rule.name for rule in all_rules()}
    named = {rule.rewrite for op in known_operators() for v in VERSIONS for rule in explain(op, v).rules}
    assert named - {None} <= known


# commands -------------------------------------------------------------------------------------------------------


def test_estimate_command_as_json(model_file: Path) -> None:
    result = _RUNNER.invoke(_app(), ["estimate", str(model_file), "--target", "stm32n6570-dk@2.1", "--json"])
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert {"placement", "memory", "cycles", "latency", "advice"} <= set(facts)
    assert facts["model"] == "encoder"


def test_estimate_command_for_people(model_file: Path) -> None:
    result = _RUNNER.invoke(_app(), ["estimate", str(model_file)])
    assert result.exit_code == 0
    for words in ("assuming", "ms", "offload", "█", "memory", "what would it take", "Softmax"):
        assert words in result.stdout


def test_estimate_says_what_expanding_softmax_rests_on(model_file: Path) -> None:
    target = "stm32n6570-dk@4.0+expand-softmax"
    facts = json.loads(_RUNNER.invoke(_app(), ["estimate", str(model_file), "--target", target, "--json"]).stdout)
    assert facts["target"] == target and "Softmax" not in facts["placement"]["sw_ops"]
    assert any("INFERRED" in line for line in facts["latency"]["assumptions"])
    assert any("not published" in line for line in facts["warnings"])


def test_estimate_command_draws_a_page(model_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "estimate.html"
    result = _RUNNER.invoke(_app(), ["estimate", str(model_file), "--html", str(page)])
    assert result.exit_code == 0
    text = page.read_text()
    assert "<svg" in text and "Softmax" in text


def test_explain_command() -> None:
    result = _RUNNER.invoke(_app(), ["explain", "Softmax", "--target", "stm32n6570-dk@2.1"])
    assert result.exit_code == 0 and "softmax-decompose" in result.stdout
    rules = json.loads(_RUNNER.invoke(_app(), ["explain", "Softmax", "--json"]).stdout)
    assert rules["op"] == "Softmax" and rules["rules"]
    assert _RUNNER.invoke(_app(), ["explain", "--table"]).stdout == operator_table()


def test_printing_fits_a_narrow_terminal(encoder: onnx.ModelProto) -> None:
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_estimate(estimate(encoder), console)
    print_explanation(explain("Concat", (4, 0)), console)
    assert all(len(line) <= 60 for line in console.export_text().splitlines())


def _padded_by_shape_arithmetic(size: str | int) -> onnx.ModelProto:
    """torch.nn.ConstantPad1d as PyTorch exports it without folding, on an input whose size may be a name."""

    def constant(name: str, value: list[int]) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, np.int64), name)

    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("ConstantOfShape", ["four"], ["zeros"], value=zero),
        helper.make_node("Concat", ["amounts", "zeros"], ["all"], axis=0),
        helper.make_node("Reshape", ["all", "pairs"], ["matrix"]),
        helper.make_node("Slice", ["matrix", "last", "first", "axis", "back"], ["turned"]),
        helper.make_node("Transpose", ["turned"], ["columns"], perm=[1, 0]),
        helper.make_node("Reshape", ["columns", "flat"], ["vector"]),
        helper.make_node("Cast", ["vector"], ["pads"], to=TensorProto.INT64),
        helper.make_node("Pad", ["x", "pads"], ["padded"], mode="constant"),
        helper.make_node("Conv", ["padded", "w"], ["y"], kernel_shape=[3]),
        helper.make_node("Shape", ["y"], ["channels"], start=1, end=2),
        helper.make_node("Concat", ["one", "channels", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["y", "target"], ["z"]),
    ]
    values = {
        "four": [4], "amounts": [2, 1], "pairs": [-1, 2], "last": [-1], "first": [-9223372036854775807],
        "axis": [0], "back": [-1], "flat": [-1], "one": [1], "rest": [-1],
    }  # fmt: skip
    weights = numpy_helper.from_array(np.zeros((8, 4, 3), np.float32), "w")
    graph = helper.make_graph(
        nodes, "pad", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, 4, 16])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [*(constant(name, value) for name, value in values.items()), weights],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("size", [1, "1", "batch"])
def test_shapes_are_computed_as_conversion_does(size: str | int) -> None:
    found = estimate(_padded_by_shape_arithmetic(size), "stm32n6570-dk@4.0", assume_quantized=True)
    convs = [op.conv for op in found.lowered.ops if op.conv is not None]
    assert [conv.in_hw for conv in convs] == [(1, 16)] and convs[0].pads == (0, 2, 0, 1)
    assert found.lowered.tensors["z"].shape == (1, 8, 17)
