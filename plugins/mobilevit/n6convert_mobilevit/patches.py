"""Patches and their attention without batches of four, rank 5, or transposes of two inner axes ([#layout],
[#import-19]).

A pixel at (2y + a, 2x + b) belongs to group p = 2a + b; attention runs within each group. The exporter writes the way
there as ``[C h/2, 2, w/2, 2]`` with a (0,2,1,3) transpose, computes on ``[4, n, C]``, and goes back the same way. Here:

* there: in front of the 1x1 convolution one depthwise convolution of 2x2 with stride 2 a group, a one at the group's
  tap and zeros elsewhere; the 1x1 convolution for each of them, with one set of weights; each group ``[1, C, n]`` is
  turned to ``[1, n, C]``, and all are joined;
* the transformer computes on ``[1, 4 n, C]``; attention takes the groups apart, one after the other;
* back: each group is turned again, joined on the channels ``(p, C)``, which is DepthToSpace in mode DCR.

All of it is exact: every value is computed from the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from n6convert.errors import GraphError
from n6convert.plugin.graphs import settle_shapes
from n6convert_mobilevit.editing import Editor, shape_of, source_of

__all__ = ["write_patches"]

_MOVES = ("Reshape", "Transpose")
_GROUPS = 4


def write_patches(model: ir.Model) -> ir.Model:
    """Rewrite every unfolding, attention and folding of the exported graph, in place; shapes are settled on the way.

    Raises:
        GraphError: the graph is not what the exporter is known to write.
    """
    settle_shapes(model)
    convs = [node for node in model.graph if node.op_type == "Conv"]
    unfolds = [found for found in map(_unfolding, convs) if found is not None]
    folds = [found for found in map(_folding, convs) if found is not None]
    attentions = [_attention(node) for node in model.graph if node.op_type == "Softmax"]
    if not unfolds or len(unfolds) != len(folds):
        found = f"{len(unfolds)} ways to patches and {len(folds)} back"
        raise GraphError("the exported graph holds no patches in the known form", found=found)
    for attention in attentions:
        _by_group(Editor(model, attention.softmax), attention)
    for conv, tokens in unfolds:
        _unfold(Editor(model, conv), conv, tokens)
    for conv, result in folds:
        _fold(Editor(model, conv), conv, result)
    common.RemoveUnusedNodesPass()(model)
    common.TopologicalSortPass()(model)
    settle_shapes(model)
    return model


def _unfolding(conv: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """(convolution, tokens ``[4, n, C]``) when the convolution's only readers are the moves of an unfolding."""
    value = conv.outputs[0]
    while len(value.uses()) == 1 and (node := next(iter(value.uses())).node).op_type in _MOVES:
        value = node.outputs[0]
    shape, channels = shape_of(value), shape_of(conv.outputs[0])
    fits = len(shape) == 3 and shape[0] == _GROUPS and len(channels) == 4 and shape[2] == channels[1]
    return (conv, value) if fits and value is not conv.outputs[0] else None


