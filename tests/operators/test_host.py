"""Operators that only the host can do are refused by name, with the outputs that end the network in front of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import n6convert
from n6convert.errors import GraphError
from n6convert.graph.ends import names_in_front
from n6convert.graph.opset import lower_opset
from n6convert.operators import table
from n6convert.operators.host import refuse_host_operators, remedy_for
from n6convert.operators.table import Row, Runs, row_of
from n6convert.operators.versions import spelled, versions
from n6convert.runtime.session import run_model
from tests.operators.hosted import HOSTED, WITHIN

CONV = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")
LOGITS = [CONV, helper.make_node("GlobalAveragePool", ["c"], ["p"]), helper.make_node("Flatten", ["p"], ["logits"])]
CONSTANTS = {
    "w": np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32),
    "three": np.array([3], np.int64),
    "ones": np.ones(8, np.float32),
    "zeros": np.zeros(8, np.float32),
}


def model(nodes: list[onnx.NodeProto], outputs: dict[str, int], opset: int = 17) -> ir.Model:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    values = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    read = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(a, n) for n, a in CONSTANTS.items() if n in read]
    graph = helper.make_graph(nodes, "tail", [x], values, constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def tail(op: str, *outputs: str, kind: int = TensorProto.INT64, **attributes: Any) -> tuple[ir.Model, ...]:
    inputs = ["logits", "three"] if op == "TopK" else ["logits"]
    last = helper.make_node(op, inputs, list(outputs), name="last", **attributes)
    return (model([*LOGITS, last], dict.fromkeys(outputs, kind)),)


TAILS = {
    "ArgMax": tail("ArgMax", "y", axis=1),
    "TopK": tail("TopK", "v", "i"),
    "Multinomial": tail("Multinomial", "y", kind=TensorProto.INT32, sample_size=1),
    "Bernoulli": tail("Bernoulli", "y", kind=TensorProto.FLOAT),
}


@pytest.mark.parametrize(("op", "given"), [(op, given) for op, given in TAILS.items() if op in HOSTED])
def test_a_tail_is_refused_with_the_output_in_front_of_it(op: str, given: tuple[ir.Model]) -> None:
    with pytest.raises(GraphError) as caught:
        refuse_host_operators(given[0])
    assert caught.value.found == op and "node last" in str(caught.value.place)
    assert "`--set options.outputs=[logits]`" in str(caught.value.remedy)
    given[0].graph.node("last").name = ""
    with pytest.raises(GraphError) as caught:
        refuse_host_operators(given[0])
    assert str(caught.value.place).startswith("tensor ")


def test_other_outputs_are_kept() -> None:
    ends = [helper.make_node("Exp", ["logits"], ["y"]), helper.make_node("Softmax", ["logits"], ["s"])]
    m = model([*LOGITS, *ends], {"y": TensorProto.FLOAT, "s": TensorProto.FLOAT})
    picked = [n for n in m.graph if n.op_type == "Exp"]
    assert names_in_front(m.graph, picked) == ["s", "logits"]


def test_a_network_that_goes_on_behind_it_is_two_networks() -> None:
    nodes = [CONV, helper.make_node(WITHIN, ["c"], ["g"]), helper.make_node("MatMul", ["g", "g"], ["y"])]
    with pytest.raises(GraphError, match="no form") as caught:
        refuse_host_operators(model(nodes, {"y": TensorProto.FLOAT}))
    assert "convert two networks" in str(caught.value.remedy) and "outputs=[c]" in str(caught.value.remedy)


def test_an_operator_on_the_input_itself_leaves_no_network_in_front_of_it() -> None:
    nodes = [helper.make_node(WITHIN, ["x"], ["g"]), helper.make_node("Conv", ["g", "w"], ["y"])]
    with pytest.raises(GraphError) as caught:
        refuse_host_operators(model(nodes, {"y": TensorProto.FLOAT}))
    assert "options.outputs" not in str(caught.value.remedy)


@pytest.mark.parametrize("opset", [16, 20, 22])
def test_a_conversion_names_the_operator_and_not_the_opset(opset: int, tmp_path: Path) -> None:
    ir.save(model([CONV, helper.make_node(WITHIN, ["c"], ["y"])], {"y": TensorProto.FLOAT}, opset), tmp_path / "m.onnx")
    with pytest.raises(GraphError) as caught:
        n6convert.convert(tmp_path / "m.onnx", output=tmp_path / "out", cache=False)
    assert caught.value.found == WITHIN and "outputs=[c]" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "attributes"),
    [
        ("Swish", 24, ["c"], {}),
        ("RMSNormalization", 23, ["logits", "ones"], {"axis": -1}),
        ("GroupNormalization", 21, ["c", "ones", "zeros"], {"num_groups": 2}),
    ],
)
def test_newer_operators_are_written_out(op: str, opset: int, inputs: list[str], attributes: dict[str, Any]) -> None:
    node = helper.make_node(op, inputs, ["y"], **attributes)
    lowered = lower_opset(model([*LOGITS, node], {"y": TensorProto.FLOAT}, opset), "m.onnx")
    assert lowered.opset_imports[""] == 20 and op not in {n.op_type for n in lowered.graph}
    feed = {"x": np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    before = run_model(model(LOGITS[: 1 if inputs[0] == "c" else 3], {inputs[0]: TensorProto.FLOAT}), feed)[inputs[0]]
    np.testing.assert_allclose(run_model(lowered, feed)["y"], expected(op, before), rtol=1e-4, atol=1e-4)


def expected(op: str, x: np.ndarray) -> np.ndarray:
    if op == "Swish":
        return x / (1 + np.exp(-x))
    if op == "RMSNormalization":
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    groups = x.reshape(1, 2, -1)
    centered = groups - groups.mean(axis=2, keepdims=True)
    return (centered / np.sqrt((centered**2).mean(axis=2, keepdims=True) + 1e-5)).reshape(x.shape)


def test_the_cut_names_no_constants_that_nodes_make() -> None:
    """Exporters leave constants and what is computed of them alone as nodes: no end of a network."""
    made = helper.make_node("Constant", [], ["k"], value_floats=[3.0])
    doubled = helper.make_node("Add", ["k", "k"], ["kk"])
    halved = helper.make_node("Sub", ["kk", "k"], ["halved"])
    last = helper.make_node("Add", ["logits", "halved"], ["y"], name="last")
    given = model([*LOGITS, made, doubled, halved, last], {"y": TensorProto.FLOAT})
    assert names_in_front(given.graph, [given.graph.node("last")]) == ["logits"]


def as_if(monkeypatch: pytest.MonkeyPatch, op: str, row: Row) -> None:
    """A table in which a row decides an operator before those that it has."""
    known = table._rows_of()
    monkeypatch.setattr(table, "_rows_of", lambda: {**known, op: (row, *known[op])})


def test_the_version_at_hand_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the newest version ran an operator that older ones leave to the host, and the other way around."""
    newest, oldest = versions()[-1], versions()[0]
    m = model([CONV, helper.make_node(WITHIN, ["c"], ["y"])], {"y": TensorProto.FLOAT})
    node, refused = m.graph[1], row_of(WITHIN, newest)
    assert refused is not None and remedy_for(node, newest) == remedy_for(node)
    as_if(monkeypatch, WITHIN, replace(refused, runs=Runs.NPU, host=False, remedies={}, since=newest))
    refuse_host_operators(m)
    refuse_host_operators(m, newest)
    assert remedy_for(node, newest) is None and remedy_for(node) is None
    with pytest.raises(GraphError, match="no form"):
        refuse_host_operators(m, oldest)
    assert "outputs=[c]" in str(remedy_for(node, oldest))


def test_a_conversion_asks_its_own_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, oldest = versions()[-1], versions()[0]
    refused = row_of(WITHIN, newest)
    assert refused is not None
    as_if(monkeypatch, WITHIN, replace(refused, runs=Runs.NPU, host=False, remedies={}, since=newest))
    ir.save(model([CONV, helper.make_node(WITHIN, ["c"], ["y"])], {"y": TensorProto.FLOAT}), tmp_path / "m.onnx")
    target = f"stm32n6570-dk@{spelled(oldest)}"
    with pytest.raises(GraphError, match="no form") as caught:
        n6convert.convert(
            tmp_path / "m.onnx", output=tmp_path / "out", target=target, options={"range": "0..1"}, cache=False
        )
    assert "outputs=[c]" in str(caught.value.remedy)
