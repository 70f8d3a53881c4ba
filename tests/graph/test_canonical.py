"""The form that readers expect: constants as initializers, shapes known, no idle ports, interfaces static."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper
from onnx_text import drawn, parsed, text, value_of

from n6convert.errors import GraphError
from n6convert.graph.canonical import infer_shapes, lift_constants
from n6convert.graph.folding import anything_to_fold, fold_constants
from n6convert.graph.idle_ports import drop_copied_outputs, drop_unread_inputs
from n6convert.graph.interface import interface_of
from n6convert.runtime.session import run_model


def test_every_kind_of_constant_becomes_an_initializer() -> None:
    body = """f = Constant<value_float=2.0>() i = Constant<value_ints=[2,3]>() t = Constant<value = float[1] {4.0}>()
        a = Mul(x, f) b = Add(a, t) y = Reshape(b, i)"""
    model = parsed(body, "float[6] x", "float[] y")
    wanted = run_model(model, drawn({"x": (6,)}))["y"]
    lift_constants(model)
    assert [n.op_type for n in model.graph] == ["Mul", "Add", "Reshape"] and set(model.graph.initializers) == {
        "f",
        "i",
        "t",
    }
    np.testing.assert_array_equal(run_model(model, drawn({"x": (6,)}))["y"], wanted)


def test_shapes_are_filled_in_and_those_that_are_known_stay() -> None:
    model = ir.from_proto(text("t = MatMul(x, w) y = Relu(t)", "float[2,3] x", "float[] y", w=np.ones((3, 4))))
    value_of(model, "t").type = ir.TensorType(ir.DataType.FLOAT)
    assert infer_shapes(model) is None
    assert [tuple(value_of(model, n).shape or ()) for n in "ty"] == [(2, 4)] * 2
    value_of(model, "t").shape = ir.Shape(["n", 4])
    infer_shapes(model)
    assert tuple(value_of(model, "t").shape or ()) == (2, 4), "an open shape is replaced"


def test_shapes_that_depend_on_computed_sizes_are_propagated() -> None:
    """data_prop: Shape and Concat of constants say what Reshape gives."""
    body = "s = Shape(x) h = Gather(s, zero) t = Concat<axis=0>(h, rest) y = Reshape(x, t)"
    numbers = {"zero": np.array([0], np.int64), "rest": np.array([6], np.int64)}
    model = ir.from_proto(text(body, "float[2,3,2] x", "float[] y", **numbers))
    assert infer_shapes(model) is None and tuple(value_of(model, "y").shape or ()) == (2, 6)


def test_weights_lie_where_they_lay_after_shapes_were_filled_in() -> None:
    large, small = np.ones((512, 8), np.float32), np.array([2, -1])
    model = parsed(
        "m = MatMul(x, large) y = Reshape(m, small)", "float[4,512] x", "float[] y", large=large, small=small
    )
    assert infer_shapes(model) is None and tuple(value_of(model, "y").shape or ()) == (2, 16)
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert {n: v.const_value.numpy().shape for n, v in model.graph.initializers.items()} == {  # type: ignore[union-attr]
        "large": (512, 8),
        "small": (2,),
    }


def test_the_reason_of_a_refusal_is_one_line_and_the_rest_is_inferred() -> None:
    model = ir.from_proto(text("t = Relu(x) y = MatMul(t, w)", "float[2,3] x", "float[] y", w=np.ones((4, 4))))
    reason = infer_shapes(model)
    assert reason is not None and "\n" not in reason and len(reason) <= 300 and "MatMul" in reason
    assert tuple(value_of(model, "t").shape or ()) == (2, 3)


def test_filled_tensors_are_folded_when_they_are_small() -> None:
    model = parsed("z = ConstantOfShape(s) y = Add(x, z)", "float[2,3] x", "float[] y", s=np.array([2, 3], np.int64))
    fold_constants(model)
    assert [n.op_type for n in model.graph] == ["Add"]
    feeds = drawn({"x": (2, 3)})
    np.testing.assert_array_equal(run_model(model, feeds)["y"], feeds["x"])


@pytest.mark.parametrize(("body", "folds"), [
    ("t = Reshape(x, s) y = Relu(t)", False),
    ("t = Concat<axis=0>(x, x) y = Relu(t)", False),
    ("t = Mul(x, a) y = Add(t, b)", False),
    ("c = Add(a, b) y = Mul(x, c)", True),
    ("t = Identity(x) y = Relu(t)", True),
    ("t = Reshape(x, own) y = Relu(t)", True),
    ("t = Concat<axis=0>(x) y = Relu(t)", True),
    ("t = Shape(x) u = Reshape(x, t) y = Relu(u)", True),
])  # fmt: skip
def test_what_the_library_is_not_asked_about_it_would_not_change(body: str, folds: bool) -> None:
    known = {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32), "s": np.array([3, 2]), "own": np.array([2, 3])}
    read = {name: known[name] for name in re.findall(r"\w+", body) if name in known}
    model = parsed(body, "float[2,3] x", "float[] y", **read)

    def nodes() -> list[tuple[str, ...]]:
        return [(n.op_type, *(v.name or "" for v in n.inputs if v is not None)) for n in model.graph]

    before, found = nodes(), anything_to_fold(model)
    fold_constants(model)
    assert found == folds == (nodes() != before)


def test_a_filled_tensor_too_large_to_store_stays_a_node() -> None:
    """4 Mi numbers are the limit; one row more stays. Nothing of that size is allocated here."""

    def left(rows: int) -> list[str]:
        model = parsed("z = ConstantOfShape(s) r = ReduceMean<axes=[0]>(z) y = Add(x, r)", "float[1024] x", "float[] y",
                       s=np.array([rows, 1024], np.int64))  # fmt: skip
        fold_constants(model, output_size_limit=1 << 23, input_size_limit=1)
        return [n.op_type for n in model.graph]

    assert "ConstantOfShape" in left(4097) and "ConstantOfShape" not in left(4)


@pytest.mark.parametrize(("body", "inputs", "gone", "kept"), [
    ("y = Relu(x)", "float[2] x, float[1] size, int64[1] mask", ["size", "mask"], ["x"]),
    ("y = Relu(x)", "float[2] x", [], ["x"]),
    ("y = Identity(c)", "float[2] x, float[1] z", [], ["x", "z"]),
])  # fmt: skip
def test_inputs_that_nobody_reads(body: str, inputs: str, gone: list[str], kept: list[str]) -> None:
    model = parsed(body, inputs, "float[] y", c=[1.0])
    assert drop_unread_inputs(model) == gone and [v.name for v in model.graph.inputs] == kept


def test_an_input_that_is_returned_or_has_a_default_stays() -> None:
    model = parsed("y = Relu(x)", "float[2] x, float[2] z, float[1] c", "float[] y, float[2] z", c=[1.0])
    assert drop_unread_inputs(model) == [] and len(model.graph.inputs) == 3


@pytest.mark.parametrize(("body", "outputs", "copies"), [
    ("y = Relu(x) z = Identity(y)", "yz", {"z": "y"}),
    ("y = Relu(x) a = Identity(x) z = Identity(a)", "yz", {"z": "x"}),
    ("t = Relu(x) y = Identity(t) z = Identity(t)", "yz", {"z": "t"}),
    ("y = Relu(x) a = Identity(y) b = Identity(y)", "ayb", {"a": "y", "b": "y"}),
        ("y = Relu(x) z = Neg(x)", "yz", {}),
    ("y = Identity(x)", "y", {}),
    ("y = Identity(x) z = Identity(x)", "yz", {}),
])  # fmt: skip
def test_outputs_that_are_copies(body: str, outputs: str, copies: dict[str, str]) -> None:
    model = parsed(body, "float[2] x", ", ".join(f"float[] {n}" for n in outputs))
    assert drop_copied_outputs(model) == copies
    assert [v.name for v in model.graph.outputs] == [n for n in outputs if n not in copies]


def test_the_interface_in_numpys_words() -> None:
    model = parsed("y = Cast<to=3>(x)", "float[1,3] x, int64[2] ids, float[1] w", "int8[] y", w=[0.5])
    model.metadata_props["classes"] = "a,b"
    found = interface_of(model)
    assert [(t.name, t.shape, t.dtype) for t in found.inputs] == [("x", (1, 3), "float32"), ("ids", (2,), "int64")]
    assert [(t.name, t.shape, t.dtype) for t in found.outputs] == [("y", (1, 3), "int8")]
    assert found.metadata == {"classes": "a,b"}
    model.metadata_props["classes"] = "changed"
    assert found.metadata["classes"] == "a,b", "a copy"


@pytest.mark.parametrize(("inputs", "found"), [("float[n,3] x", "[n,3]"), ("float[] x", "no shape")])
def test_an_interface_of_open_size_is_refused(inputs: str, found: str) -> None:
    model = ir.from_proto(helper.make_model(text("y = Relu(x)", inputs, "float[] y").graph))
    with pytest.raises(GraphError, match="no static shape") as caught:
        interface_of(model)
    assert caught.value.place == "x" and found in str(caught.value.found) and "fixed sizes" in str(caught.value)
