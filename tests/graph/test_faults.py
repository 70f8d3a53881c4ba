"""Model files that nothing can be computed with: each fault is named, alike by every command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert.cli import run
from n6convert.errors import GraphError, N6ConvertError, SourceError
from n6convert.graph.io import load

Damage = Callable[[onnx.ModelProto], object]


def model() -> onnx.ModelProto:
    text = """<ir_version: 8, opset_import: ["" : 17]> net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
        c = Conv<pads=[1,1,1,1]>(x, w)
        y = Relu(c)
    }"""
    found = onnx.parser.parse_model(text)
    found.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"))
    found.graph.node[0].name, found.graph.node[1].name = "conv", "relu"
    return found


def nested(m: onnx.ModelProto) -> None:
    node = helper.make_node("Relu", ["c"], ["t"])
    for _ in range(12):
        branch = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("t", 1, None)])
        node = helper.make_node("If", ["yes"], ["t"], then_branch=branch, else_branch=branch)
    m.graph.node.append(node)


def functions(m: onnx.ModelProto, last: str) -> None:
    opset = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
    bodies = [[helper.make_node("Add", ["a", "a"], ["b"])]]
    for level in range(40):
        bodies.append([helper.make_node(f"F{level}", [i], [o], domain="own") for i, o in ("am", "mb")])
    bodies[0][0].op_type, bodies[0][0].domain = (last, "own") if last != "Add" else ("Add", "")
    del bodies[0][0].input[1 if last == "Add" else 1 :]
    if last == "Add":
        bodies[0][0].input.append("a")
    m.functions.extend(helper.make_function("own", f"F{n}", ["a"], ["b"], b, opset) for n, b in enumerate(bodies))
    m.graph.node.append(helper.make_node("F40", ["y"], ["z"], domain="own"))
    m.opset_import.append(opset[0])


def operator(m: onnx.ModelProto, kind: str, **attributes: object) -> None:
    m.graph.node[1].op_type = kind
    m.graph.node[1].attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())


def short(m: onnx.ModelProto, count: int) -> None:
    m.graph.initializer[0].raw_data = m.graph.initializer[0].raw_data[: 4 * count]


def doubled(m: onnx.ModelProto, start: str, **attributes: int) -> None:
    name = start
    for index in range(40):
        m.graph.node.append(helper.make_node("Concat", [name, name], [f"d{index}"], **attributes))
        name = f"d{index}"


def outside(m: onnx.ModelProto, tensor: onnx.TensorProto, **entries: str) -> None:
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "length": str(size)} | entries).items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def weight(m: onnx.ModelProto) -> onnx.TensorProto:
    return m.graph.initializer[0]


def constant(m: onnx.ModelProto, **entries: str) -> None:
    """The weight as a Constant node whose tensor lies in another file."""
    outside(m, weight(m), **entries)
    node = helper.make_node("Constant", [], ["w"], name="given", value=weight(m))
    nodes = [node, *m.graph.node]
    del m.graph.initializer[:], m.graph.node[:]
    m.graph.node.extend(nodes)


def size(m: onnx.ModelProto, axis: int, value: int) -> None:
    m.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = value


def attribute(m: onnx.ModelProto, value: object, name: str = "pads") -> None:
    kept = [a for a in m.graph.node[0].attribute if a.name != name]
    del m.graph.node[0].attribute[:]
    m.graph.node[0].attribute.extend([*kept, helper.make_attribute(name, value)])


FAULTS: dict[str, tuple[Damage, str, str]] = {
    "no nodes": (lambda m: m.graph.ClearField("node"), "no nodes", ""),
    "no graph": (lambda m: m.ClearField("graph"), "no graph", "m.onnx"),
    "no outputs": (lambda m: m.graph.ClearField("output"), "no outputs", ""),
    "no inputs": (lambda m: m.graph.ClearField("input"), "no inputs", ""),
    "output of nobody": (lambda m: m.graph.output.add(name="ghost"), "produced by no node", "ghost"),
    "sequence": (
        lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
        "no tensor", "tensor x",
    ),
    "cycle": (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "has a cycle", "conv"),
    "unwritten": (lambda m: m.graph.node[0].input.__setitem__(1, "nowhere"), "nothing produces", "nowhere"),
    "twice": (lambda m: m.graph.node[1].output.__setitem__(0, "c"), "written twice", "relu"),
    "same weight": (lambda m: m.graph.initializer.append(weight(m)), "same name", "w"),
    "nested": (nested, "too deep", ""),
    "many nodes": (lambda m: functions(m, "Add"), "too many operators", ""),
    "recursion": (lambda m: functions(m, "F3"), "calls itself", ""),
    "float8": (lambda m: setattr(weight(m), "data_type", 17), "not computed with", "w"),
    "no type": (lambda m: setattr(weight(m), "data_type", 0), "not computed with", "w"),
    "shape lies": (lambda m: weight(m).dims.__setitem__(3, 4), "do not fit its shape", "w"),
    "shape of 2^62": (lambda m: weight(m).dims.__setitem__(3, 1 << 62), "impossible shape", "w"),
    "negative shape": (lambda m: weight(m).dims.__setitem__(3, -3), "impossible shape", "w"),
    "pads are text": (lambda m: attribute(m, "text"), "another type", "conv"),
    "pads of 2^62": (lambda m: attribute(m, [1 << 62] * 4), "out of range", "conv"),
    "group 0": (lambda m: attribute(m, 0, "group"), "out of range", "conv"),
    "not text": (lambda m: attribute(m, b"\xff", "auto_pad"), "no text", "conv"),
    "unknown padding": (lambda m: attribute(m, b"SAME", "auto_pad"), "unknown value", "conv"),
    "unknown mode": (lambda m: operator(m, "DepthToSpace", blocksize=2, mode="RDC"), "unknown value", "relu"),
    "kernel of another size": (lambda m: attribute(m, [9, 9], "kernel_shape"), "not the size of the weight", "conv"),
    "channels of a weight": (lambda m: weight(m).dims.__setitem__(slice(2), [3, 4]), "do not fit", "conv"),
    "groups of a weight": (lambda m: (attribute(m, 3, "group"), weight(m).dims.__setitem__(slice(2), [4, 1]),
                                      short(m, 36)), "do not fit", "conv"),
    "long bias": (
        lambda m: (m.graph.initializer.append(numpy_helper.from_array(np.ones(5, np.float32), "b")),
                   m.graph.node[0].input.append("b")),
        "a bias does not fit", "conv",
    ),
    "empty output": (
        lambda m: (m.graph.initializer.append(numpy_helper.from_array(np.array([0, 4]), "parts")),
                   m.graph.node.add(op_type="Split", input=["y", "parts"], output=["none", "all"]).attribute.append(
                       helper.make_attribute("axis", 1)), m.graph.output.add(name="none")),
        "output is empty", "none",
    ),
    "unknown attribute": (lambda m: attribute(m, 1, "foo"), "no such attribute", "conv"),
    "no attribute": (lambda m: setattr(m.graph.node[1], "op_type", "Cast"), "attribute to is missing", "relu"),
    "one input": (lambda m: m.graph.node[0].input.pop(), "wrong number of inputs", "conv"),
    "no input": (lambda m: m.graph.node[0].input.__setitem__(0, ""), "lacks an input", "conv"),
    "no opset": (lambda m: m.ClearField("opset_import"), "names no version", ""),
    "rank": (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "does not take", "conv"),
    "strides": (lambda m: attribute(m, [2], "strides"), "does not take", "conv"),
    "rows of 2^31": (lambda m: size(m, 2, 1 << 31), "impossible size", "x"),
    "2^62": (lambda m: size(m, 3, 1 << 62), "impossible size", "x"),
    "-7": (lambda m: size(m, 2, -7), "impossible size", "x"),
    "doubling": (lambda m: doubled(m, "y", axis=1), "impossible size", "d"),
    "doubling shapes": (
        lambda m: (m.graph.node.add(op_type="Shape", input=["x"], output=["s"]), doubled(m, "s", axis=0)),
        "impossible size", "d",
    ),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "no name", ""),
    "missing file": (lambda m: outside(m, weight(m), location="gone.bin"), "weights are missing", "w"),
    "long name": (lambda m: outside(m, weight(m), location="a" * 5000), "weights are missing", "w"),
    "null": (lambda m: outside(m, weight(m), location="w\0.bin"), "weights are missing", "w"),
    "folder": (lambda m: outside(m, weight(m), location="folder"), "weights are missing", "w"),
    "ring": (lambda m: outside(m, weight(m), location="ring"), "weights are missing", "w"),
    "above": (lambda m: outside(m, weight(m), location="../secret.bin"), "outside its folder", "w"),
    "absolute": (lambda m: outside(m, weight(m), location="/etc/passwd"), "outside its folder", "w"),
    "link": (lambda m: outside(m, weight(m), location="link"), "outside its folder", "w"),
    "hard link": (lambda m: outside(m, weight(m), location="hard"), "hard link", "w"),
    "constant above": (lambda m: constant(m, location="../secret.bin"), "outside its folder", "given"),
    "constant link": (lambda m: constant(m, location="link"), "outside its folder", "given"),
    "too short": (lambda m: outside(m, weight(m), offset="864"), "shorter than their shape", "w"),
    "length too short": (lambda m: outside(m, weight(m), length="4"), "shorter than their shape", "w"),
    "length too long": (lambda m: outside(m, weight(m), length="500"), "longer than their shape", "w"),
    "offset -1": (lambda m: outside(m, weight(m), offset="-1"), "no usable offset", "w"),
}  # fmt: skip
COMMANDS = {
    "lint": ["lint", "m.onnx"],
    "estimate": ["estimate", "m.onnx"],
    "rewrite": ["rewrite", "m.onnx", "-o", "out.onnx"],
    "quantize": ["quantize", "m.onnx", "--calibration", "s.npz", "--set", "options.samples=arrays", "--quiet"],
    "convert": ["m.onnx", "--calibration", "s.npz", "--set", "options.samples=arrays", "--quiet", "--output", "out"],
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "secret.bin").write_bytes(b"\1" * 2000)
    (tmp_path / "in" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")
    Path("w.bin").write_bytes(b"\1" * 1000)
    Path("link").symlink_to("../secret.bin")
    Path("ring").symlink_to("ring")
    os.link(tmp_path / "secret.bin", "hard")
    np.savez("s.npz", x=np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32))


def write(damage: Damage) -> Path:
    found = model()
    damage(found)
    Path("m.onnx").write_bytes(found.SerializeToString())
    return Path("m.onnx")


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named_with_their_place(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, words, place = FAULTS[name]
    path = write(damage)
    with pytest.raises(GraphError, match=words) as caught:
        load(path)
    assert place in str(caught.value.place or "") and caught.value.remedy
    assert run(["lint", "m.onnx", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert words in findings[0]["limit"] and findings[0]["severity"] == "error"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["cycle", "shape lies", "constant above", "strides", "doubling shapes", "many nodes"])
def test_every_command_says_the_same_and_no_more(name: str, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    damage, words, _ = FAULTS[name]
    write(damage)
    assert run(COMMANDS[command]) == 1
    out, err = capfd.readouterr()
    assert words in " ".join((out if command == "lint" else err).split())
    assert "Traceback" not in err and "unexpected" not in err
    assert command == "lint" or (err.startswith("error: ") and not out)
    assert not Path("out").exists() and not Path("out.onnx").exists()


@pytest.mark.parametrize("command", ["rewrite", "quantize", "convert"])
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_operators_of_nobody_are_named(command: str, opset: int, capsys: pytest.CaptureFixture[str]) -> None:
    def unknown(m: onnx.ModelProto) -> None:
        m.graph.node[1].op_type, m.opset_import[0].version = "Relo", opset

    write(unknown)
    assert run(COMMANDS[command]) == 1
    text = capsys.readouterr().err
    assert "operators that ONNX does not have" in text and "Relo" in text and "unexpected" not in text


def test_what_is_no_file_of_a_model_is_named(tmp_path: Path) -> None:
    os.mkfifo("pipe")
    for name, words in {"pipe": "neither a file", ".": "a folder", "a" * 5000: "does not exist"}.items():
        with pytest.raises(SourceError, match=words):
            load(name)
    Path("near.onnx").write_bytes(b"")
    with pytest.raises(SourceError) as caught:
        load("naer.onnx")
    assert "near.onnx" in str(caught.value.remedy)


def test_nodes_in_any_order_and_functions_and_open_sizes_are_read_as_they_are_meant() -> None:
    found = model()
    found.functions.append(
        helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                             [helper.make_opsetid("", 17)])
    )  # fmt: skip
    found.opset_import.append(helper.make_opsetid("own", 1))
    conv, relu = list(found.graph.node)
    relu.output[0] = "r"
    nodes = [helper.make_node("Twice", ["r"], ["y"], domain="own"), relu, conv]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del found.graph.node[:]
    found.graph.node.extend(copies)
    size(found, 0, -1)
    size(found, 2, 0)
    Path("m.onnx").write_bytes(found.SerializeToString())
    loaded = load("m.onnx")
    assert [node.op_type for node in loaded.graph] == ["Conv", "Relu", "Add"]
    assert [isinstance(d, int) for d in loaded.graph.inputs[0].shape] == [False, True, False, True]


@pytest.mark.parametrize("command", ["rewrite", "quantize", "convert"])
def test_loops_and_inputs_larger_than_the_board_are_refused_before_they_run(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def looped(m: onnx.ModelProto) -> None:
        rounds = numpy_helper.from_array(np.array(1 << 60), "rounds")
        yes = numpy_helper.from_array(np.array(True), "yes")
        kinds = [helper.make_tensor_value_info(n, t, []) for n, t in (("i", 7), ("p", 9), ("q", 9))]
        v, w = (helper.make_tensor_value_info(n, 1, None) for n in "vw")
        steps = [helper.make_node("Identity", ["p"], ["q"]), helper.make_node("Relu", ["v"], ["w"])]
        body = helper.make_graph(steps, "body", [*kinds[:2], v], [kinds[2], w])
        m.graph.initializer.extend([rounds, yes])
        m.graph.node.append(helper.make_node("Loop", ["rounds", "yes", "y"], ["z"], name="loop", body=body))
        m.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", 1, None))

    write(looped)
    assert run(COMMANDS[command]) == 1
    assert "loop (Loop)" in capsys.readouterr().err
    write(lambda m: size(m, 2, 1 << 22))
    assert run(COMMANDS[command]) == 1
    text = capsys.readouterr().err
    assert "larger than all RAM" in text or "impossible size" in text


def test_logs_of_libraries_appear_with_debug_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging
    import warnings

    from n6convert.npu import estimation

    def noisy(*arguments: object, **options: object) -> None:
        logging.getLogger("onnx_ir.passes").warning("Shape inference failed", exc_info=ValueError("inner"))
        warnings.warn("numbers overflow", RuntimeWarning, stacklevel=1)
        raise N6ConvertError("the message")

    monkeypatch.setattr(estimation, "estimate", noisy)
    assert run(["estimate", "m.onnx"]) == 1
    assert capfd.readouterr().err == "error: the message\n"
    with pytest.raises(N6ConvertError):
        run(["estimate", "m.onnx", "--debug"])
    assert "Shape inference failed" in capfd.readouterr().err


def test_a_file_of_onnxruntimes_own_format_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "model.ort"
    path.write_bytes(b"\x18\0\0\0ORTM" + b"\0\0\0\0\x0c\0\x10\0" * 20)
    with pytest.raises(SourceError, match="own format") as caught:
        load(path)
    assert ".onnx" in str(caught.value.remedy)
