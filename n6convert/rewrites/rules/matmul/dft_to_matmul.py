"""``DFT`` as a product with the matrix of the transform.

A signal of N samples with c parts (1 real, 2 complex) is a vector of N c numbers; K complex bins are 2 K sums of them.
ST's import knows no DFT ([#onnx-operators]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.spectrum import fourier_matrix
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.pointwise_forms import product_along
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DftToMatMul"]

#: numbers of a matrix: 16 MiB as INT8
_LARGEST = 1 << 24


@dataclass
class _Dft:
    x: ir.Value
    axis: int
    length: int
    result: tuple[int, ...]
    inverse: bool

    @property
    def numbers(self) -> int:
        return self.length * self.result[self.axis] * 4


class DftToMatMul(Rewrite[_Dft]):
    """Write DFT of a known length as MatMul."""

    name = "dft-to-matmul"
    roots = frozenset({"DFT"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Dft | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or not is_float(x) or len(full) < 2 or full[-1] not in (1, 2):
            return None
        length, axis = (node.inputs[i] if len(node.inputs) > i else None for i in (1, 2))
        if any(v is not None and constant_of(v) is None for v in (length, axis)):
            return None
        along = _number(axis, attribute(node, "axis", -2 if _axis_is_input(node) else 1)) % len(full)
        return _Dft(x, along, _number(length, full[along]), result, bool(attribute(node, "inverse", 0)))

    def check(self, found: _Dft, context: Context) -> str | None:
        if found.inverse and found.result[found.axis] != found.length:
            return "it is the inverse of one half of a spectrum"
        return "its matrix would be larger than 16 MiB" if found.numbers > _LARGEST else None

    def replace(self, found: _Dft, build: Builder, context: Context) -> Sequence[ir.Value]:
        full = shape_of(found.x) or ()
        axis, parts, bins = found.axis, full[-1], found.result[found.axis]
        used = min(full[axis], found.length)  # a longer signal is cut, a shorter one goes on with zeros
        x = found.x if used == full[axis] else build.slice(found.x, axis, 0, used)
        matrix = fourier_matrix(found.length, parts, bins, inverse=found.inverse)[:used]
        return [product_along(build, x, [axis, len(full) - 1], matrix.reshape(used * parts, bins * 2), [bins, 2])]


def _number(value: ir.Value | None, default: int) -> int:
    given = None if value is None else constant_of(value)
    return default if given is None else int(given.ravel()[0])


def _axis_is_input(node: ir.Node) -> bool:
    """From opset 20 on the axis is an input, and counts from the end where it is left out."""
    return isinstance(node.graph, ir.Graph) and node.graph.opset_imports.get("", 0) >= 20
