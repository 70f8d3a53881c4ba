"""``Einsum`` as what it says: sums over labels, transposes, and one product for two operands at a time.

Labels of both operands and of the result are the batch, those of both alone are summed in the product:
``[batch, m, k] @ [batch, k, n]``. Without labels of their own on either side it is a Mul and a sum, without summed
labels a Mul of operands that are repeated. ST's import crashes on Einsum ([#import-21]).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["EinsumToMatMul"]


@dataclass
class _Einsum:
    node: ir.Node
    terms: list[str]
    result: str
    sizes: dict[str, int]
    reason: str | None = None


@dataclass(frozen=True)
class _Term:
    """A tensor with a label for every axis."""

    value: ir.Value
    labels: str


class EinsumToMatMul(Rewrite[_Einsum]):
    """Write Einsum as MatMul, Mul and ReduceSum between Transposes and Reshapes."""

    name = "einsum-to-matmul"
    roots = frozenset({"Einsum"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Einsum | None:
        shapes = [shape_of(v) for v in node.inputs]
        if None in shapes or shape_of(node.outputs[0]) is None or not all(is_float(v) for v in node.inputs):
            return None
        left, arrow, result = "".join(attribute(node, "equation").split()).partition("->")
        terms = left.split(",")
        counts = {label: left.count(label) for label in sorted(set(left) - {","})}
        result = result if arrow else "".join(label for label, count in counts.items() if count == 1)
        if "." in left or any(len(set(term)) < len(term) for term in terms):
            what = "an ellipsis" if "." in left else "a label twice in one operand (a diagonal)"
            return _Einsum(node, terms, result, {}, f"its equation {left}->{result} has {what}")
        known = zip(terms, shapes, strict=True)
        sizes = {label: size for term, full in known for label, size in zip(term, full or (), strict=True)}
        return _Einsum(node, terms, result, sizes)

    def check(self, found: _Einsum, context: Context) -> str | None:
        return found.reason

    def replace(self, found: _Einsum, build: Builder, context: Context) -> Sequence[ir.Value]:
        writer = _Writer(build, found.sizes)
        terms = [_Term(v, t) for v, t in zip(found.node.inputs, found.terms, strict=True) if v is not None]
        total = terms[0]
        for index, term in enumerate(terms[1:], start=2):
            total = writer.product(total, term, {*found.result, *(c for t in terms[index:] for c in t.labels)})
        result = writer.arranged(writer.summed(total, set(found.result)), found.result)
        if constant_of(result) is not None or result is found.node.inputs[0]:
            result = build.unary("Identity", result)
        return [result]


@dataclass
class _Writer:
    build: Builder
    sizes: Mapping[str, int]

    def product(self, a: _Term, b: _Term, wanted: set[str]) -> _Term:
        """Two terms as one; labels that neither the result nor another term has are summed."""
        a, b = self.summed(a, {*wanted, *b.labels}), self.summed(b, {*wanted, *a.labels})
        if constant_of(a.value) is not None:
            a, b = b, a
        common = [c for c in a.labels if c in b.labels]
        summed = [c for c in common if c not in wanted and self.sizes[c] > 1]
        batch = [c for c in common if c in wanted and self.sizes[c] > 1]
        rows, columns = ([c for c in t.labels if c not in (*summed, *batch)] for t in (a, b))
        columns = [c for c in columns if c not in rows]
        if not batch and len(summed) == len(columns) == 1 and (mixed := self._mixed(a, b, summed[0], columns[0])):
            return mixed
        if summed and math.prod(self.sizes[c] for c in (*rows, *columns)) > 1:
            return self._matmul(a, b, batch, rows, summed, columns)
        kept = [*batch, *rows, *columns]
        return self.summed(self._mul(a, b, [*kept, *summed]), set(kept))

    def _mixed(self, a: _Term, b: _Term, before: str, after: str) -> _Term | None:
        """A constant matrix over the channels of a map: a 1x1 Conv."""
        weight = constant_of(b.value)
        if weight is None or len(a.labels) != 4 or a.labels[1] != before or self.sizes[a.labels[0]] != 1:
            return None
        matrix = weight.reshape([self.sizes[c] for c in b.labels if c in (before, after)])
        matrix = matrix if b.labels.index(after) < b.labels.index(before) else matrix.T
        return _Term(self.build.pointwise(a.value, matrix), a.labels.replace(before, after))

    def summed(self, term: _Term, wanted: set[str]) -> _Term:
        """Without the labels that nobody wants any more."""
        axes = [i for i, c in enumerate(term.labels) if c not in wanted]
        kept = "".join(c for c in term.labels if c in wanted)
        if not axes:
            return term
        data = constant_of(term.value)
        if data is not None:
            return _Term(self.build.constant(data.sum(axis=tuple(axes))), kept)
        if any(self.sizes[term.labels[i]] > 1 for i in axes):
            to, given = [self.sizes[c] for c in kept], self.build.constant(axes, np.int64)
            return _Term(self.build.node("ReduceSum", [term.value, given], [to], keepdims=0)[0], kept)
        return _Term(self._seen(term, kept), kept)

    def arranged(self, term: _Term, labels: Sequence[str]) -> ir.Value:
        """The term with its axes in an order."""
        return self.build.transpose(term.value, [term.labels.index(c) for c in labels])

    def _matmul(
        self, a: _Term, b: _Term, batch: list[str], rows: list[str], summed: list[str], columns: list[str]
    ) -> _Term:
        build = self.build
        count, m, k, n = (math.prod(self.sizes[c] for c in group) for group in (batch, rows, summed, columns))
        left = build.reshape(self._ordered(a, [*batch, *rows, *summed]), [count, m, k])
        flat = constant_of(b.value) is not None and count == 1
        right = build.reshape(self._ordered(b, [*batch, *summed, *columns]), [k, n] if flat else [count, k, n])
        product = build.node("MatMul", [left, right], [[count, m, n]])[0]
        labels = "".join((*batch, *rows, *columns))
        return _Term(build.reshape(product, [self.sizes[c] for c in labels]), labels)

    def _mul(self, a: _Term, b: _Term, labels: list[str]) -> _Term:
        """The elementwise product, each operand repeated along the labels that only the other one has."""
        aligned = []
        for term in (a, b):
            own = [c for c in labels if c in term.labels]
            to = [self.sizes[c] if c in own else 1 for c in labels]
            aligned.append(self.build.reshape(self._ordered(term, own), to))
        return _Term(self.build.mul(*aligned), "".join(labels))

    def _ordered(self, term: _Term, labels: list[str]) -> ir.Value:
        """The term's axes in an order; those of length 1 that are not named are dropped."""
        kept = "".join(c for c in term.labels if c in labels)
        return self.arranged(_Term(self._seen(term, kept), kept), labels)

    def _seen(self, term: _Term, labels: str) -> ir.Value:
        """Without other axes than these, all of length 1."""
        return self.build.reshape(term.value, [self.sizes[c] for c in labels])
