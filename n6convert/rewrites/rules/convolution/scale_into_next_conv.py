"""``W (s x) + b = (s W) x + b``: a scalar factor in front of a convolution belongs into its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import channel_affine, conv_parameters, rebuild_conv
from n6convert.graph.query import Array, attribute, constant_of, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ScaleIntoNextConv"]


@dataclass
class _Scaled:
    conv: ir.Node
    x: ir.Value
    scale: Array
    shift: Array


class ScaleIntoNextConv(Rewrite[_Scaled]):
    """Fold per-channel scales (and, without padding, shifts) in front of a Conv into its weights."""

    name = "scale-into-next-conv"
    roots = frozenset({"Conv"})

    def pattern(self, node: ir.Node) -> _Scaled | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        maker = producer(x, "Mul", "Add", "Sub", "Div", "BatchNormalization")
        weight = constant_of(node.inputs[1])
        if maker is None or full is None or weight is None or attribute(node, "group", 1) != 1 or weight.ndim != 4:
            return None
        if len(node.inputs) > 2 and node.inputs[2] is not None and constant_of(node.inputs[2]) is None:
            return None
        affine = channel_affine(maker)
        if affine is None or shape_of(affine[0]) != full or _shared(maker):
            return None
        padded = any(attribute(node, "pads") or []) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        if padded and affine[2].any():
            return None
        return _Scaled(node, *affine)

    def replace(self, found: _Scaled, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        shifted = bias + np.tensordot(weight.sum(axis=(2, 3)), found.shift, axes=1)
        return [rebuild_conv(build, found.conv, weight * found.scale[None, :, None, None], shifted, found.x)]


def _shared(maker: ir.Node) -> bool:
    """True unless every reader is a Conv that can take the constants in as well."""
    value = maker.outputs[0]
    readers = list(value.consumers())
    return value.is_graph_output() or any(n.op_type != "Conv" or attribute(n, "group", 1) != 1 for n in readers)