def _folding(conv: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """(convolution, tokens ``[4, n, C]``) when the convolution reads the end of a folding."""
    value = source_of(conv.inputs[0], _MOVES)
    if value is conv.inputs[0] or value is None or conv.inputs[0] is None:
        return None
    shape, target = shape_of(value), shape_of(conv.inputs[0])
    return (conv, value) if len(shape) == 3 and shape[0] == _GROUPS and shape[2] == target[1] else None


def _unfold(edit: Editor, conv: ir.Node, tokens: ir.Value) -> None:
    _, channels, height, width = shape_of(conv.outputs[0])
    assert conv.inputs[0] is not None
    inputs = shape_of(conv.inputs[0])[1]
    rows = []
    for p in range(_GROUPS):
        taps = np.zeros((inputs, 1, 2, 2), np.float32)
        taps[:, 0, p // 2, p % 2] = 1
        picked = edit.node(
            "Conv", [conv.inputs[0], edit.constant(f"taps{p}", taps)], f"picked{p}",
            kernel_shape=[2, 2], strides=[2, 2], group=inputs,
        )  # fmt: skip
        part = edit.node("Conv", [picked, *conv.inputs[1:]], f"group{p}", kernel_shape=[1, 1])
        flat = edit.reshape(part, [1, channels, height * width // _GROUPS], f"flat{p}")
        rows.append(edit.node("Transpose", [flat], f"rows{p}", perm=[0, 2, 1]))
    tokens.replace_all_uses_with(edit.node("Concat", rows, "tokens", axis=1))


def _fold(edit: Editor, conv: ir.Node, result: ir.Value) -> None:
    assert conv.inputs[0] is not None
    _, channels, height, width = shape_of(conv.inputs[0])
    maps = []
    for p, part in enumerate(edit.split(result, [height * width // _GROUPS] * _GROUPS, "group")):
        turned = edit.node("Transpose", [part], f"turned{p}", perm=[0, 2, 1])
        maps.append(edit.reshape(turned, [1, channels, height // 2, width // 2], f"map{p}"))
    joined = edit.node("Concat", maps, "groups", axis=1)
    conv.replace_input_with(0, edit.node("DepthToSpace", [joined], "pixels", blocksize=2, mode="DCR"))


@dataclass
class _Attention:
    """Queries, keys, values ``[4, n, C]``, the softmax between them, the scale of its scores, and the result."""

    softmax: ir.Node
    operands: tuple[ir.Value, ir.Value, ir.Value]
    heads: int
    scale: ir.Node
    result: ir.Value


def _attention(softmax: ir.Node) -> _Attention:
    scale = softmax.inputs[0].producer() if softmax.inputs[0] is not None else None
    product = scale.inputs[0].producer() if scale is not None and scale.inputs[0] is not None else None
    second = next(iter(softmax.outputs[0].uses())).node
    after = second.outputs[0]
    while len(after.uses()) == 1 and (node := next(iter(after.uses())).node).op_type in _MOVES:
        after = node.outputs[0]
    known = product is not None and product.op_type == second.op_type == "MatMul"
    if not known or product is None or scale is None or scale.op_type not in {"Div", "Mul"}:
        raise GraphError("an attention of an unknown form", place=softmax.name)
    q, k = (source_of(value, _MOVES) for value in product.inputs)
    v = source_of(second.inputs[1], _MOVES)
    shapes = {shape_of(value) for value in (q, k, v, after) if value is not None}
    if q is None or k is None or v is None or len(shapes) != 1 or len(shape_of(q)) != 3:
        raise GraphError("an attention of an unknown form", place=softmax.name)
    return _Attention(softmax, (q, k, v), shape_of(second.outputs[0])[1], scale, after)


def _by_group(edit: Editor, found: _Attention) -> None:
    """The same attention for one group at a time, on ``[1, 4 n, C]``."""
    groups, tokens, channels = shape_of(found.operands[0])
    view = [1, tokens, found.heads, channels // found.heads]
    parts = [edit.split(value, [tokens] * groups, role) for value, role in zip(found.operands, "qkv", strict=True)]
    results = []
    for p, (q, k, v) in enumerate(zip(*parts, strict=True)):
        heads = [edit.reshape(value, view, f"{role}{p}.view") for value, role in ((q, "q"), (k, "k"), (v, "v"))]
        turns = zip(heads, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), "qkv", strict=True)
        q, k, v = (edit.node("Transpose", [x], f"{role}{p}.heads", perm=perm) for x, perm, role in turns)
        scores = edit.node("MatMul", [q, k], f"scores{p}")
        scaled = edit.node(found.scale.op_type, [scores, found.scale.inputs[1]], f"scaled{p}")
        weights = edit.node("Softmax", [scaled], f"weights{p}", axis=-1)
        context = edit.node("MatMul", [weights, v], f"context{p}")
        merged = edit.node("Transpose", [context], f"merged{p}", perm=[0, 2, 1, 3])
        results.append(edit.reshape(merged, [1, tokens, channels], f"rows{p}"))
    found.result.replace_all_uses_with(edit.node("Concat", results, "all", axis=1))
