"""Sizes of a graph's tensors, before any of them is allocated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from n6convert.graph.fault import Fault, shortened
from n6convert.graph.signatures import opset_of
from n6convert.graph.structure import label
from n6convert.graph.tensors import MAX_ELEMENTS

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MAX_INTEGERS",
    "inferred_faults",
    "input_faults",
    "open_unknown_sizes",
    "size_faults",
    "type_returned_inputs",
]

#: a list of integers that nodes compute: shapes and indices. ONNX's inference holds them one object each
MAX_INTEGERS = 1 << 20
_INTEGERS = (6, 7)
#: weights up to this size go along where shapes are inferred: they may be shapes themselves
_ALONG = 4096
_REMEDY = "export the model again with its real, static input shape"


def open_unknown_sizes(graph: onnx.GraphProto) -> None:
    """Input sizes of 0 and -1, with which old exporters say "unknown", as what the format has for that; in place."""
    for info in graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value in (0, -1):
                dim.ClearField("value")


def type_returned_inputs(graph: onnx.GraphProto) -> None:
    """Inputs that are outputs too, as the inputs say they are, in place: onnx-ir holds one type for both."""
    given = {info.name: info for info in graph.input}
    for info in graph.output:
        if info.name in given:
            info.CopyFrom(given[info.name])


def input_faults(graph: onnx.GraphProto) -> Iterator[Fault]:
    """Inputs of an impossible size."""
    for info in graph.input:
        yield from _impossible(info)


def size_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Operators that do not take what they are given, and tensors of an impossible size, as ONNX infers them."""
    import onnx

    if model.opset_import and opset_of(model) > onnx.defs.onnx_opset_version():
        return
    yield from inferred_faults(_skeleton(model))


def inferred_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """The same for a model whose large weights are inputs; what it says about inner tensors is dropped."""
    from n6convert.graph.canonical import inferred

    del model.graph.value_info[:]
    for info in model.graph.output:
        info.ClearField("type")
    try:
        made = inferred(model, strict=True)
    except Exception as error:  # InferenceError and the C++ exceptions beside it
        yield _refusal(str(error))
        return
    yield from _channel_faults(made.graph)
    for info in made.graph.output:
        if any(d.HasField("dim_value") and not d.dim_value for d in info.type.tensor_type.shape.dim):
            yield Fault("tensor-size", "a graph output is empty", tensor=info.name, limit="sizes of 1 or more",
                        found=f"shape {[d.dim_value for d in info.type.tensor_type.shape.dim]}")  # fmt: skip
    stack = [made.graph]
    while stack:
        graph = stack.pop()
        for info in (*graph.value_info, *graph.output):
            yield from _impossible(info)
        stack.extend(a.g for node in graph.node for a in node.attribute if a.type == 5)


def _channel_faults(graph: onnx.GraphProto) -> Iterator[Fault]:
    """Convolutions whose weight is of other channels than their input, which shape inference does not look at."""
    given = (*graph.input, *graph.value_info)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in given}
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.domain or len(node.input) < 2:
            continue
        sizes, weight = (shapes.get(name, []) for name in node.input[:2])
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if len(sizes) < 2 or len(weight) < 2 or not sizes[1]:
            continue
        taken = weight[1] * groups if node.op_type == "Conv" else weight[0]
        made = weight[0] if node.op_type == "Conv" else weight[1] * groups
        bias = shapes.get(node.input[2]) if len(node.input) > 2 else None
        problem, found = "channels and weights of a convolution do not fit", f"{sizes[1]} channels, weight {weight}"
        if taken and sizes[1] != taken:
            yield _unfit(node, problem, f"{taken} input channels", found)
        elif groups > 0 and (weight[0] % groups or sizes[1] % groups):
            yield _unfit(node, problem, f"numbers of channels that {groups} groups share evenly", found)
        elif bias and bias != [made]:
            yield _unfit(node, "a bias does not fit the channels of its convolution", f"shape [{made}]", str(bias))


def _unfit(node: onnx.NodeProto, problem: str, limit: str, found: str) -> Fault:
    return Fault("shape-inference", problem, label(node), node.input[1], limit, found, "export the model again")


def _impossible(info: onnx.ValueInfoProto) -> Iterator[Fault]:
    kind = info.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value != -1 else None for d in kind.shape.dim]
    known = [size for size in dims if size is not None]
    count = math.prod(known)
    listed = kind.elem_type in _INTEGERS and len(dims) == 1
    limit = MAX_INTEGERS if listed else MAX_ELEMENTS
    if any(size < 0 or size > MAX_ELEMENTS for size in known) or count > limit or len(dims) > 32:
        found = "shape " + shortened(str(["?" if size is None else size for size in dims]).replace("'", ""))
        yield Fault(
            "tensor-size", "a tensor has an impossible size", None, info.name, f"{limit:,} elements", found, _REMEDY
        )


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its large weights, which become inputs, and without what the file says about inner tensors."""
    import onnx

    graph = onnx.GraphProto(name=model.graph.name or "graph")
    given = {info.name for info in model.graph.input}
    graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _ALONG and tensor.data_location != 1:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph.node.extend(model.graph.node)
    graph.output.extend(onnx.ValueInfoProto(name=info.name) for info in model.graph.output)
    return onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, graph=graph)


_PLACE = re.compile(r"\(op_type:(?P<op>[^,)]*)(?:, node name: (?P<name>.*?))?\): (?P<why>.*)", re.DOTALL)


def _refusal(message: str) -> Fault:
    hit = _PLACE.search(message)
    why = (hit["why"] if hit else message).replace("[ShapeInferenceError]", "").replace("[TypeInferenceError]", "")
    node = f"{shortened(hit['name'] or 'without name')} ({hit['op']})" if hit else None
    line = next((text.strip() for text in why.splitlines() if text.strip()), "no reason given")
    return Fault(
        "shape-inference", "an operator does not take what it is given", node, found=shortened(line),
        remedy="export the model again; onnx.shape_inference refuses this one",
    )  # fmt: skip
