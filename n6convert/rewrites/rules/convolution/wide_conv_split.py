"""A Conv of more than 512 outputs as a Concat of equal parts, each with at most 512.

Above 512 the per-channel vectors are streamed from flash once for every column of the map ([#wide-layers]), which
makes these epochs 1.6 to 2.5 times as long. A Concat of equal parts is a DMA copy, but every part waits once for its
first weights and what followed the Conv in its epoch follows the Concat in another. Whether it pays differs from place
to place and is decided for each kind of place by the predicted time of the whole graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import conv_parameters, rebuild_conv
from n6convert.graph.query import attribute, constant_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["WideConvSplit"]

_VECTORS, _MAX_PARTS = 512, 7
_PARTS, _WHOLE = _FORMS = "parts", "whole"


@dataclass
class _Wide:
    conv: ir.Node
    channels: int
    kind: str

    @property
    def parts(self) -> int:
        """The fewest equal parts of at most 512 channels; 0 when there are none."""
        return next(
            (n for n in range(2, _MAX_PARTS + 1) if self.channels % n == 0 and self.channels <= n * _VECTORS), 0
        )


class WideConvSplit(Rewrite[_Wide]):
    """Split convolutions of more than 512 outputs into equal parts."""

    name = "wide-conv-split"
    roots = frozenset({"Conv"})
    late = True

    def pattern(self, node: ir.Node) -> _Wide | None:
        full = shape_of(node.outputs[0])
        constant = all(constant_of(v) is not None for v in node.inputs[1:])
        if full is None or len(full) != 4 or full[1] <= _VECTORS or not constant or attribute(node, "group", 1) != 1:
            return None
        _, channels, *kernel = shape_of(node.inputs[1]) or (0, 0)
        sizes = ["x".join(map(str, pair)) for pair in (kernel, full[2:])]
        return _Wide(node, full[1], f"{channels} to {full[1]} channels, kernel {sizes[0]}, map {sizes[1]}")

    def check(self, found: _Wide, context: Context) -> str | None:
        if not found.parts:
            return f"{found.channels} channels have no equal parts of at most {_VECTORS}"
        whole = context.chosen(self.name, found.kind, _FORMS) == _WHOLE
        return "the whole graph is predicted faster with this convolution in one piece" if whole else None

    def options(self, found: _Wide, context: Context) -> Mapping[str, Sequence[str]]:
        return {found.kind: _FORMS}

    def replace(self, found: _Wide, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        step = found.channels // found.parts
        cuts = [slice(i * step, (i + 1) * step) for i in range(found.parts)]
        return [build.concat([rebuild_conv(build, found.conv, weight[c], bias[c]) for c in cuts], axis=1)]
