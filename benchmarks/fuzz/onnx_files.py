"""ONNX files that are damaged in one to three places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper

from .networks import NETWORKS

__all__ = ["write"]

_SIZES = [-(1 << 62), -7, -1, 0, 1, 2, 3, 5, 7, 16, 255, 65536, 1 << 20, 1 << 31, (1 << 62) + 1, (1 << 63) - 1]
_NUMBERS = [0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan")]
_NAMES = ["", "x", "y", "nowhere", "a" * 5000, "../up", "/*\x1b[31m*/", "x\n", "ä\u202e", "'\"$(calc)"]
_LOCATIONS = ["", "w.bin", "../w.bin", "/etc/passwd", "a" * 5000, "w\0.bin", "link", "loop", "folder", "C:\\w", "."]
_OPERATORS = ["Relu", "Conv", "Concat", "Reshape", "Loop", "If", "Scan", "LSTM", "TopK", "NonZero", "Foo", "", "Einsum",
              "Gather", "MatMul", "Resize", "Softmax", "Expand", "Tile", "Cast", "Constant", "GRU"]  # fmt: skip
_Damage = Callable[[Random, onnx.ModelProto], None]


def write(rng: Random, folder: Path) -> list[list[str]]:
    """One damaged network and its samples; all commands that read model files."""
    model = rng.choice(NETWORKS)()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    for _ in range(rng.randint(1, 3)):
        rng.choice(_DAMAGES)(rng, model)
    content = bytearray(model.SerializeToString())
    if rng.random() < 0.1:
        _damage_bytes(rng, content)
    (folder / "m.onnx").write_bytes(bytes(content))
    (folder / "w.bin").write_bytes(rng.randbytes(2000))
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    array = np.random.default_rng(rng.randrange(1000)).standard_normal((4, *shape[1:]), np.float32)
    np.savez(folder / "samples.npz", x=array)
    samples = ["--calibration", "samples.npz", "--set", "options.samples=arrays", "--set", "simplify.onnxsim=false"]
    return [
        ["lint", "m.onnx"],
        ["estimate", "m.onnx"],
        ["rewrite", "m.onnx", "-o", "rewritten.onnx", "--quiet"],
        ["quantize", "m.onnx", *samples, "--json"],
        ["m.onnx", *samples, "--set", "options.range=0..1", "--output", "out", "--quiet"],
    ]


def _damage_bytes(rng: Random, content: bytearray) -> None:
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]


def _node(rng: Random, model: onnx.ModelProto) -> onnx.NodeProto:
    return rng.choice(model.graph.node) if model.graph.node else model.graph.node.add()


def _weight(rng: Random, model: onnx.ModelProto) -> onnx.TensorProto:
    return rng.choice(model.graph.initializer) if model.graph.initializer else model.graph.initializer.add()


def _edge(rng: Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    names = [*_NAMES, *(name for n in model.graph.node for name in n.output)]
    names += [t.name for t in model.graph.initializer]
    ends = rng.choice([node.input, node.output])
    if len(ends):
        ends[rng.randrange(len(ends))] = rng.choice(names)


def _ends(rng: Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    ends = rng.choice([node.input, node.output])
    if rng.random() < 0.5 and len(ends):
        del ends[rng.randrange(len(ends))]
    else:
        ends.append(rng.choice(_NAMES))


def _operator(rng: Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    node.op_type = rng.choice(_OPERATORS)
    if rng.random() < 0.1:
        node.domain = rng.choice(["com.microsoft", "own", "ai.onnx.ml", "nowhere"])


def _attribute(rng: Random, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if not node.attribute:
        name = rng.choice(["axis", "pads", "foo", "to", "group"])
        node.attribute.append(helper.make_attribute(name, rng.choice(_SIZES)))
        return
    a = rng.choice(node.attribute)
    kind = rng.randrange(6)
    if kind == 0:
        node.attribute.remove(a)
    elif kind == 1:
        a.type = rng.randrange(15)
    elif kind == 2:
        name = a.name
        a.CopyFrom(helper.make_attribute(name, rng.choice(["text", b"\xff\xfe", 1.5, [1.5], ["a"], 3, [1, 2, 3], [0]])))
    elif kind == 3:
        a.ref_attr_name = "outer"
    elif a.ints:
        a.ints[rng.randrange(len(a.ints))] = rng.choice(_SIZES)
    elif a.type == onnx.AttributeProto.INT:
        a.i = rng.choice(_SIZES)
    elif a.type == onnx.AttributeProto.FLOAT:
        a.f = rng.choice(_NUMBERS)
    elif a.type == onnx.AttributeProto.STRING:
        a.s = rng.choice([b"", b"FOO", b"\xff", b"SAME_UPPER", b"linear", b"cubic"])


def _shape(rng: Random, model: onnx.ModelProto) -> None:
    tensor = _weight(rng, model)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_SIZES)
    elif rng.random() < 0.5:
        tensor.dims.append(rng.choice(_SIZES))
    else:
        del tensor.dims[:]


def _type(rng: Random, model: onnx.ModelProto) -> None:
    _weight(rng, model).data_type = rng.randrange(28)


def _content(rng: Random, model: onnx.ModelProto) -> None:
    """Values: cut, without end, or other sizes and shapes in lists of integers."""
    tensor = _weight(rng, model)
    if rng.random() < 0.3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif tensor.data_type in (1, 7) and tensor.raw_data:
        kind = np.float32 if tensor.data_type == 1 else np.int64
        array = np.frombuffer(tensor.raw_data, kind).copy()
        values = _NUMBERS if kind is np.float32 else _SIZES
        with np.errstate(over="ignore"):
            array[rng.randrange(array.size) :: rng.choice([1, 1000])] = rng.choice(values)
        tensor.raw_data = array.tobytes()


def _outside(rng: Random, model: onnx.ModelProto) -> None:
    """Values in another file, of initializers and of Constant nodes."""
    tensor = _weight(rng, model)
    if rng.random() < 0.3:
        node = model.graph.node.add(op_type="Constant", output=[f"const{rng.randrange(99)}"])
        node.attribute.append(helper.make_attribute("value", tensor))
        tensor = node.attribute[0].t
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    given = {"location": rng.choice(_LOCATIONS), "offset": rng.choice(["0", "4", "-1", "x", "1990", str(1 << 62)]),
             "length": rng.choice([str(size), str(size), "0", "-4", "1e3", str(1 << 62)])}  # fmt: skip
    for key, value in given.items():
        if rng.random() < 0.8:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value


def _interface(rng: Random, model: onnx.ModelProto) -> None:
    infos = rng.choice([model.graph.input, model.graph.output])
    kind = rng.randrange(7)
    if not len(infos) or kind == 0:
        infos.append(helper.make_tensor_value_info(rng.choice(_NAMES), rng.randrange(24), [1, rng.choice(_SIZES)]))
        return
    info = rng.choice(infos)
    dims = info.type.tensor_type.shape.dim
    if kind == 1:
        infos.remove(info)
    elif kind == 2:
        info.name = rng.choice(_NAMES)
    elif kind == 3:
        info.type.tensor_type.elem_type = rng.randrange(24)
    elif kind == 4:
        info.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [1])))
    elif dims and kind == 5:
        dims[rng.randrange(len(dims))].dim_param = rng.choice(["N", "", "batch"])
    elif dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(_SIZES)
    else:
        info.ClearField("type")


def _nodes(rng: Random, model: onnx.ModelProto) -> None:
    kind = rng.randrange(4)
    nodes = list(model.graph.node)
    if kind == 0 and nodes:
        del model.graph.node[rng.randrange(len(nodes))]
    elif kind == 1:
        model.graph.node.add().CopyFrom(_node(rng, model))
    elif kind == 2:
        rng.shuffle(nodes)
        copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    else:
        for node in model.graph.node:
            node.name = rng.choice(["", "same", *_NAMES])


def _versions(rng: Random, model: onnx.ModelProto) -> None:
    if rng.random() < 0.4:
        model.ir_version = rng.choice([0, 1, 3, 4, 9, 13, 99, 1 << 40])
    elif model.opset_import and rng.random() < 0.7:
        model.opset_import[0].version = rng.choice([-1, 0, 1, 6, 7, 9, 11, 12, 13, 18, 21, 23, 99, 1 << 40])
    else:
        del model.opset_import[:]


def _doubling(rng: Random, model: onnx.ModelProto) -> None:
    """The first output doubled many times by operators, or by functions that call each other."""
    if not model.graph.output:
        return
    name, times = model.graph.output[0].name, rng.choice([3, 12, 30, 70])
    kind, attributes = rng.choice([("Concat", {"axis": rng.choice([0, 1, -1])}), ("Add", {})])
    if rng.random() < 0.4:
        opset = [helper.make_opsetid("", 17), helper.make_opsetid("double", 1)]
        calls = [[helper.make_node("Add", ["a", "a"], ["b"])]]
        for level in range(times):
            calls.append([helper.make_node(f"F{level}", [i], [o], domain="double") for i, o in ("am", "mb")])
        model.functions.extend(
            helper.make_function("double", f"F{level}", ["a"], ["b"], nodes, opset) for level, nodes in enumerate(calls)
        )
        model.graph.node.append(helper.make_node(f"F{times}", [name], ["twice"], domain="double"))
        model.opset_import.append(opset[1])
    else:
        for index in range(times):
            result = "twice" if index == times - 1 else f"{name}_twice{index}"
            model.graph.node.append(helper.make_node(kind, [name, name], [result], **attributes))
            name = result
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="twice"))
    model.graph.output[0].type.tensor_type.elem_type = 1


def _loop(rng: Random, model: onnx.ModelProto) -> None:
    """The first output in a Loop of very many rounds, or in branches within branches."""
    if not model.graph.output:
        return
    name = model.graph.output[0].name
    if rng.random() < 0.5:
        rounds = helper.make_tensor("rounds", TensorProto.INT64, [], [rng.choice([1, 3, 1 << 60])])
        yes = helper.make_tensor("yes_", TensorProto.BOOL, [], [True])
        values = [helper.make_tensor_value_info("i_", 7, []), helper.make_tensor_value_info("c_", 9, []),
                  helper.make_tensor_value_info("v_", 1, None)]  # fmt: skip
        inner = [helper.make_node("Identity", ["c_"], ["d_"]), helper.make_node("Relu", ["v_"], ["w_"])]
        outs = [helper.make_tensor_value_info("d_", 9, []), helper.make_tensor_value_info("w_", 1, None)]
        body = helper.make_graph(inner, "body", values, outs)
        model.graph.initializer.extend([rounds, yes])
        node = helper.make_node("Loop", ["rounds", "yes_", name], ["looped"], name="loop", body=body)
    else:
        model.graph.initializer.append(helper.make_tensor("yes_", TensorProto.BOOL, [], [True]))
        node = helper.make_node("Relu", [name], ["looped"])
        for level in range(rng.choice([1, 3, 15])):
            node.output[0] = f"t{level}"
            branch = helper.make_graph([node], "b", [], [helper.make_tensor_value_info(f"t{level}", 1, None)])
            branches = {"then_branch": branch, "else_branch": branch}
            node = helper.make_node("If", ["yes_"], ["looped"], name=f"if{level}", **branches)
    model.graph.node.append(node)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("looped", 1, None))


def _listed(rng: Random, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


_DAMAGES: list[_Damage] = [_edge, _ends, _operator, _attribute, _attribute, _shape, _type, _content, _content, _outside,
                           _interface, _interface, _nodes, _versions, _doubling, _loop, _listed]  # fmt: skip
