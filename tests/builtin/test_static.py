"""A user's graph made ready: outputs as asked, shapes fixed or asked for, float32 throughout, sizes settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, node_of, parsed, text, value_of

from n6convert.builtin.static import cut, fix_shapes, settle_shapes, to_float32, zeros
from n6convert.errors import GraphError, RecipeError
from n6convert.runtime.session import run_model


def net(inputs: str = "float[1,4] x") -> ir.Model:
    return parsed("a = Relu(x) b = Neg(a) y = Abs(b)", inputs, "float[] y")


@pytest.mark.parametrize(("outputs", "left"), [(["a"], 1), (["b"], 2), (["b", "a"], 2), (["y"], 3)])
def test_a_cut_graph_ends_where_it_was_told(outputs: list[str], left: int) -> None:
    model = net()
    cut(model, outputs)
    assert [v.name for v in model.graph.outputs] == outputs and len(list(model.graph)) == left
    feeds = drawn({"x": (1, 4)})
    wanted = {"a": np.maximum(feeds["x"], 0), "b": -np.maximum(feeds["x"], 0), "y": np.maximum(feeds["x"], 0)}
    for name, value in run_model(model, feeds).items():
        np.testing.assert_array_equal(value, wanted[name])


def test_a_tensor_that_is_named_twice_is_one_output() -> None:
    model = net()
    cut(model, ["a", "b", "a"])
    assert [v.name for v in model.graph.outputs] == ["a", "b"]


def test_a_tensor_that_is_not_there_names_the_nearest() -> None:
    model = parsed("layer1 = Relu(x) layer2 = Neg(layer1) y = Abs(layer2)", "float[1,4] x", "float[] y")
    with pytest.raises(RecipeError, match=r"options\.outputs") as caught:
        cut(model, ["layer3"])
    assert caught.value.found == "layer3" and {"layer1", "layer2"} <= set(str(caught.value.limit).split(", "))
    assert [v.name for v in model.graph.outputs] == ["y"]


@pytest.mark.parametrize(("inputs", "told", "size", "wanted"), [
    ("float[1,3,8,9] x", None, None, [1, 3, 8, 9]),
    ("float[n,3,8,9] x", None, None, [1, 3, 8, 9]),
    ("float[n,3,h,w] x", None, (4, 6), [1, 3, 4, 6]),
    ("float[n,h,w,3] x", None, (4, 6), [1, 4, 6, 3]),
    ("float[1,3,8,9] x", None, (4, 6), [1, 3, 8, 9]),
    ("float[n,3,h,w] x", [1, 3, 5, 7], (4, 6), [1, 3, 5, 7]),
    ("float[] x", [1, 4], None, [1, 4]),
    ("float[2,4] x", [1, 4], None, [1, 4]),
    ("float[n] x", None, None, [1]),
    ("float x", None, None, []),
])  # fmt: skip
def test_shapes_that_are_known_or_told(inputs: str, told: list[int] | None, size: Any, wanted: list[int]) -> None:
    model = net(inputs)
    fix_shapes(model, {} if told is None else {"x": told}, size)
    assert [int(d) for d in model.graph.inputs[0].shape or ()] == wanted


@pytest.mark.parametrize(("inputs", "shapes", "size", "problem", "words"), [
    ("float[n,3,h,w] x", {}, None, "open sizes", ["axis 2 (h), axis 3 (w)", "x: [1, 3, 224, 224]"]),
    ("float[n,t] x", {}, (4, 4), "open sizes", ["axis 1 (t)", "x: [1, 128]"]),
    ("float[n,3,h,9] x", {}, (4, 4), "open sizes", ["axis 2 (h)", "x: [1, 3, 224, 9]"]),
    ("float[] x", {}, None, "open sizes", ["unknown rank"]),
    ("float[4,3,8,8] x", {}, None, "fixed batch", ["x: [1, 3, 8, 8]"]),
    ("float[1,3] x", {"y": [1, 3]}, None, "no input", ["found: y", "allowed: x"]),
    ("float[1,3] x", {"x": [1, 4]}, None, "contradicts", ["[1, 4]", "[1, 3]"]),
    ("float[1,3] x", {"x": [1, 3, 1]}, None, "contradicts", ["x"]),
])  # fmt: skip
def test_what_has_to_be_asked(inputs: str, shapes: Any, size: Any, problem: str, words: list[str]) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        fix_shapes(net(inputs), shapes, size)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_weights_among_the_inputs_need_no_shape() -> None:
    model = ir.from_proto(text("y = Mul(x, w)", "float[1,3] x, float[n] w", "float[1,3] y", w=[2.0, 3.0, 4.0]))
    fix_shapes(model, {}, None)
    assert [v.name for v in model.graph.inputs] == ["x"]


@pytest.mark.parametrize("kind", ["float16", "double", "bfloat16"])
def test_every_wide_or_narrow_float_becomes_single(kind: str) -> None:
    number = {"float16": 10, "double": 11, "bfloat16": 16}[kind]
    body = f"""k = Constant<value = float[1] {{0}}>() c = Cast<to={number}>(i) a = Add(x, c) b = Mul(a, k)
        m = Mul(b, w) y = Cast<to=1>(m)"""
    model = ir.from_proto(text(body, f"{kind}[3] x, int32[3] i", "float[3] y", w=[0.0, 0.0, 0.0]))
    dtype = ir.DataType(number)
    model.graph.initializers["w"].const_value = ir.tensor([1, 2, 3], dtype=dtype, name="w")
    node_of(model, "Constant").attributes["value"] = ir.AttrTensor("value", ir.tensor([2], dtype=dtype))
    assert to_float32(model) == 3, "the weight, the Constant, the Cast"
    given = run_model(model, {"x": np.float32([1, 2, 3]), "i": np.int32([1, 0, -1])})["y"]
    np.testing.assert_array_equal(given, np.float32([4, 8, 12]))
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT and to_float32(model) == 0


def test_feeds_of_zeros_have_each_inputs_type() -> None:
    found = zeros(net("float[2,3] x, int64[1] ids, uint8[4] px"))
    assert {k: (v.shape, v.dtype.name) for k, v in found.items()} == {
        "x": ((2, 3), "float32"), "ids": ((1,), "int64"), "px": ((4,), "uint8"),
    }  # fmt: skip
    assert not any(v.any() for v in found.values())


def test_sizes_are_settled_and_what_they_need_folded() -> None:
    body = "s = Shape(x) h = Gather(s, zero) t = Concat<axis=0>(h, rest) r = Reshape(x, t) y = Relu(r)"
    numbers = {"zero": np.array([1], np.int64), "rest": np.array([-1], np.int64)}
    model = ir.from_proto(text(body, "float[1,3,4] x", "float[a,b] y", **numbers))
    settle_shapes(model)
    assert [n.op_type for n in model.graph] == ["Reshape", "Relu"]
    assert [int(d) for d in value_of(model, "y").shape or ()] == [3, 4]


def test_an_output_whose_size_depends_on_values_is_measured() -> None:
    model = ir.from_proto(
        text("i = NonZero(z) f = Cast<to=1>(i) y = Neg(f)", "float[1,3] x, float[2,2] z", "float[a,b] y")
    )
    settle_shapes(model)
    assert [int(d) for d in value_of(model, "y").shape or ()] == [2, 0], "of zeros, none is found"


def test_loops_are_refused_before_anything_runs() -> None:
    body = """y = Loop(n, , x)<body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w)
        { d = Identity(c) w = Neg(v) }>"""
    model = ir.from_proto(text(body, "int64 n, float[2] x", "float[2] y"))
    with pytest.raises(GraphError, match="has a loop"):
        settle_shapes(model)
    assert node_of(model, "Loop")
