"""A per-channel constant behind a convolution belongs into it: ``s * (W x + b) + t = (s W) x + (s b + t)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import channel_affine, conv_parameters, rebuild_conv, scaled_outputs
from n6convert.graph.query import Array, constant_of, producer, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FoldIntoConv"]


@dataclass
class _Affine:
    conv: ir.Node
    scale: Array
    shift: Array


class FoldIntoConv(Rewrite[_Affine]):
    """Fold Mul, Div, Add, Sub and BatchNormalization with per-channel constants into the Conv in front."""

    name = "fold-into-conv"
    roots = frozenset({"Mul", "Div", "Add", "Sub", "BatchNormalization"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Affine | None:
        affine = channel_affine(node)
        if affine is None:
            return None
        conv = producer(affine[0], "Conv")
        if conv is None or constant_of(conv.inputs[1]) is None or not single_use(affine[0]):
            return None
        if len(conv.inputs) > 2 and conv.inputs[2] is not None and constant_of(conv.inputs[2]) is None:
            return None
        return _Affine(conv, affine[1], affine[2])

    def replace(self, found: _Affine, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        scaled = scaled_outputs(found.conv, weight, found.scale)
        return [rebuild_conv(build, found.conv, scaled, bias * found.scale + found.shift)]
