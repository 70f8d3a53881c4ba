"""If with a condition that is known: the branch that is taken, in place of the node, as simplification does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import helper, numpy_helper

__all__ = ["inline_known_branches"]


def inline_known_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without such nodes; the same object where it has none. Names are unique across scopes in ONNX."""
    if not any(node.op_type == "If" for node in model.graph.node):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    graph = copy.graph
    known = _truths(graph.initializer)
    nodes = list(_inlined(graph.node, graph, known))
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _inlined(
    nodes: Iterable[onnx.NodeProto], graph: onnx.GraphProto, known: dict[str, bool]
) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        if node.op_type == "Constant":
            given = _truths(a.t for a in node.attribute if a.name == "value")
            known |= dict(zip(node.output, given.values(), strict=False))
        if node.op_type != "If" or node.input[0] not in known:
            yield node
            continue
        wanted = "then_branch" if known[node.input[0]] else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == wanted)
        graph.initializer.extend(branch.initializer)
        graph.value_info.extend(branch.value_info)
        known |= _truths(branch.initializer)
        yield from _inlined(branch.node, graph, known)
        for inner, outer in zip(branch.output, node.output, strict=True):
            yield helper.make_node("Identity", [inner.name], [outer], name=f"{node.name or outer}/taken")


def _truths(tensors: Iterable[onnx.TensorProto]) -> dict[str, bool]:
    """The single booleans among constants, by name."""
    single = (t for t in tensors if t.data_type == onnx.TensorProto.BOOL and all(d == 1 for d in t.dims))
    return {t.name: bool(numpy_helper.to_array(t).any()) for t in single}
