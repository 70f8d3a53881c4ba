"""What an ONNX file says against what is read: types, constants in every form, open sizes, ends of the graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph
from n6convert.npu.ir import FOUR_BIT, ITEM_BYTES
from n6convert.npu.onnx_reader import DTYPES, VALUE_LIMIT, input_tensor, read_proto


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str]],
    outputs: list[str],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_every_type_whose_bytes_are_known_is_read() -> None:
    codes = {code for name, code in TensorProto.DataType.items() if code}
    names = {code: helper.tensor_dtype_to_np_dtype(code).name for code in codes if code != TensorProto.STRING}
    assert {code for code, name in names.items() if name in ITEM_BYTES or name in FOUR_BIT} <= set(DTYPES)


def test_attributes_of_every_kind() -> None:
    table = numpy_helper.from_array(np.ones(3, np.float32))
    attributes = {"alpha": 0.5, "axis": -1, "mode": "edge", "scales": [0.5, 2.0], "pads": [1, 2], "table": table}
    node = helper.make_node("Relu", ["x"], ["y"], **attributes)
    (read,) = read_proto(_model([node], {"x": [1, 4]}, ["y"], {})).nodes
    assert read.attributes == {name: value for name, value in attributes.items() if name != "table"}


@pytest.mark.parametrize("code", sorted(DTYPES))
def test_types_are_those_of_onnx(code: int) -> None:
    if code == TensorProto.STRING:
        assert DTYPES[code] == "string"
        return
    assert DTYPES[code] == helper.tensor_dtype_to_np_dtype(code).name


@pytest.mark.parametrize(
    ("sizes", "shape"), [([-1, 3, 8], (1, 3, 8)), ([0, 3], (1, 3)), ([4, 3], (4, 3)), ([], ()), ([-1], (1,))]
)
def test_an_open_batch_is_one(sizes: list[int], shape: tuple[int, ...]) -> None:
    assert input_tensor("x", sizes, 1, sizes).shape == shape


@pytest.mark.parametrize(("sizes", "code"), [([1, -1], 1), ([-1, -1], 1), ([1, 0], 1), ([1, 2], 0)])
def test_other_open_sizes_are_refused(sizes: list[int], code: int) -> None:
    with pytest.raises(GraphError, match="no static shape") as caught:
        input_tensor("x", sizes, code, ["batch", "width"])
    error = caught.value
    assert (error.place, error.found) == ("x", ["batch", "width"]) and "fix-parametric-shapes" in str(error.remedy)


def _constant(**attributes: object) -> Graph:
    nodes = [helper.make_node("Constant", [], ["c"], **attributes), helper.make_node("Mul", ["x", "c"], ["y"])]
    return read_proto(_model(nodes, {"x": [1, 3]}, ["y"], {}))


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"value_float": 2.5}, 2.5), ({"value_floats": [1.0, 2.0, 3.0]}, [1, 2, 3]), ({"value_int": 7}, 7),
        ({"value_ints": [4, 5, 6]}, [4, 5, 6]),
        ({"value": numpy_helper.from_array(np.array([[1, 2, 3]], np.float32))}, [[1, 2, 3]]),
    ],
)  # fmt: skip
def test_constants_in_every_form(attributes: dict[str, object], value: object) -> None:
    graph = _constant(**attributes)
    assert [node.op for node in graph.nodes] == ["Mul"]
    assert graph.tensors["c"].constant and graph.tensors["c"].shape == np.shape(value)
    assert np.array_equal(graph.values["c"], value)


@pytest.mark.parametrize(("size", "kept"), [(VALUE_LIMIT, True), (VALUE_LIMIT + 1, False)])
def test_values_of_small_constants_are_kept(size: int, kept: bool) -> None:
    model = _model(
        [helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1, size]}, ["y"], {"w": np.ones(size, np.float32)}
    )
    graph = read_proto(model)
    assert ("w" in graph.values) is kept and graph.tensors["w"].shape == (size,)


def test_strings_are_no_values() -> None:
    model = _model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 2]}, ["y"], {})
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"a"]))
    graph = read_proto(model)
    assert graph.tensors["words"].dtype == "string" and "words" not in graph.values


def test_sparse_weights_have_their_dense_shape() -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], {})
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("w_at", TensorProto.INT64, [2], [0, 5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3]))
    graph = read_proto(model)
    assert graph.tensors["w"].shape == (4, 3) and graph.tensors["y"].shape == (1, 3)
    assert graph.tensors["w"].constant


def test_a_damaged_constant_is_named() -> None:
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1, 4]}, ["y"], {})
    model.graph.initializer.append(TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, raw_data=b"\0" * 7))
    with pytest.raises(GraphError, match="a constant is damaged") as caught:
        read_proto(model)
    assert caught.value.place == "w"


def test_shapes_that_the_file_states_win_over_none() -> None:
    """An operator of another domain has no shape that could be inferred; what the file says is taken."""
    node = helper.make_node("Magic", ["x"], ["m"], domain="com.acme")
    model = _model([node, helper.make_node("Relu", ["m"], ["y"])], {"x": [1, 4]}, ["y"], {})
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    with pytest.raises(GraphError, match="shape"):
        read_proto(model)
    model.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [1, 9]))
    assert read_proto(model).tensors["y"].shape == (1, 9)


def test_nodes_without_names_get_one_each() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["b"], name="second"),
             helper.make_node("Relu", ["b"], ["y"])]  # fmt: skip
    graph = read_proto(_model(nodes, {"x": [1, 4]}, ["y"], {}))
    assert [node.name for node in graph.nodes] == ["Relu_0", "second", "Relu_2"]
    assert [node.sources for node in graph.nodes] == [("Relu_0",), ("second",), ("Relu_2",)]


def test_the_order_of_the_file_does_not_matter() -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["a"], name="a"), helper.make_node("Exp", ["a"], ["b"], name="b"),
             helper.make_node("Add", ["a", "b"], ["y"], name="c")]  # fmt: skip
    graphs = [read_proto(_model(list(order), {"x": [1, 4]}, ["y"], {})) for order in (nodes, nodes[::-1])]
    assert [node.name for node in graphs[0].nodes] == [node.name for node in graphs[1].nodes] == ["a", "b", "c"]
    assert graphs[0].tensors == graphs[1].tensors


@pytest.mark.parametrize("outputs", [[], ["y"]])
def test_a_model_needs_operators_and_outputs(outputs: list[str]) -> None:
    nodes = [] if outputs else [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(GraphError, match="no operators or no outputs"):
        read_proto(_model(nodes, {"x": [1, 4]}, outputs, {}))


@pytest.mark.parametrize(
    ("perm", "readers", "edge"), [([0, 3, 1, 2], 1, True), ([0, 2, 3, 1], 1, False), ([0, 3, 1, 2], 2, False)]
)
def test_a_channel_last_input_is_marked(perm: list[int], readers: int, edge: bool) -> None:
    """Only where nothing else reads the input as it is."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=perm), helper.make_node("Relu", ["t"], ["y"])]
    more = [helper.make_node("Relu", ["x"], ["z"])] if readers == 2 else []
    graph = read_proto(_model(nodes + more, {"x": [1, 8, 8, 3]}, ["y", "z"][:readers], {}))
    turned = next(node for node in graph.nodes if node.op == "Transpose")
    assert bool(turned.attributes.get("graph_edge")) is edge
