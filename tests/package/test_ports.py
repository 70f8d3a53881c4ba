"""Ports: the board's int8 view of graph inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from n6convert.errors import GraphError
from n6convert.escaping import c_identifier
from n6convert.package.ports import Port, read_ports


def qdq_model(quantized_output=True):
    grid = [helper.make_tensor(n, t, [], v) for n, t, v in (
        ("s_in", TensorProto.FLOAT, [0.5]), ("z_in", TensorProto.INT8, [-128]),
        ("s_out", TensorProto.FLOAT, [0.25]), ("z_out", TensorProto.INT8, [3]),
    )]  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s_in", "z_in"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s_in", "z_in"], ["xd"]),
        helper.make_node("Relu", ["xd"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s_out", "z_out"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "s_out", "z_out"], ["y"]),
    ]
    shape = [1, 3, 4, 5]
    result = "y" if quantized_output else "r"
    graph = helper.make_graph(
        nodes if quantized_output else nodes[:3], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)], grid,
    )  # fmt: skip
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def test_grids_are_those_of_the_boundary_pairs():
    (x,), (y,) = read_ports(qdq_model())
    assert (x.scale, x.zero_point, y.scale, y.zero_point) == (0.5, -128, 0.25, 3)
    assert x.board_shape == (1, 4, 5, 3)
    assert x.size == 60


def test_a_float_output_is_refused_by_name():
    with pytest.raises(GraphError, match="not quantized") as failure:
        read_ports(qdq_model(quantized_output=False))
    assert failure.value.place == "r"


def test_board_layout_and_back():
    port = Port("x", (1, 3, 4, 5), 0.1, -5, channel_last=True)
    real = np.random.default_rng(0).uniform(-12, 12, port.graph_shape).astype(np.float32)
    board = port.to_board(real)
    assert board.shape == (1, 4, 5, 3)
    np.testing.assert_allclose(port.from_board(board), real, atol=0.05 + 1e-6)
    assert board[0, 1, 2, 0] == np.rint(real[0, 0, 1, 2] / np.float32(0.1)) - 5


def test_values_beyond_the_grid_saturate():
    port = Port("x", (3,), 1.0, 0, channel_last=False)
    assert port.to_board(np.array([-1e9, 0.0, 1e9])).tolist() == [-128, 0, 127]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_buffers_of_every_type_hold_the_same_values(dtype):
    plain = Port("x", (1, 3, 4, 5), 0.1, -5, channel_last=True)
    port = plain.compiled_as(dtype)
    real = plain.from_board(plain.to_board(np.random.default_rng(0).uniform(-12, 12, plain.graph_shape)))
    board = port.to_board(real)
    assert (board.dtype, board.nbytes, port.step) == (np.dtype(dtype), port.size, plain.step)
    np.testing.assert_allclose(port.from_board(board), real, atol=1e-6)
    codes = {"int8": board, "uint8": board.astype(np.int16) - 128, "float32": np.rint(board / np.float32(0.1)) - 5}
    np.testing.assert_array_equal(codes[dtype], plain.to_board(real))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("boxes_8", "boxes_8"), ("a/b:0", "a_b_0"), ("8x", "t_8x"), ("::", "t_"), ("größe", "gr_e"), ("int", "t_int")],
)
def test_c_identifiers(name, expected):
    assert c_identifier(name) == expected
