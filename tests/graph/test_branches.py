"""If with a known condition: `estimate` sees the branch that is taken, as a conversion does."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import n6convert
from n6convert.graph.branches import inline_known_branches

SHAPE = [1, 6, 8, 8]


def branch(name: str, op: str) -> onnx.GraphProto:
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)
    return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [out])


def choosing(condition: bool | None, as_node: bool = False) -> onnx.ModelProto:
    """Relu, then Tanh or Sigmoid by the condition; None makes it an input."""
    value = numpy_helper.from_array(np.array(bool(condition)), "c")
    nodes = [helper.make_node("Constant", [], ["c"], value=value)] if as_node else []
    nodes += [
        helper.make_node("Relu", ["input"], ["x"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "Tanh"), else_branch=branch("e", "Sigmoid")),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, SHAPE)]
    if condition is None:
        inputs.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)]
    constants = [] if as_node or condition is None else [value]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize(("condition", "op"), [(True, "Tanh"), (False, "Sigmoid")])
def test_the_branch_that_is_taken_is_seen(condition: bool, op: str, as_node: bool) -> None:
    model = choosing(condition, as_node)
    for given in (model, ir.from_proto(model)):
        found = n6convert.estimate(given, assume_quantized=True).facts()["placement"]["operators"]
        assert {"Relu", op} <= {o["op"] for o in found} and "If" not in {o["op"] for o in found}
    assert model.graph.node[-1].op_type == "If", "the model itself stays"
    onnx.checker.check_model(inline_known_branches(model), full_check=True)


def test_an_open_choice_stays() -> None:
    assert [n.op_type for n in inline_known_branches(choosing(None)).graph.node] == ["Relu", "If"]
