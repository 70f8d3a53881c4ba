"""Linear attention whose sums of weights span too much for int8, with weights that are normalized first.

For queries q, keys k (both not negative), values v, heads' features i, and any positive numbers a and r, which cancel::

    sum_i q_ni M_ij / sum_i q_ni s_i                M = k^T v,  s = k^T 1
      = sum_i p_ni N_ij / sum_i p_ni t_i            N = a M,  t = a s,  p = r q / a

Trained keys and queries make s span decades from feature to feature and the sums of weights from token to token: on a
linear int8 grid most of them are a few codes, and zeros meet the reciprocal. With ``a = 1 / (mean(k) + e)`` for each
feature and ``r = 1 / (sum_i q_ni / a_i + e)`` for each token, N are means of values, t and the new sums are about 1, p
are shares. Coarse a and r do no harm, because numerator and denominator see the same ones; e bounds what they span.
Weights that are there as a matrix (``w v / sum(w)``, attention by Relu) get the second half of it. Exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.query import constant_of, is_float, producer, scalar_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["NormalizedAttention"]

Array = NDArray[np.float64]
#: what takes the mean over the features of each token
_MeanOf = Callable[[Builder, ir.Value], ir.Value]
#: the largest of the means of keys and of queries that are inverted is so many times e: the least inverse is one of so
#: many parts of the largest, and where it is a few steps of its grid, shares that are too large by a third saturate
_FEATURES = 16.0
#: the same for means of weights: more where tokens lie so far below others that they would be lost
_WEIGHTS = (32.0, 128.0)
#: mean relative error of denominators on one int8 grid that is left alone
_FINE = 0.005
#: share of their median by which denominators may differ from the sums of weights
_SAME = 1e-3
#: share of the usual sum of shares below which a token has no weights: its quotient is zero, not 0/0
_NOTHING = 1 / 64
#: by how much a token's weights may lie below those that the first mean still brings near the others
_LOW = 1 / 256


@dataclass(frozen=True)
class _Attention:
    """``w @ v / total`` by rows, or, with keys, ``q @ (k @ v) / total``; turned: transposed, as maps of channels."""

    queries: ir.Value
    keys: ir.Value | None
    values: ir.Value
    total: ir.Value
    turned: bool = False


@dataclass(frozen=True)
class _Seen:
    """Arrays of one sample by rows: queries [.., n, d], keys [.., d, m], values [.., m, e], totals [.., n, 1]."""

    queries: Array
    keys: Array | None
    values: Array
    total: Array

    @property
    def sums(self) -> Array:
        """The weights' sums [.., n, 1]."""
        if self.keys is None:
            return np.asarray(self.queries.sum(-1, keepdims=True))
        return np.asarray(self.queries @ self.keys.sum(-1, keepdims=True))

    @property
    def least(self) -> float:
        """The smallest weight."""
        return min(float(a.min()) for a in (self.queries, self.keys) if a is not None)


