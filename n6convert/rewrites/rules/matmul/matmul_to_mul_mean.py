"""``X[h, M, K] @ Y[h, K, N]`` of two activations as broadcast products and means ([#transformers])::

    result[i, h, j] = K * mean_k( A[i, h, 1, k] * B[h, j, k] ),   A = X as [M, h, K],   B = Y^T as [h, N, K]

or by columns, with A = Y^T as [N, h, K] and B = X. B is repeated along the outermost axis for a block of rows of A (a
Concat in hardware), the product is a one-sided broadcast Mul, the mean a global pool that streams behind it. Blocks
keep the product within on-chip memory, should the compiler store it, and B is repeated only once for all of them.
Exact; heads stay where they are, so no (0,2,1,3) transpose arises.

Whether a product stays with the compiler's software Conv ([#dynamic-matmul]) is decided by the predicted times of both
for its shape alone; rows or columns, whose layouts meet those of the neighbors, and few or many blocks by the whole
graph's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.query import constant_of, is_float, producer, shape_of
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["MatMulToMulMean"]

_BLOCK_BYTES = 1 << 18
_MAX_BLOCKS, _MOST_BLOCKS = 64, 128
"""Blocks that are tried for speed, and those that are taken where no fewer hold the product."""
_ROWS, _COLUMNS, _SOFTWARE = "rows", "columns", "software Conv"
_FEW, _MANY = _AMOUNTS = "few", "many"
_NEARLY = 1.15  # every block more is more layout work around the product, which its time alone does not hold


@dataclass(frozen=True)
class _Size:
    """``heads`` times ``[m, k] x [k, n]``, by rows of the first."""

    heads: int
    m: int
    k: int
    n: int

    @property
    def turned(self) -> _Size:
        return _Size(self.heads, self.n, self.k, self.m)

    @property
    def counts(self) -> list[int]:
        """Numbers of blocks that keep every product within the limits, the fewest and then twice as many each."""
        pieces = self.heads * self.n
        most = min(_BLOCK_BYTES // (pieces * self.k), (AXIS_LIMIT - 1) // pieces, self.m)
        least = -(-self.m // most) if most else _MOST_BLOCKS + 1
        doubled = [least << i for i in range(7)] if least <= _MOST_BLOCKS else []
        return [count for count in doubled if count == least or count <= min(self.m, _MAX_BLOCKS)]

    def blocks(self, count: int) -> list[int]:
        """Rows of A that are multiplied at once, balanced."""
        rows = -(-self.m // count)
        return [*[rows] * (self.m // rows), *([self.m % rows] if self.m % rows else [])]

    def __str__(self) -> str:
        return f"{self.heads} x [{self.m}, {self.k}] [{self.k}, {self.n}]"


@dataclass
class _Product:
    x: ir.Value
    y: ir.Value
    size: _Size
    result: tuple[int, ...]


class MatMulToMulMean(Rewrite[_Product]):
    """Write the product of two activations as broadcast Mul and mean, which the NPU has."""

    name = "matmul-to-mul-mean"
    roots = frozenset({"MatMul"})

    def __init__(self) -> None:
        self._times: dict[_Size, dict[str, float]] = {}

    def pattern(self, node: ir.Node) -> _Product | None:
        x, y = node.inputs
        a, b, result = shape_of(x), shape_of(y), shape_of(node.outputs[0])
        if x is None or y is None or a is None or b is None or result is None or not is_float(x):
            return None
        if constant_of(x) is not None or constant_of(y) is not None or min(len(a), len(b)) < 2:
            return None
        if a[:-2] != b[:-2]:
            return None
        return _Product(x, y, _Size(math.prod(a[:-2]), a[-2], a[-1], b[-1]), result)

    def check(self, found: _Product, context: Context) -> str | None:
        size = found.size
        if not (size.counts or size.turned.counts):
            row = size.heads * min(size.m, size.n) * size.k
            return f"one row's products of {row:,} bytes need more than {_MOST_BLOCKS} blocks of {_BLOCK_BYTES:,} bytes"
        times = self._times_of(size, context)
        best = min((t for name, t in times.items() if name != _SOFTWARE), default=0.0)
        if times.get(_SOFTWARE, math.inf) < best:
            return f"{size}: the software Conv is predicted faster, {times[_SOFTWARE]:.3f} ms instead of {best:.3f} ms"
        return None

    def options(self, found: _Product, context: Context) -> Mapping[str, Sequence[str]]:
        ways = {_ROWS: found.size, _COLUMNS: found.size.turned}
        return {
            f"{found.size}": [way for way, size in ways.items() if size.counts],
            f"{found.size}, blocks": [_FEW, _MANY] if context.timer is not None else [_FEW],
        }

    def because(self, found: _Product, context: Context) -> str:
        times, form = self._times_of(found.size, context), self._form(found, context)
        if not times:
            return ""
        ways = {way for way in (_ROWS, _COLUMNS) if any(name.startswith(way) for name in times)}
        considered = [
            _named(way, self._count(found.size, way, amount, context)) for way in sorted(ways) for amount in _AMOUNTS
        ]
        others = [f"{name} {times[name]:.3f}" for name in dict.fromkeys([_SOFTWARE, *considered]) if name != form]
        return f"{found.size} alone: {form} {times[form]:.3f} ms instead of {', '.join(others)} ms"

    def replace(self, found: _Product, build: Builder, context: Context) -> Sequence[ir.Value]:
        h, m, k, n = found.size.heads, found.size.m, found.size.k, found.size.n
        x, y = _scaled(build, found)
        x, y = build.reshape(x, [1, h, m, k]), build.reshape(y, [1, h, k, n])
        way, count = self._chosen(found, context)
        if way == _ROWS:
            a, b, back = build.transpose(x, [0, 2, 1, 3]), build.transpose(y, [0, 1, 3, 2]), [0, 2, 1, 3]
        else:
            a, b, back = build.transpose(y, [0, 3, 1, 2]), x, [0, 2, 3, 1]
        size = found.size if way == _ROWS else found.size.turned
        return [build.reshape(build.transpose(_multiply(build, a, b, size, count), back), found.result)]

    def _chosen(self, found: _Product, context: Context) -> tuple[str, int]:
        way, amount = (context.chosen(self.name, kind, names) for kind, names in self.options(found, context).items())
        return way, self._count(found.size, way, amount, context)

    def _form(self, found: _Product, context: Context) -> str:
        return _named(*self._chosen(found, context))

    def _count(self, size: _Size, way: str, amount: str, context: Context) -> int:
        """The fewest blocks that are nearly as fast as any number, or the fastest number of blocks."""
        counts, times = (size if way == _ROWS else size.turned).counts, self._times_of(size, context)
        if not times:
            return counts[0]
        best = min(times[_named(way, count)] for count in counts)
        enough = best * (_NEARLY if amount == _FEW else 1)
        return next(count for count in counts if times[_named(way, count)] <= enough)

    def _times_of(self, size: _Size, context: Context) -> dict[str, float]:
        """Predicted milliseconds of the product alone, by form."""
        if context.timer is not None and size not in self._times:
            forms = [(way, s, c) for way, s in ((_ROWS, size), (_COLUMNS, size.turned)) for c in s.counts]
            self._times[size] = {_named(way, c): _time(s, c, context) for way, s, c in forms}
            self._times[size][_SOFTWARE] = _time(size, 0, context)
        return self._times.get(size, {})


def _named(way: str, count: int) -> str:
    return f"{way} in {count} blocks"


def _time(size: _Size, count: int, context: Context) -> float:
    h, m, k, n = size.heads, size.m, size.k, size.n
    if count == 0:
        return isolated_latency(
            context, [(1, h, m, k), (1, h, k, n)], lambda build, x, y: build.node("MatMul", [x, y], [(1, h, m, n)])[0]
        )
    shapes = [(1, m, h, k), (1, h, n, k)]
    return isolated_latency(context, shapes, lambda build, a, b: _multiply(build, a, b, size, count))


def _multiply(build: Builder, a: ir.Value, b: ir.Value, size: _Size, count: int) -> ir.Value:
    """``[1, m, h, n]`` of A ``[1, m, h, k]`` and B ``[1, h, n, k]``: the mean over k of their products."""
    h, rows = size.heads, size.blocks(count)
    repeated = build.repeat(b, rows[0], axis=1)
    pieces = build.split(build.reshape(a, [1, size.m * h, 1, size.k]), [r * h for r in rows], axis=1)
    parts = []
    for height, piece in zip(rows, pieces, strict=True):
        copies = repeated if height == rows[0] else build.slice(repeated, 1, 0, height * h)
        means = build.mean_last(build.mul(copies, piece))
        parts.append(build.reshape(means, [1, height * h, size.n]))
    return build.reshape(build.concat(parts, axis=1), [1, size.m, h, size.n])


def _scaled(build: Builder, found: _Product) -> tuple[ir.Value, ir.Value]:
    """Both operands, one of them times K (a mean is a sum over K): the one whose producer can absorb a constant."""
    if _is_normalized(found.x):
        return found.x, build.mul(found.y, float(found.size.k))
    return build.mul(found.x, float(found.size.k)), found.y


def _is_normalized(value: ir.Value) -> bool:
    node = producer(value)
    while node is not None and node.op_type in ("Reshape", "Transpose"):
        node = producer(node.inputs[0])
    return node is not None and node.op_type in ("Softmax", "Mul")
