"""Operators that only move values do so with codes, where nothing but their place changes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert.runtime.int8.kernels import with_integer_kernels
from n6convert.runtime.session import Session

STEP, ZERO = 0.05, -3
MOVES = {
    "Transpose": ("Transpose", {"perm": [0, 2, 1]}, 1, 1),
    "Reshape": ("Reshape", {}, 1, 1),
    "Concat": ("Concat", {"axis": 1}, 2, 1),
    "Split": ("Split", {"axis": 1}, 1, 2),
}


def net(name: str, last_scale: float) -> ir.Model:
    """Pairs, a move, pairs behind it; what follows makes all outputs float."""
    op, attributes, inputs, outputs = MOVES[name]
    constants = {
        "s": np.float32(0.05),
        "e": np.float32(last_scale),
        "z": np.int8(-3),
        "to": np.array([1, 24], np.int64),
    }
    nodes, names = [], []
    for i in range(inputs):
        nodes += [
            helper.make_node("QuantizeLinear", [f"x{i}", "s", "z"], [f"q{i}"]),
            helper.make_node("DequantizeLinear", [f"q{i}", "s", "z"], [f"d{i}"]),
        ]
        names.append(f"d{i}")
    moved = [f"m{i}" for i in range(outputs)]
    nodes.append(helper.make_node(op, names + (["to"] if op == "Reshape" else []), moved, **attributes))
    for i, value in enumerate(moved):
        nodes += [
            helper.make_node("QuantizeLinear", [value, "e", "z"], [f"p{i}"]),
            helper.make_node("DequantizeLinear", [f"p{i}", "e", "z"], [f"y{i}"]),
        ]
    graph = helper.make_graph(
        nodes, "moves", [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1, 4, 6]) for i in range(inputs)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(outputs)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(made))


@pytest.mark.parametrize("name", MOVES)
def test_codes_are_moved_on_one_grid(name: str) -> None:
    model = net(name, STEP)
    inner = with_integer_kernels(model)
    assert sum(n.op_type == "QuantizeLinear" for n in inner.graph) == MOVES[name][2]
    move = next(n for n in inner.graph if n.op_type == MOVES[name][0])
    assert {v.dtype for v in move.outputs} == {ir.DataType.UINT8}
    arrays = [x.astype(np.float32) for x in 3 * np.random.default_rng(1).standard_normal((2, 1, 4, 6))]
    found = Session(model).run({v.name: x for v, x in zip(model.graph.inputs, arrays, strict=False)})
    rounded = [(np.clip(np.rint(x / np.float32(STEP)) + ZERO, -128, 127) - ZERO) * np.float32(STEP) for x in arrays]
    wanted = {
        "Transpose": [rounded[0].transpose(0, 2, 1)],
        "Reshape": [rounded[0].reshape(1, 24)],
        "Concat": [np.concatenate(rounded, 1)],
        "Split": np.split(rounded[0], 2, 1),
    }
    for value, exact in zip(found.values(), wanted[name], strict=True):
        np.testing.assert_array_equal(value, exact.astype(np.float32))


@pytest.mark.parametrize("name", MOVES)
def test_values_are_moved_from_grid_to_grid(name: str) -> None:
    inner = with_integer_kernels(net(name, 0.06))
    assert sum(n.op_type == "QuantizeLinear" for n in inner.graph) == MOVES[name][2] + MOVES[name][3]
