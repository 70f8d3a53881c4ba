"""Patches without permuting tensors of rank 5, or two inner axes (SPEC c.4: SW or hybrid, and 4.x crashes on rank 5).

A pixel at (2y + a, 2x + b) belongs to group p = 2a + b; attention runs within each group. The exporter writes the way
there as ``[C h/2, 2, w/2, 2]`` with a (0,2,1,3) transpose, and back again. Here:

* there: the 1x1 convolution before it becomes one of 2x2 with stride 2 and 4 C outputs ``(p, C)``, the weights of group
  p at its own tap, zeros elsewhere; ``(p, C, n)`` to ``(p, n, C)`` is then a transpose of two axes;
* back: the same transpose, and DepthToSpace (mode DCR), whose channels are ordered ``(p, C)``.

Both are exact: every value is computed from the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from n6convert.builtin.static import settle_shapes
from n6convert.errors import GraphError

__all__ = ["write_patches"]

_MOVES = ("Reshape", "Transpose")


@dataclass
class _Block:
    """A transformer between unfolding and folding: ``[1, C, h, w]`` to ``[4, n, C]`` and back."""

    conv: ir.Node
    tokens: ir.Value
    result: ir.Value
    folded: ir.Value


def write_patches(model: ir.Model) -> ir.Model:
    """Rewrite every unfolding and folding of the exported graph, in place; shapes are settled on the way.

    Raises:
        GraphError: the graph holds none, so it is not what the exporter is known to write.
    """
    settle_shapes(model)
    blocks = list(_blocks(model))
    if not blocks:
        raise GraphError("the exported MobileViT holds no patches in the known form")
    for block in blocks:
        _unfold(model, block)
        _fold(model, block)
    common.RemoveUnusedNodesPass()(model)
    settle_shapes(model)
    return model


def _blocks(model: ir.Model) -> Iterator[_Block]:
    """Each 1x1 convolution that is unfolded, with the end of the moves, paired with the folding that follows."""
    convs = [node for node in model.graph if node.op_type == "Conv"]
    unfolds = [pair for pair in map(_unfolding, convs) if pair is not None]
    folds = [pair for pair in map(_folding, convs) if pair is not None]
    if len(unfolds) != len(folds):
        raise GraphError("patches are taken apart and put together again in unknown ways",
                         found=f"{len(unfolds)} and {len(folds)}")  # fmt: skip
    for (conv, tokens), (result, folded) in zip(unfolds, folds, strict=True):
        yield _Block(conv, tokens, result, folded)


def _unfolding(conv: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """(convolution, tokens ``[4, n, C]``) when the convolution's only readers are the moves of an unfolding."""
    value = conv.outputs[0]
    while len(value.uses()) == 1 and (node := next(iter(value.uses())).node).op_type in _MOVES:
        value = node.outputs[0]
    shape, channels = _shape(value), _shape(conv.outputs[0])
    fits = len(shape) == 3 and shape[0] == 4 and len(channels) == 4 and shape[2] == channels[1]
    return (conv, value) if fits and value is not conv.outputs[0] else None


def _folding(conv: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(tokens ``[4, n, C]``, folded map) when a convolution reads the end of a folding."""
    folded = conv.inputs[0]
    value = folded
    while value is not None and (node := value.producer()) is not None and node.op_type in _MOVES:
        value = node.inputs[0]
    if folded is None or value is None or value is folded:
        return None
    shape, target = _shape(value), _shape(folded)
    return (value, folded) if len(shape) == 3 and shape[0] == 4 and shape[2] == target[1] else None


def _unfold(model: ir.Model, block: _Block) -> None:
    _, channels, height, width = _shape(block.conv.outputs[0])
    weight = ir.convenience.get_const_tensor(block.conv.inputs[1])  # type: ignore[arg-type]
    numbers = None if weight is None else np.asarray(weight.numpy(), np.float32)
    if numbers is None or numbers.shape[2:] != (1, 1):
        raise GraphError("patches are expected behind a 1x1 convolution", place=block.conv.name)
    taps = np.zeros((4, channels, numbers.shape[1], 2, 2), np.float32)
    for p in range(4):
        taps[p, :, :, p // 2, p % 2] = numbers[:, :, 0, 0]
    inputs = [block.conv.inputs[0], _constant(model, f"{block.conv.name}.taps", taps.reshape(-1, *taps.shape[2:]))]
    if len(block.conv.inputs) > 2 and block.conv.inputs[2] is not None:
        bias = ir.convenience.get_const_tensor(block.conv.inputs[2])
        assert bias is not None
        inputs.append(_constant(model, f"{block.conv.name}.biases", np.tile(bias.numpy(), 4)))
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    groups = _node(model, block.conv, "Conv", inputs, attributes, "groups")
    seen = _reshape(model, block.conv, groups, [4, channels, height * width // 4], "split")
    swapped = _node(model, block.conv, "Transpose", [seen], {"perm": [0, 2, 1]}, "tokens")
    block.tokens.replace_all_uses_with(swapped, replace_graph_outputs=True)


def _fold(model: ir.Model, block: _Block) -> None:
    _, channels, height, width = _shape(block.folded)
    anchor = block.folded.producer()
    assert anchor is not None
    swapped = _node(model, anchor, "Transpose", [block.result], {"perm": [0, 2, 1]}, "groups")
    seen = _reshape(model, anchor, swapped, [1, 4 * channels, height // 2, width // 2], "joined")
    attributes = {"blocksize": 2, "mode": "DCR"}
    whole = _node(model, anchor, "DepthToSpace", [seen], attributes, "pixels")
    block.folded.replace_all_uses_with(whole)


def _node(
    model: ir.Model, anchor: ir.Node, kind: str, inputs: list[ir.Value | None], attributes: Mapping[str, Any], role: str
) -> ir.Value:
    """A node behind an existing one; named after it."""
    name = f"{anchor.name}.{role}"
    output = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node(kind, inputs, attributes, outputs=[output], name=name)
    last = anchor.meta.get("last", anchor)
    model.graph.insert_after(last, node)
    anchor.meta["last"] = node
    return output


def _reshape(model: ir.Model, anchor: ir.Node, value: ir.Value, shape: list[int], role: str) -> ir.Value:
    target = _constant(model, f"{anchor.name}.{role}.shape", np.array(shape, np.int64))
    return _node(model, anchor, "Reshape", [value, target], {}, role)


def _constant(model: ir.Model, name: str, array: NDArray[Any]) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
    model.graph.register_initializer(value)
    return value


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(d for d in value.shape or () if isinstance(d, int))
