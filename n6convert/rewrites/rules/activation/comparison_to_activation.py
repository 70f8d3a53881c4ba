"""Activations that are spelled by comparisons, as what the NPU has: ``Where(x > c, x, 0) = ThresholdedRelu(x)``.

Greater, Less and Where are float work on the CPU ([#onnx-operators]). The operators between x and the result are read
as one piecewise function, whatever they are: Where, masks that are multiplied, And, Or, Not, Max, Min. With breaks
``c`` and pieces ``p`` it is ``p_0(x)`` plus, for every break, ``ds Relu(x - c)`` where the pieces meet and
``ds ThresholdedRelu(x + k)`` where they do not: Relu, Clip, LeakyRelu, PRelu, HardSigmoid, ThresholdedRelu, |x| and
steps. Squares only as ``x g(x)``: HardSwish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.comparison import Reader, compared
from n6convert.graph.patterns.piecewise import Break, Number, Piecewise, Poly, value_at
from n6convert.graph.query import Array, is_float, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ComparisonToActivation"]

_ROOTS = frozenset({"Where", "Mul", "Add", "Sub", "Cast", "Max", "Min", "Clip", "Div"})
_MOST_BREAKS = 4
_NO_FORM = "as a function of {x} it has a square that is no product with {x}"


@dataclass
class _Function:
    node: ir.Node
    x: ir.Value
    f: Piecewise


class ComparisonToActivation(Rewrite[_Function]):
    """Write functions that are spelled by comparisons as activations."""

    name = "comparison-to-activation"
    roots = _ROOTS

    def pattern(self, node: ir.Node) -> _Function | None:
        if not is_float(node.outputs[0]):
            return None
        found = _read(node)
        if found is None:
            return None
        readers = users(node.outputs[0])
        absorbed = readers and all(n.op_type in _ROOTS and _read(n, found.x) is not None for n in readers)
        return None if absorbed and not node.outputs[0].is_graph_output() else found

    def check(self, found: _Function, context: Context) -> str | None:
        if len(found.f.breaks) > _MOST_BREAKS:
            return f"the function has {len(found.f.breaks)} breaks, more than {_MOST_BREAKS}"
        if _divided(found.f) is None:
            return _NO_FORM.format(x=found.x.name)
        return None

    def replace(self, found: _Function, build: Builder, context: Context) -> Sequence[ir.Value]:
        plain = _divided(found.f)
        assert plain is not None
        result = _Writer(build, found.x).write(plain)
        return [result if plain is found.f else build.mul(found.x, result)]


def _read(node: ir.Node, x: ir.Value | None = None) -> _Function | None:
    """The node's result as a function of x, or of the nearest tensor of which it is one, by way of a comparison."""
    result = node.outputs[0]
    for source in compared(result) if x is None else [x]:
        reader = Reader(source)
        f = reader(result)
        if f is not None and reader.compares and is_float(source) and shape_of(source) == shape_of(result) is not None:
            return _Function(node, source, f)
    return None


def _divided(f: Piecewise) -> Piecewise | None:
    """f without squares, or f / x where that is without; None for other squares."""
    if all(len(p) <= 2 for p in f.pieces):
        return f
    if any(p and p[0].any() for p in f.pieces):
        return None
    return Piecewise(f.breaks, tuple(p[1:] for p in f.pieces)).simple()


