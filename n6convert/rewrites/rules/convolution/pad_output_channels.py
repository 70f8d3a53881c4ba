"""An awkward number of outputs is computed rounded up, and the surplus cut off: ``Conv = Slice(Conv of more rows)``.

For channels that leave the graph or meet something else than convolutions, where ``pad_channels.py``
cannot add any. A Slice of leading channels is one contiguous copy. Done where that is predicted faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.channels import GROUPS, followed_channels
from n6convert.graph.patterns.conv import PlainConv, read_conv
from n6convert.graph.query import shape_of
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PadOutputChannels"]


@dataclass
class _Head:
    x: ir.Value
    conv: PlainConv

    @property
    def count(self) -> int:
        return int(self.conv.weight.shape[0])


class PadOutputChannels(Rewrite[_Head]):
    """Compute an awkward number of output channels rounded up and cut the surplus off."""

    name = "pad-output-channels"
    roots = frozenset({"Conv"})
    late = True

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], dict[int, float]] = {}

    def pattern(self, node: ir.Node) -> _Head | None:
        x, conv = node.inputs[0], read_conv(node)
        if x is None or shape_of(x) is None or conv is None:
            return None
        rows = conv.weight.shape[0]
        if rows < GROUPS[0] or rows % GROUPS[0] == 0:
            return None
        return None if followed_channels(node) is not None else _Head(x, conv)

    def check(self, found: _Head, context: Context) -> str | None:
        times = self._weighed(found, context)
        best = self._best(times)
        if best == found.count:
            return f"{best} channels are predicted fastest as they are: {_said(times)}"
        return None

    def because(self, found: _Head, context: Context) -> str:
        times = self._weighed(found, context)
        return f"{self._best(times)} rows alone: {_said(times)}"

    def replace(self, found: _Head, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [_write(build, found.x, found, self._best(self._weighed(found, context)))]

    def _best(self, times: dict[int, float]) -> int:
        return min(times, key=times.__getitem__)

    def _weighed(self, found: _Head, context: Context) -> dict[int, float]:
        full = shape_of(found.x) or ()
        key = (full, found.conv.weight.shape, *found.conv.strides, *found.conv.pads)
        if key not in self._times:
            counts = [found.count, *(-(-found.count // g) * g for g in GROUPS)]
            self._times[key] = {
                n: isolated_latency(context, [full], lambda build, x, n=n: _write(build, x, found, n)) for n in counts
            }
        return self._times[key]


def _said(times: dict[int, float]) -> str:
    return ", ".join(f"{count} {time:.3f} ms" for count, time in times.items())


def _write(build: Builder, x: ir.Value, found: _Head, rows: int) -> ir.Value:
    more = rows - found.count
    wide = PlainConv(
        np.pad(found.conv.weight, ((0, more), (0, 0), (0, 0), (0, 0))), np.pad(found.conv.bias, (0, more)),
        found.conv.strides, found.conv.pads,
    )  # fmt: skip
    y = wide.write(build, x)
    return y if more == 0 else build.slice(y, 1, 0, found.count)
