"""From an exported encoder to the graph the NPU gets: embedded tokens and an additive mask in, the answer out.

The places to cut are found by data flow. The embedding ends at the last value that everything read from ``input_ids``
passes through before the first matrix product. The mask ends where something computed from ``attention_mask`` alone
meets something computed from tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass
from onnxscript import optimizer

from n6convert.errors import SourceError

__all__ = ["EMBEDDED", "MASK", "cut_encoder"]

EMBEDDED, MASK = "embedded", "mask"
_PRODUCTS = {"MatMul", "Gemm", "Conv"}
_TOKENS = ("input_ids", "token_type_ids", "position_ids")


def cut_encoder(exported: ir.Model, sequence: int, outputs: tuple[str, ...]) -> ir.Model:
    """Cut the embedding and the mask's arithmetic off an exported model.

    Args:
        exported: static graph with ``input_ids`` and ``attention_mask`` [1,S]; changed in place.
        sequence: S.
        outputs: names of the outputs to keep, the first that exists.

    Returns:
        graph with inputs ``embedded`` [1,S,D] and ``mask`` [1,1,1,S], the latter added to attention scores.

    Raises:
        SourceError: the graph is not built like a BERT encoder.
    """
    optimizer.optimize(exported)
    model = ShapeInferencePass()(exported).model
    graph = model.graph
    inputs = {str(v.name): v for v in graph.inputs}
    tokens = _downstream([v for name, v in inputs.items() if name in _TOKENS])
    masked = _downstream([v for name, v in inputs.items() if name == "attention_mask"])
    embedded = _articulation(list(graph), tokens, graph.inputs)
    answer = next((v for name in outputs for v in graph.outputs if v.name == name), None)
    if answer is None:
        found = ", ".join(str(v.name) for v in graph.outputs)
        raise SourceError("the exported model has another output", limit=" or ".join(outputs), found=found)
    mask = ir.Value(name=MASK, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1, 1, 1, sequence)))
    _meet(list(graph), tokens, masked, mask)
    hidden = _replace(embedded, sequence)
    graph.inputs[:] = [hidden, mask] if mask.consumers() else [hidden]
    graph.outputs[:] = [answer]
    RemoveUnusedNodesPass()(model)
    for value in (v for node in graph for v in node.outputs):
        value.shape = None
    model = ShapeInferencePass()(model).model
    for node in [n for n in model.graph if n.op_type == "Gather"]:
        _slice_instead(node)
    _unused_initializers(model.graph)
    if not mask.consumers():
        raise SourceError("the exported model does not use its attention mask")
    return ShapeInferencePass()(model).model


def _downstream(values: Iterable[ir.Value]) -> set[ir.Value]:
    """The values and all that are computed from them."""
    seen: set[ir.Value] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo += [out for node in value.consumers() for out in node.outputs]
    return seen


def _articulation(nodes: list[ir.Node], tokens: set[ir.Value], inputs: Iterable[ir.Value]) -> ir.Value:
    waiting = {v: len(list(v.uses())) for v in inputs if v in tokens}
    last: ir.Value | None = None
    for node in nodes:
        read = [v for v in node.inputs if v in tokens]
        if not read:
            continue
        if node.op_type in _PRODUCTS:
            break
        for value in read:
            waiting[value] -= 1
        waiting |= {out: len(list(out.uses())) for out in node.outputs}
        waiting = {v: count for v, count in waiting.items() if count}
        if len(waiting) == 1 and next(iter(waiting)) in node.outputs:
            last = node.outputs[0]
    if last is None or last.shape is None or len(last.shape) != 3:
        raise SourceError("the exported model does not begin with an embedding of its tokens")
    return last


def _meet(nodes: list[ir.Node], tokens: set[ir.Value], masked: set[ir.Value], mask: ir.Value) -> None:
    """Let the mask input take part wherever the computed mask met the attention scores."""
    for node in nodes:
        ours = [i for i, v in enumerate(node.inputs) if v in masked and v not in tokens]
        theirs = [v for v in node.inputs if v in tokens]
        if not ours or not theirs:
            continue
        if node.op_type == "Add":
            node.replace_input_with(ours[0], mask)
        elif node.op_type == "Where" and ours == [0] and len(theirs) == 1:
            added = ir.node("Add", [theirs[0], mask])
            node.graph.insert_before(node, added)  # type: ignore[union-attr]
            node.outputs[0].replace_all_uses_with(added.outputs[0])
        else:
            raise SourceError(
                "the model masks attention in a way that is not understood",
                place=node.name,
                limit="adding a mask to the scores, or Where(mask, constant, scores)",
                found=node.op_type,
            )


def _replace(embedded: ir.Value, sequence: int) -> ir.Value:
    width = embedded.shape[2] if embedded.shape is not None else None
    hidden = ir.Value(name=EMBEDDED, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1, sequence, width)))
    embedded.replace_all_uses_with(hidden)
    return hidden


def _slice_instead(node: ir.Node) -> None:
    """Gather of one constant place (the pooler's first token) as Slice and Reshape; Gather is CPU work
    ([#transformers])."""
    source, picked = node.inputs[0], node.inputs[1]
    index = ir.convenience.get_const_tensor(picked) if picked is not None else None
    if source is None or source.shape is None or index is None or index.size != 1 or len(index.shape):
        return
    axis, place = node.attributes.get_int("axis", 0) % len(source.shape), int(index.numpy())
    shape = list(source.shape)
    place %= int(str(shape[axis]))
    rest = [int(str(d)) for i, d in enumerate(shape) if i != axis]
    tape = ir.tape.Tape()
    bounds = [tape.initializer(ir.tensor([v], dtype=ir.DataType.INT64, name=f"{node.name}.{i}")) for i, v in
              enumerate((place, place + 1, axis))]  # fmt: skip
    target = tape.initializer(ir.tensor(rest, dtype=ir.DataType.INT64, name=f"{node.name}.shape"))
    value = tape.op("Reshape", [tape.op("Slice", [source, *bounds]), target])
    assert node.graph is not None
    node.graph.insert_before(node, tape.nodes)
    for initializer in tape.initializers:
        node.graph.register_initializer(initializer)
    node.outputs[0].replace_all_uses_with(value)
    node.graph.remove(node, safe=True)


def _unused_initializers(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.consumers() and not value.is_graph_output():
            del graph.initializers[name]
