"""Questions about nodes and values: shapes, constants, attributes, who writes and who reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_text import node_of, parsed, value_of

from n6convert.graph import query


def net(body: str = "y = Relu(x)", inputs: str = "float[1,2,3] x", **constants: Any) -> ir.Model:
    return parsed(body, inputs, "float[] y", **constants)


@pytest.mark.parametrize(("inputs", "shape"), [
    ("float[1,2] x", (1, 2)), ("float[n,2] x", None), ("float[2,0] x", (2, 0)), ("float x", ()), ("float[] x", None),
])  # fmt: skip
def test_shapes_are_static_or_unknown(inputs: str, shape: tuple[int, ...] | None) -> None:
    assert query.shape_of(net(inputs=inputs).graph.inputs[0]) == shape
    assert query.shape_of(None) is None


@pytest.mark.parametrize(("kind", "is_float", "may_be"), [
    ("float", True, True), ("float16", False, False), ("int8", False, False), ("double", False, False),
])  # fmt: skip
def test_float_means_single_precision(kind: str, is_float: bool, may_be: bool) -> None:
    value = net(inputs=f"{kind}[2] x").graph.inputs[0]
    assert (query.is_float(value), query.may_be_float(value)) == (is_float, may_be)
    assert query.may_be_float(ir.Value(name="open")) and not query.is_float(ir.Value(name="open"))
    assert not query.is_float(None) and not query.may_be_float(None)


def test_constants_are_initializers_or_nodes_but_no_inputs_with_a_default() -> None:
    model = net("k = Constant<value_float=3.0>() t = Mul(x, k) y = Add(t, w)", w=[1.0, 2.0, 3.0])
    assert query.scalar_of(value_of(model, "k")) == 3.0 and query.scalar_of(value_of(model, "w")) is None
    assert query.constant_of(value_of(model, "w")).tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert query.is_constant(value_of(model, "w")) and not query.is_constant(value_of(model, "k"))
    assert query.constant_of(value_of(model, "t")) is None and query.constant_of(None) is None
    model.graph.inputs.append(value_of(model, "w"))
    assert query.constant_of(value_of(model, "w")) is None, "whoever runs it may give another"


@given(st.lists(st.floats(width=32), min_size=1, max_size=4))
def test_an_inverse_is_finite_or_none(values: list[float]) -> None:
    array = np.array(values, np.float32)
    found = query.inverse_of(array)
    with np.errstate(all="ignore"):
        possible = bool(np.isfinite(np.float32(1) / array).all())
    assert (found is not None) == possible
    if found is not None:
        assert found.dtype == np.float32 and np.isfinite(found).all()


def test_makers_of_another_domain_are_not_known() -> None:
    model = net("t = Relu(x) y = Neg(t)")
    value = value_of(model, "t")
    maker = query.producer(value)
    assert (
        maker is not None and query.producer(value, "Relu", "Clip") is maker and query.producer(value, "Clip") is None
    )
    maker.domain = "ai.onnx"
    assert query.producer(value) is maker
    maker.domain = "com.microsoft"
    assert query.producer(value) is None and query.producer(None) is None
    assert query.producer(model.graph.inputs[0]) is None


def test_places_are_named_by_what_they_write() -> None:
    model = net("y = Relu(x)")
    node = next(iter(model.graph))
    assert query.place_of(node) == "tensor y"
    node.name = "act"
    assert query.place_of(node) == "node act, tensor y"


def test_readers_once_each_and_edges_counted() -> None:
    model = net("t = Relu(x) u = Mul(t, t) y = Neg(u)")
    t, u, y = (value_of(model, n) for n in "tuy")
    assert [n.op_type for n in query.users(t)] == ["Mul"] and not query.single_use(t), "read twice by one node"
    assert query.single_use(u) and not query.single_use(y)
    model.graph.outputs.append(u)
    assert not query.single_use(u), "and a reader outside"


def test_attributes_as_plain_values() -> None:
    model = parsed('y = Conv<auto_pad="SAME_UPPER", strides=[2,1], group=1>(x, w)', "float[1,1,4,4] x", "float[] y",
                   w=np.ones((1, 1, 2, 2)))  # fmt: skip
    node = node_of(model, "Conv")
    assert [query.attribute(node, n) for n in ("auto_pad", "strides", "group", "pads")] == [
        "SAME_UPPER",
        [2, 1],
        1,
        None,
    ]
    assert query.attribute(node, "pads", [0] * 4) == [0] * 4


@pytest.mark.parametrize(("body", "opset", "wanted"), [
    ("y = ReduceMean<axes=[-1, 1]>(x)", 17, [1, 3]),
    ("y = ReduceMean(x)", 17, None),
    ("y = ReduceMean(x, a)", 18, [0, 2]),
    ("n = Identity(a) y = ReduceMean(x, n)", 18, None),
    ("y = ReduceMean(x)", 18, None),
])  # fmt: skip
def test_axes_of_reductions(body: str, opset: int, wanted: list[int] | None) -> None:
    model = parsed(body, "float[1,2,3,4] x", "float[] y", opset, a=np.array([-2, 0], np.int64))
    assert query.reduced_axes(node_of(model, "ReduceMean"), 4) == wanted


@pytest.mark.parametrize(("body", "constant", "wanted"), [
    ("y = Add(x, w)", True, ("x", "w")),
    ("y = Add(w, x)", True, ("x", "w")),
    ("y = Add(x, w)", False, None),
    ("y = Add(x, x)", False, ("x", "x")),
    ("y = Add(x, x)", True, None),
    ("y = Add(w, w)", True, None),
    ("y = Relu(x)", False, None),
    ("y = Clip(x, , w)", True, None),
])  # fmt: skip
def test_operands(body: str, constant: bool, wanted: tuple[str, str] | None) -> None:
    found = query.operand(next(iter(net(body, w=1.0).graph)), constant=constant)
    assert (found and (found[0].name, found[1].name)) == wanted


@given(st.integers(1, 5000))
def test_a_grid_holds_all_rows_and_is_narrow(rows: int) -> None:
    height, width = query.grid(rows)
    assert height * width == rows and 1 <= width <= 16
    assert not any(rows % d == 0 for d in range(width + 1, 17)), "as wide as it may be"


def test_broadcasts_of_shapes_that_do_not_fit_are_errors() -> None:
    assert query.broadcast_shape([3, 1], [1, 4], [5, 1, 1]) == (5, 3, 4) and query.broadcast_shape([]) == ()
    assert query.elements([]) == 1 and query.elements([3, 0, 2]) == 0
    with pytest.raises(ValueError, match="broadcast"):
        query.broadcast_shape([3], [4])