class NormalizedAttention(Rewrite[_Attention]):
    """Normalize the weights of a sum before it is taken, where int8 denominators are too coarse."""

    name = "normalized-attention"
    roots = frozenset({"Div", "Mul"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Attention | None:
        for product, total in _quotients(node):
            found = _by_rows(product, total) or _by_columns(product, total)
            if (
                found is not None
                and not _is_normalized(found)
                and all(is_float(v) for v in (found.queries, found.values, found.total))
            ):
                return found
        return None

    def check(self, found: _Attention, context: Context) -> str | None:
        seen = _observe(found, context)
        if not seen:
            return "how far its denominators span is not known without samples"
        if min(s.least for s in seen) < 0:
            return "weights of both signs: nothing says that their sums stay on one side of zero"
        if _factor(seen) is None:
            return "the denominators are not the sums of its weights"
        error = _coarseness(seen)
        return f"as INT8 its denominators are off by {error:.1%} only" if error <= _FINE else None

    def because(self, found: _Attention, context: Context) -> str:
        error = _coarseness(_observe(found, context))
        return f"as INT8 the denominators would be off by {error:.0%} on average"

    def replace(self, found: _Attention, build: Builder, context: Context) -> Sequence[ir.Value]:
        seen = _observe(found, context)
        k, v = (x if x is None else _rows(build, found, x) for x in (found.keys, found.values))
        maps = found.turned and k is not None and math.prod((shape_of(found.queries) or ())[:-3]) == 1
        q = found.queries if maps else _rows(build, found, found.queries)
        assert v is not None
        shares, values, sums = _matrix(build, q, v, seen) if k is None else _linear(build, q, k, v, seen, maps)
        total = build.clip(_product(build, shares, sums), _usual(found) * _NOTHING, None)
        quotient = build.binary("Div", _product(build, shares, values), total)
        factor = _factor(seen) or 1.0
        return [_rows(build, found, quotient if abs(factor - 1) < _SAME else build.mul(quotient, 1 / factor))]


def _quotients(node: ir.Node) -> Iterator[tuple[ir.Node, ir.Value]]:
    """(MatMul, divisor) of ``(x @ y) / d`` and ``(x @ y) * (1 / d)``."""
    a, b = node.inputs
    pairs = [(a, b)] if node.op_type == "Div" else [(a, _divisor(b)), (b, _divisor(a))]
    for numerator, divisor in pairs:
        product = producer(numerator, "MatMul")
        if product is not None and divisor is not None and constant_of(divisor) is None:
            yield product, divisor


def _divisor(value: ir.Value | None) -> ir.Value | None:
    """d, when the value is 1 / d."""
    node = producer(value, "Reciprocal", "Div")
    if node is None or (node.op_type == "Div" and scalar_of(node.inputs[0]) != 1.0):
        return None
    return node.inputs[-1]


def _usual(found: _Attention) -> int:
    """The sum of a token's shares as they are normalized: the number of its weights, by keys times that of these."""
    last = -2 if found.turned else -1
    features = (shape_of(found.queries) or ())[last]
    return features * ((shape_of(found.keys) or ())[last] if found.keys is not None else 1)


def _is_normalized(found: _Attention) -> bool:
    """Whether the denominators are what this rule makes of others."""
    bounded = producer(found.total, "Clip")
    return bounded is not None and scalar_of(bounded.inputs[1]) == np.float32(_usual(found) * _NOTHING)


def _by_rows(product: ir.Node, total: ir.Value) -> _Attention | None:
    """Every row of the product divided by one number."""
    left, right = product.inputs
    full, small = shape_of(product.outputs[0]), shape_of(total)
    if full is None or small != (*full[:-1], 1) or not _alike(product.inputs, full):
        return None
    assert left is not None and right is not None
    inner = producer(right, "MatMul")
    if inner is None or not _alike(inner.inputs, shape_of(right) or ()):
        return _Attention(left, None, right, total)
    return _Attention(left, inner.inputs[0], inner.inputs[1], total)  # type: ignore[arg-type]


def _by_columns(product: ir.Node, total: ir.Value) -> _Attention | None:
    """The same transposed: ``(v k) q`` with every column divided by one number."""
    left, right = product.inputs
    full, small = shape_of(product.outputs[0]), shape_of(total)
    if full is None or len(full) < 2 or small != (*full[:-2], 1, full[-1]) or not _alike(product.inputs, full):
        return None
    assert left is not None and right is not None
    inner = producer(left, "MatMul")
    if inner is None or not _alike(inner.inputs, shape_of(left) or ()):
        return _Attention(right, None, left, total, True)
    return _Attention(right, inner.inputs[1], inner.inputs[0], total, True)  # type: ignore[arg-type]


def _alike(operands: Sequence[ir.Value | None], full: Sequence[int]) -> bool:
    """Two activations of the result's rank and leading axes."""
    shapes = [shape_of(v) for v in operands]
    same = all(s is not None and len(s) == len(full) and s[:-2] == tuple(full[:-2]) for s in shapes)
    return same and len(full) >= 2 and all(constant_of(v) is None for v in operands)


def _observe(found: _Attention, context: Context) -> list[_Seen]:
    operands = [v for v in (found.queries, found.keys, found.values) if v is not None]
    totals = context.values(found.total, *operands)

    def arrays(value: ir.Value | None) -> list[Array | None]:
        if value is None:
            return [None] * len(totals)
        turned = (a.astype(np.float64) for a in context.values(value))
        return [a.swapaxes(-1, -2) if found.turned else a for a in turned]

    parts = zip(*(arrays(v) for v in (found.queries, found.keys, found.values, found.total)), strict=True)
    return [_Seen(*part) for part in parts]


def _factor(seen: Sequence[_Seen]) -> float | None:
    """What the denominators are, in sums of weights; None when they are something else."""
    total = np.concatenate([s.total.reshape(-1) for s in seen])
    sums = np.concatenate([s.sums.reshape(-1) for s in seen])
    factor = float(total @ sums / max(sums @ sums, 1e-300))
    same = np.abs(total - factor * sums).max() <= _SAME * np.median(np.abs(total))
    return factor if factor > 0 and same else None


def _coarseness(seen: Sequence[_Seen]) -> float:
    """Mean relative error of the denominators on one int8 grid; a zero is off by all."""
    totals = np.concatenate([s.total.reshape(-1) for s in seen])
    step = totals.max() / 255
    return float(np.mean(np.abs(np.rint(totals / step) * step / np.maximum(totals, 1e-300) - 1)))


def _matrix(build: Builder, w: ir.Value, v: ir.Value, seen: Sequence[_Seen]) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Shares, values, and a column that sums shares up, for weights that are there as a matrix."""
    ones = build.constant(np.ones((*(shape_of(v) or ())[:-1], 1)))
    return _shares(build, w, _floor([s.queries for s in seen]), Builder.mean_last), v, ones


def _linear(
    build: Builder, q: ir.Value, k: ir.Value, v: ir.Value, seen: Sequence[_Seen], maps: bool
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Shares p, means of values N and sums t for keys and queries, these by rows or as maps."""
    pairs = [(s.queries, s.keys) for s in seen if s.keys is not None]
    of_keys, of_queries = _largest(k for _, k in pairs) / _FEATURES, _largest(q for q, _ in pairs) / _FEATURES
    usual = build.add(build.mean_last(k), of_keys)
    k = build.mul(k, build.unary("Reciprocal", usual))
    mean = _mean_of_maps if maps else Builder.mean_last
    full = shape_of(usual) or ()
    features = full if maps else (*full[:-2], 1, full[-2])
    queries = build.mul(q, _one_over(build, mean(build, q), of_queries))
    weights = build.mul(queries, build.reshape(usual, features))
    known = [q / (_mean(q) + of_queries) * (_mean(k) + of_keys).swapaxes(-1, -2) for q, k in pairs]
    means = build.mean_last(k)
    shares = _shares(build, weights, _floor(known), mean, build.reshape(means, features))
    sums = build.mul(means, float((shape_of(k) or ())[-1]))
    return _swapped(build, shares) if maps else shares, _product(build, k, v), sums


def _mean_of_maps(build: Builder, x: ir.Value) -> ir.Value:
    """The mean over the channels of a head, [.., d, n] to [.., 1, n], as a 1x1 convolution: pools reduce last axes."""
    *before, size, tokens = shape_of(x) or ()
    heads = math.prod(before)
    weight = np.kron(np.eye(heads), np.full((1, size), 1 / size))[..., None, None]
    y = build.conv(build.reshape(x, [1, heads * size, 1, tokens]), weight)
    return build.reshape(y, [*before, 1, tokens])


def _shares(build: Builder, weights: ir.Value, floor: float, mean: _MeanOf, sums: ir.Value | None = None) -> ir.Value:
    """Weights of a token over their mean, then over the mean of what they weigh: tokens far below others are seen."""
    shares = build.mul(weights, _one_over(build, mean(build, weights), floor))
    weighed = shares if sums is None else build.mul(shares, sums)
    return build.mul(shares, _one_over(build, mean(build, weighed), _NOTHING))


def _one_over(build: Builder, x: ir.Value, floor: float) -> ir.Value:
    return build.unary("Reciprocal", build.add(x, floor))


def _mean(x: Array) -> Array:
    return np.asarray(x.mean(-1, keepdims=True))


def _largest(arrays: Iterable[Array]) -> float:
    """The largest mean of a row."""
    return max(float(_mean(a).max()) for a in arrays)


def _floor(weights: Sequence[Array]) -> float:
    """What is added to means of weights before they are inverted: no more than lets the lowest tokens be seen."""
    means = np.concatenate([_mean(w).reshape(-1) for w in weights])
    largest = float(means.max())
    parts = largest * _LOW / float(means.min(where=means > 0, initial=largest))
    return largest / min(max(parts, _WEIGHTS[0]), _WEIGHTS[1])


def _product(build: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    a, b = shape_of(x) or (), shape_of(y) or ()
    return build.node("MatMul", [x, y], [[*a[:-1], b[-1]]])[0]


def _rows(build: Builder, found: _Attention, x: ir.Value) -> ir.Value:
    """A matrix by rows, or a result the way it was."""
    return _swapped(build, x) if found.turned else x


def _swapped(build: Builder, x: ir.Value) -> ir.Value:
    rank = len(shape_of(x) or ())
    return build.transpose(x, [*range(rank - 2), rank - 1, rank - 2])