class _Writer:
    """Writes a piecewise affine function of x."""

    def __init__(self, build: Builder, x: ir.Value) -> None:
        self.build, self.x = build, x

    def write(self, f: Piecewise) -> ir.Value:
        """The shortest of the forms that the function has."""
        return self._one_operator(f) or self._between_two(f) or self._sum(f)

    def _one_operator(self, f: Piecewise) -> ir.Value | None:
        """Relu, LeakyRelu, PRelu, Clip on one side or ThresholdedRelu."""
        if len(f.breaks) != 1:
            return None
        (low, high), at = f.pieces, _scalar(f.breaks[0].at)
        if at is None:
            return None
        if not f.continuous(0):
            alone = not low and _is_identity(high)
            return self.build.unary("ThresholdedRelu", self.x, alpha=_reached(at, f.breaks[0])) if alone else None
        if _is_identity(high) and len(low) < 2:
            return self.build.unary("Relu", self.x) if at == 0 else self.build.clip(self.x, at, None)
        if _is_identity(low) and len(high) < 2:
            return self.build.clip(self.x, None, at)
        if not _is_identity(high) or at != 0:
            return None
        slope = _scalar(low[1])
        if slope is not None and slope >= 0:
            return self.build.unary("LeakyRelu", self.x, alpha=slope)
        return None if slope is not None else self.build.binary("PRelu", self.x, low[1].astype(np.float32))

    def _between_two(self, f: Piecewise) -> ir.Value | None:
        """A Clip on both sides, or HardSigmoid."""
        ends = [_scalar(b.at) for b in f.breaks]
        flat = len(f.pieces) == 3 and len(f.pieces[0]) < 2 > len(f.pieces[2]) and len(f.pieces[1]) == 2
        if not flat or None in ends or not (f.continuous(0) and f.continuous(1)):
            return None
        shift, slope = (_scalar(c) for c in f.pieces[1])
        rises = not f.pieces[0] and f.pieces[2] and _scalar(f.pieces[2][0]) == 1
        if rises and shift is not None and slope is not None and slope > 0:
            return self.build.unary("HardSigmoid", self.x, alpha=slope, beta=shift)
        return self._affine(self.build.clip(self.x, *ends), f.pieces[1])

    def _sum(self, f: Piecewise) -> ir.Value:
        """The first piece, and what every break adds to the right of it."""
        terms, rest = [], f.pieces[0][0] if f.pieces[0] else np.zeros(())
        if len(f.pieces[0]) == 2:
            terms.append(self._affine(self.x, (np.zeros(()), f.pieces[0][1])))
        for index, found in enumerate(f.breaks):
            before, after = (_padded(p) for p in f.pieces[index : index + 2])
            terms += self._added(found, after[0] - before[0], after[1] - before[1], f.continuous(index))
        total = terms[0]
        for term in terms[1:]:
            total = self.build.add(total, term)
        return self.build.add(total, rest.astype(np.float32)) if rest.any() else total

    def _added(self, found: Break, shift: Number, slope: Number, meets: bool) -> list[ir.Value]:
        """``shift + slope x`` to the right of a break, zero to the left."""
        build, at = self.build, found.at
        if meets:
            return [self._affine(build.unary("Relu", self._shifted(-at)), (np.zeros(()), slope))]
        moved = _scalar(shift / slope) if slope.all() else None
        number = _scalar(at)
        if moved is not None and number is not None:
            x = self._shifted(np.asarray(moved))
            kept = build.unary("ThresholdedRelu", x, alpha=_reached(number + moved, found))
            return [self._affine(kept, (np.zeros(()), slope))]
        terms = [self._affine(self._step(found), (np.zeros(()), value_at((shift, slope), at)))]
        if slope.any():
            terms.append(self._affine(build.unary("Relu", self._shifted(-at)), (np.zeros(()), slope)))
        return terms

    def _step(self, found: Break) -> ir.Value:
        """1 to the right of a break, 0 to the left: ``[u > 0] = ThresholdedRelu(u + 1) - Relu(u)``, u clipped to 1."""
        u = self.build.clip(self._shifted(-found.at), -1.0, 1.0)
        risen = self.build.unary("ThresholdedRelu", self.build.add(u, 1.0), alpha=_reached(1.0, found))
        return self.build.sub(risen, self.build.unary("Relu", u))

    def _shifted(self, by: Number) -> ir.Value:
        return self.build.add(self.x, _plain(by)) if by.any() else self.x

    def _affine(self, x: ir.Value, poly: Poly) -> ir.Value:
        shift, slope = _padded(poly)
        x = x if (slope == 1).all() else self.build.mul(x, _plain(slope))
        return self.build.add(x, _plain(shift)) if shift.any() else x


def _padded(poly: Poly) -> Poly:
    return (*poly, np.zeros(()), np.zeros(()))[:2]


def _plain(values: Number) -> Array:
    number = _scalar(values)
    return values.astype(np.float32) if number is None else np.asarray(number, np.float32)


def _scalar(values: Number) -> float | None:
    """The number that an array holds everywhere."""
    flat = values.reshape(-1)
    return float(flat[0]) if (flat == flat[0]).all() else None


def _is_identity(poly: Poly) -> bool:
    return len(poly) == 2 and not poly[0].any() and bool((poly[1] == 1).all())


def _reached(at: float, found: Break) -> float:
    """The threshold above which ThresholdedRelu begins: just below a place that belongs to the right itself."""
    return float(np.nextafter(np.float32(at), np.float32(-np.inf))) if found.right else at
