"""Means of what layers read, so that a bias can take back what changed weights do to them.

Inputs behind a ReLU have one sign. The gradients of an output channel's weights then mostly share the sign of its mean
error: an optimizer that moves all of them alike, as Adam does, shifts the channel's mean by the sum over all inputs,
and by far more than was asked. With ``y = W (x - mean) + b`` a changed weight leaves the mean as it was, and the
gradient of ``W`` is without that common part. It softens a collapse of training that flips many codes at once, and
does not prevent it: what those flips do to the spread of a channel stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.tuning.program import Program, State, tensor_name
from n6convert.tuning.tensor import Tensor

__all__ = ["Center", "input_centers"]


@dataclass(frozen=True)
class Center:
    """The mean of a layer's input.

    Attributes:
        weight: name of the layer's dequantized weight.
        mean: broadcasts to the weight.
        channel: the weight's axis of output channels.
    """

    weight: str
    mean: Tensor
    channel: int

    def shift(self, changed: Tensor) -> Tensor:
        """What a change of the weight does to the mean of each output channel, in its own units.

        Args:
            changed: of the weight's shape.
        """
        return (changed * self.mean).transpose(0, self.channel).flatten(1).sum(1)


def input_centers(
    model: ir.Model, program: Program, state: State, samples: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, Center]:
    """Centers by the name of the dequantized bias, of convolutions and products that read a bias of their own.

    Args:
        model: what the program runs.
        state: its numbers.
        samples: what means are taken over.
    """
    layers = [*_layers(model.graph)]
    wanted = {tensor for tensor, _, _ in layers}
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for feeds in samples:
            for name, steps in program.run([feeds], state, keep=wanted).kept.items():
                sums[name] = sums.get(name, 0.0) + _channel_means(steps.values[0]) / len(samples)
    return {bias: _center(node, sums[tensor]) for tensor, bias, node in layers if tensor in sums}


def _layers(graph: ir.Graph) -> Iterator[tuple[str, str, ir.Node]]:
    """The tensor that is read, the bias and the layer, of layers with a bias of their own."""
    for node in graph:
        if node.op_type not in ("Conv", "Gemm") or len(node.inputs) < 3 or not _is_plain(node):
            continue
        entry, bias = node.inputs[0].producer() if node.inputs[0] is not None else None, node.inputs[2]
        if bias is None or len(bias.uses()) > 1 or entry is None or entry.op_type != "DequantizeLinear":
            continue
        if entry.inputs[1] is not None:
            yield tensor_name(entry.inputs[1].name or ""), bias.name or "", node


def _is_plain(node: ir.Node) -> bool:
    """Whether a product is ``x W + b``."""
    factors = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    return node.op_type == "Conv" or (not node.attributes.get_int("transA", 0) and all(f == 1 for f in factors))


def _channel_means(values: Tensor) -> Tensor:
    """Mean of each channel: axis 1."""
    return values.transpose(0, 1).flatten(1).mean(1)


def _center(node: ir.Node, mean: Tensor) -> Center:
    weight = node.inputs[1]
    stored = weight.producer() if weight is not None else None
    codes = stored.inputs[0] if stored is not None else None
    assert weight is not None and codes is not None and codes.shape is not None
    if node.op_type == "Gemm":
        last = node.attributes.get_int("transB", 0) == 1
        return Center(weight.name or "", mean[None] if last else mean[:, None], 0 if last else 1)
    groups, shape = node.attributes.get_int("group", 1), codes.shape.numpy()
    spread = mean.reshape(groups, -1).repeat_interleave(int(shape[0]) // groups, 0)
    return Center(weight.name or "", spread.reshape(*spread.shape, *[1] * (len(shape) - 2)), 0)
