"""Checks of nodes, tensors and sizes against ONNX's own operator tests: what is valid there has no fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_cases import operator_models
from onnx_text import parsed, text

from n6convert.errors import GraphError
from n6convert.graph.fault import Fault, shortened
from n6convert.graph.io import faults
from n6convert.graph.refusals import refuse_large_inputs, refuse_loops, refuse_sizes, refuse_training, refuse_unknown
from n6convert.graph.signatures import opset_of, signature_faults
from n6convert.graph.sizes import MAX_INTEGERS, input_faults, size_faults
from n6convert.graph.tensors import TYPES, stored_tensors, tensor_faults, type_name, wanted_bytes

#: what a network for the NPU cannot have, though ONNX can
_BEYOND = {"no-tensor", "weight-types", "no-inputs"}


def test_valid_models_have_no_faults(tmp_path: Path) -> None:
    """Each rule on some 1,100 models: only sequences, types of few bits and empty results are refused."""
    found: dict[str, set[str]] = {}
    for name, model in operator_models().items():
        if name.endswith("_expanded") and "affine" not in name:
            continue
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        rules = {fault.rule for fault in faults(copy, tmp_path / "m.onnx")} - _BEYOND
        if rules:
            found[name] = rules
    empty = {"test_shape_start_greater_than_end", "test_string_split_empty_tensor", "test_triu_zero", "test_tril_zero",
             "test_regex_full_match_empty"}  # fmt: skip
    kept = {
        name: rules for name, rules in found.items() if name not in empty and not name.startswith("test_causal_conv")
    }
    assert kept == {"test_mvn": {"shape-inference"}}, "onnx's own inference fails on this one"
    assert len(operator_models()) > 1000
    assert {name: found[name] for name in empty & found.keys()} == {
        name: {"tensor-size"} for name in empty & found.keys()
    }


Damage = Callable[[onnx.NodeProto], object]


def with_attribute(name: str, value: object) -> Damage:
    def change(node: onnx.NodeProto) -> None:
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return change


DAMAGES: dict[str, Damage] = {
    "an input more": lambda node: node.input.extend(["x"] * 20),
    "an unknown attribute": with_attribute("unknown", 1),
    "an unknown attribute of another kind": with_attribute("surprise", [1.0]),
    "an attribute without a name": lambda node: node.attribute.add(type=2),
    "an attribute twice": lambda node: node.attribute.extend([onnx.helper.make_attribute("axis", 0)] * 2),
    "an attribute of a function": lambda node: node.attribute.add(name="axis", type=2, ref_attr_name="own"),
    "no value": lambda node: node.attribute.add(name="value", type=4),
    "no operator": lambda node: setattr(node, "op_type", ""),
    "no outputs": lambda node: node.ClearField("output"),
    "outputs without names": lambda node: [node.output.__setitem__(i, "") for i in range(len(node.output))],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_seen_in_every_operator(name: str) -> None:
    """In valid nodes of a hundred operators; variadic ones may take the inputs."""
    missed: Counter[str] = Counter()
    tried = set()
    for model in operator_models().values():
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        node = copy.graph.node[0]
        if node.op_type in tried or node.domain or len(tried) >= 100:
            continue
        tried.add(node.op_type)
        schema = onnx.defs.get_schema(node.op_type, opset_of(copy), "")
        if name == "an input more" and schema.max_input > 20:
            continue
        DAMAGES[name](node)
        if not list(signature_faults(copy)):
            missed[node.op_type] += 1
    assert not missed and len(tried) == 100


def one(model: onnx.ModelProto, check: Callable[[onnx.ModelProto], Iterator[Fault]]) -> Fault:
    (found,) = check(model)
    return found


@pytest.mark.parametrize(("name", "value", "limit", "fine"), [
    ("strides", [1, 1], "", True), ("strides", [0, 1], "1 or more", False), ("dilations", [-1, 1], "1 or more", False),
    ("group", 1, "", True), ("group", 0, "1 or more", False), ("pads", [-1, 0, 0, 0], "", True),
    ("pads", [1 << 31, 0, 0, 0], "", True), ("pads", [(1 << 31) + 1, 0, 0, 0], "numbers below", False),
    ("strides", [1 << 40, 1], "numbers below", False),
])  # fmt: skip
def test_numbers_have_a_range(name: str, value: object, limit: str, fine: bool) -> None:
    model = text("y = Conv(x, w)", "float[1,1,8,8] x, float[1,1,1,1] w", "float[1,1,8,8] y")
    with_attribute(name, value)(model.graph.node[0])
    found = list(signature_faults(model))
    assert not found if fine else limit in str(found[0].limit) and name in found[0].problem


def test_ends_of_old_slices_may_be_as_large_as_they_like() -> None:
    model = text("y = Slice<starts=[0], ends=[9223372036854775807]>(x)", "float[4] x", "float[4] y", 9)
    assert not list(signature_faults(model))


@pytest.mark.parametrize(("opset", "fine"), [(1, True), (25, True), (0, False), (-1, False), (1 << 15, False)])
def test_versions_of_the_operators(opset: int, fine: bool) -> None:
    model = text("y = Relu(x)", "float[4] x", "float[4] y")
    model.opset_import[0].version = opset
    assert fine == (not [f for f in signature_faults(model) if f.rule == "opset"])
    assert opset_of(model) == opset and opset_of(onnx.ModelProto()) == 0


@pytest.mark.parametrize(("kind", "shape", "size"), [
    (1, [2, 3], 24), (2, [5], 5), (21, [5], 3), (22, [4, 2], 4), (7, [], 8), (1, [0, 9], 0), (16, [3], 6), (11, [1], 8),
    (17, [3], None), (1, [-1], None), (8, [2], None),
])  # fmt: skip
def test_bytes_of_a_tensor(kind: int, shape: list[int], size: int | None) -> None:
    assert wanted_bytes(onnx.TensorProto(data_type=kind, dims=shape)) == size


def test_every_type_that_is_computed_with_holds_as_many_values_as_its_shape() -> None:
    for kind in TYPES:
        for shape in ([3], [2, 2], []):
            tensor = onnx.helper.make_tensor("w", kind, shape, [1] * (3 if shape == [3] else 4 if shape else 1))
            model = onnx.ModelProto()
            model.graph.initializer.append(tensor)
            assert not list(tensor_faults(model)), type_name(kind)
            model.graph.initializer[0].dims.append(3)
            assert "do not fit its shape" in one(model, tensor_faults).problem
    assert type_name(1) == "float" and type_name(999) == "999"


def test_tensors_of_attributes_and_branches_are_looked_at() -> None:
    branch = "b () => (float[1] v) { v = Constant<value = float[1] {2}>() }"
    model = text(f"k = Constant<value = float[1] {{1}}>() y = If(c)<then_branch = {branch}, else_branch = {branch}>",
                 "bool c", "float[1] y", w=[3.0])  # fmt: skip
    found = [(node, tensor.name) for node, tensor in stored_tensors(model)]
    assert len(found) == 4 and found[0] == (None, "w") and all(node and "Constant" in node for node, _ in found[1:])


@pytest.mark.parametrize(("shape", "kind", "fine"), [
    ("1048576", "int64", True), ("1048577", "int64", False), ("1048577,1", "int64", True), ("1048577", "float", True),
    ("268435456", "float", True), ("268435457", "float", False), ("16384,16385", "float", False), ("n", "float", True),
])  # fmt: skip
def test_sizes_that_nothing_holds(shape: str, kind: str, fine: bool) -> None:
    """Lists of integers are held one object each, so that fewer are allowed."""
    model = text("y = Identity(x)", f"{kind}[{shape}] x", f"{kind}[] y")
    found = list(input_faults(model.graph))
    assert (not found) == fine and MAX_INTEGERS == 1 << 20
    if found:
        assert found[0].tensor == "x" and "elements" in str(found[0].limit) and "export" in found[0].remedy


@pytest.mark.parametrize(("body", "words"), [
    ("y = MatMul(x, w)", "MatMul"), ("y = Add(x, t)", "Add"), ("y = Concat<axis=1>(x, w)", "Concat"),
])  # fmt: skip
def test_operators_that_do_not_take_what_they_are_given(body: str, words: str) -> None:
    model = text(body, "float[2,3] x, float[4,5] w, float[2,4] t", "float[] y")
    model.graph.node[0].name = "the node"
    found = one(model, size_faults)
    assert found.node == f"the node ({words})" and found.rule == "shape-inference" and "\n" not in str(found.found)


def test_a_place_names_node_and_tensor() -> None:
    assert Fault("r", "p").place is None and Fault("r", "p", "Conv c").place == "node Conv c"
    assert (
        Fault("r", "p", "Conv c", "t").place == "node Conv c, tensor t"
        and Fault("r", "p", tensor="t").place == "tensor t"
    )
    error = Fault("r", "p", limit="3", found="4").error("m.onnx")
    assert (
        isinstance(error, GraphError)
        and (error.place, error.limit, error.found) == ("m.onnx", "3", "4")
        and error.remedy
    )


@pytest.mark.parametrize(("name", "shown"), [
    ("plain", "plain"), ("größe", "größe"), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("x" * 200, "x" * 200),
    ("a" * 150 + "b" * 150, "a" * 100 + "..." + "b" * 100),
])  # fmt: skip
def test_names_in_messages_are_one_short_line(name: str, shown: str) -> None:
    assert shortened(name) == shown


def test_what_is_not_run() -> None:
    training = "y, a, b = BatchNormalization<training_mode=1>(x, w, w, w, w)"
    dropped = "y = Dropout(x, r, t)"
    true = parsed(dropped, "float[1,4] x", "float[] y", r=0.5, t=np.array(True))
    false = parsed(dropped, "float[1,4] x", "float[] y", r=0.5, t=np.array(False))
    refuse_training(false)
    for model in (true, parsed(training, "float[1,4] x", "float[] y", w=[1.0] * 4)):
        with pytest.raises(GraphError, match="training mode") as caught:
            refuse_training(model)
        assert "model.eval()" in str(caught.value.remedy)
    refuse_loops(true)
    own = parsed("t = Relu(x) y = Relo(t, w) z = Rela(t)", "float[1,4] x", "float[] y, float[] z", w=[1.0])
    with pytest.raises(GraphError, match="ONNX does not have") as caught:
        refuse_unknown(own)
    assert caught.value.found == "Rela, Relo" and "options.outputs=[t]" in str(caught.value.remedy)
    refuse_unknown(true)
    refuse_sizes(true)


@pytest.mark.parametrize(("room", "fine"), [(12, True), (11, False)])
def test_an_input_as_large_as_all_memory_fits(room: int, fine: bool) -> None:
    model = parsed("y = Relu(x)", "float[1,3,4] x, float[n,9] open", "float[] y")
    if fine:
        refuse_large_inputs(model, room, "the board")
        return
    with pytest.raises(GraphError, match="larger than all RAM") as caught:
        refuse_large_inputs(model, room, "the board")
    assert (
        caught.value.place == "x"
        and caught.value.limit == "11 bytes on the board"
        and "12 bytes" in str(caught.value.found)
    )
