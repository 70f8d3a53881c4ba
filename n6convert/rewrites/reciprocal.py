"""1/x and 1/sqrt(v) from functions that run on the NPU: four forms, and which of them to take ([#function-forms], R1
to R4).

* ``Pow`` with a constant exponent: one node, in the table from core 4.0 on.
* ``1/x = -Tan(Atan(x/c) - pi/2) / c``, exact for every x > 0; c in the middle of the range keeps both functions away
  from their steep ends, and no ``constant - x`` (CPU, [#broadcasting]) arises.
* ``exp(-asinh z) = sqrt(z^2 + 1) - z = 1/(2z) * (1 - 1/(4z^2) + ...)``: with z > 200 off by less than 1e-5.
* A table: ``r_n + sum w_i * Relu(1 - x/b_i)`` by two 1x1 Convs, with as many knots as 3e-5 needs. All w_i are positive.

Of those that the target's core has, the fastest is taken whose INT8 error is near the smallest, or too small to be seen
in 8 bits. The error is measured: every intermediate is rounded to 8 bits of its own range, over the samples' values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.query import grid, shape_of
from n6convert.operators.versions import has
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context

__all__ = ["UNKNOWN_SPREAD", "Choice", "Inverse", "forms", "int8_error"]

Array = NDArray[np.float64]
_FAR = 200.0  # where exp(-asinh z) and 1/(2z) are the same for float32 purposes
_TABLE_ERROR, _MOST_KNOTS = 3e-5, 256
_BEYOND = 2.0  # how far a table goes beyond the samples, on both sides
_AS_GOOD = 1.5  # INT8 errors that near the smallest count as equal,
_UNSEEN = 1 / 255  # and so do those within one step of the product that reads the result
UNKNOWN_SPREAD = 5.0
"""How far numbers are taken to go from their middle, both ways, where no samples tell."""
_NO_SCALE = 1e-6
_VALUES = 1024  # by which an error is measured
_UNARY = {"Sqrt": np.sqrt, "Atan": np.arctan, "Tan": np.tan, "Asinh": np.arcsinh, "Exp": np.exp}
_BINARY = {"Mul": np.multiply, "Add": np.add, "Pow": np.power}


@dataclass(frozen=True)
class Step:
    """One operator of a form; ``number`` is the constant operand of Mul, Add and Pow."""

    op: str
    number: float | None = None
    knots: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    def write(self, build: Builder, x: ir.Value) -> ir.Value:
        """Make its nodes."""
        if self.op == "Table":
            b, w, full = np.array(self.knots), np.array(self.weights), shape_of(x) or ()
            rows = build.reshape(x, [1, 1, *(full[2:] if len(full) == 4 and full[1] == 1 else grid(math.prod(full)))])
            hidden = build.unary("Relu", build.pointwise(rows, -1 / b[:, None], np.ones(len(b))))
            return build.reshape(build.pointwise(hidden, w[None], np.array([self.number])), full)
        return build.unary(self.op, x) if self.number is None else build.binary(self.op, x, self.number)

    def rounded(self, x: Array) -> Array:
        """What it makes of x, its result (and a table's inner tensor and weights) rounded to int8 of its own range."""
        if self.op == "Table":
            b, w = np.array(self.knots), np.array(self.weights)
            hidden = _to_int8(np.maximum(1 - x[:, None] / b, 0))
            scale = np.abs(w).max() / 127
            return _to_int8(hidden @ (np.rint(w / scale) * scale) + (self.number or 0.0))
        if self.number is None:
            return _to_int8(_UNARY[self.op](x))
        return _to_int8(_BINARY[self.op](x, self.number))


@dataclass(frozen=True)
class Form:
    """A chain of operators whose result times ``factor`` is x to the power asked for."""

    name: str
    steps: tuple[Step, ...]
    factor: float = 1.0
    needs: str | None = None
    """Feature of the compiler without which it is no operator of the NPU."""

    def write(self, build: Builder, x: ir.Value) -> ir.Value:
        """Make its nodes."""
        for step in self.steps:
            x = step.write(build, x)
        return x


@dataclass(frozen=True)
class Choice:
    """The form to write, and why not another one; empty when there was no predictor to ask."""

    form: Form
    because: str = ""


class Inverse:
    """Chooses among the forms of one power, -1 or -0.5, for a rule; times are predicted once for every shape."""

    def __init__(self, power: float) -> None:
        self.power = power
        self._times: dict[tuple[str, int, tuple[int, ...]], float] = {}
        self._chosen: dict[tuple[tuple[int, ...], bytes], Choice] = {}

    def choose(self, context: Context, shape: Sequence[int], values: Array) -> Choice:
        """The form for a tensor of positive numbers; chosen once for the same numbers, as times are.

        Args:
            shape: of the tensor.
            values: numbers that it takes; their smallest and largest are its range.
        """
        key = tuple(shape), sha256(values.tobytes()).digest()
        if key not in self._chosen:
            self._chosen[key] = self._choice(context, shape, values)
        return self._chosen[key]

    def _choice(self, context: Context, shape: Sequence[int], values: Array) -> Choice:
        found = [form for form in forms(self.power, values) if form.needs is None or has(context.version, form.needs)]
        if context.timer is None:
            return Choice(found[0])
        values = np.quantile(values, np.linspace(0, 1, _VALUES)) if values.size > _VALUES else values
        errors = {form.name: int8_error(form, self.power, values) for form in found}
        times = {form.name: self._time(form, context, tuple(shape)) for form in found}
        enough = max(_UNSEEN, _AS_GOOD * min(errors.values()))
        good = [form for form in found if errors[form.name] <= enough]
        best = min(good, key=lambda form: times[form.name])
        told = {n: f"{n} {times[n]:.3f} ms and {100 * errors[n]:.1f} % off in INT8" for n in times}
        others = ", ".join(told[form.name] for form in found if form is not best)
        kind = "1/x" if self.power == -1 else "1/sqrt"
        return Choice(best, f"{kind} of {list(shape)} alone: {told[best.name]} instead of {others}")

    def _time(self, form: Form, context: Context, shape: tuple[int, ...]) -> float:
        key = form.name, sum(len(step.knots) for step in form.steps), shape
        if key not in self._times:
            self._times[key] = isolated_latency(context, [shape], form.write)
        return self._times[key]


def forms(power: float, values: Array) -> list[Form]:
    """All forms of x^-1 or x^-0.5 for positive numbers such as the given ones; the usual one of a core comes first."""
    low, high = float(values.min()), float(values.max())
    root = (Step("Sqrt"),) if power == -0.5 else ()
    middle, far = math.sqrt(low * high) ** -power, _FAR * low**power
    scaled = root if abs(middle - 1) < _NO_SCALE else (*root, Step("Mul", 1 / middle))
    turned = (*scaled, Step("Atan"), Step("Add", -math.pi / 2), Step("Tan"))
    falling = (*root, Step("Mul", far), Step("Asinh"), Step("Mul", -1.0), Step("Exp"))
    return [
        Form("Pow", (Step("Pow", power),), needs="pow"),
        Form("Tan and Atan", turned, -1 / middle),
        Form("Exp and Asinh", falling, 2 * far),
        *_table(power, low / _BEYOND, high * _BEYOND),
    ]


def int8_error(form: Form, power: float, values: Array) -> float:
    """Mean relative error of a form whose input and intermediates are rounded to int8, each of its own range.

    Numbers that become zero as int8 are left out: no form helps them.

    Args:
        form: of the power.
        power: -1 or -0.5.
        values: that it meets, positive.
    """
    given = _to_int8(values.astype(np.float64))
    x, wanted = given[given > 0], values[given > 0] ** power
    for step in form.steps:
        x = step.rounded(x)
    return float(np.mean(np.abs(x * form.factor / wanted - 1)))


def _table(power: float, low: float, high: float) -> list[Form]:
    """The table of chords of a falling convex function, lowered so that they err on both sides alike; none when the
    range needs too many knots.
    """
    bend = abs(power) * (1 + abs(power)) / 16  # relative error of a chord over a ratio e^d is about bend * d^2
    count = math.ceil(math.log(high / low) * math.sqrt(bend / _TABLE_ERROR))
    if not 1 <= count <= _MOST_KNOTS:
        return []
    at = low * (high / low) ** (np.arange(count + 1) / count)
    values = at**power * (1 - bend * math.log(at[1] / at[0]) ** 2)
    slopes = np.append(np.diff(values) / np.diff(at), 0.0)
    weights = (slopes[1:] - slopes[:-1]) * at[1:]
    return [Form("Relu table", (Step("Table", float(values[-1]), tuple(at[1:]), tuple(weights)),))]


def _to_int8(x: Array) -> Array:
    """Rounded to 256 steps from the smallest to the largest number, zero among them."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / 255 or 1.0
    zero = np.rint(-low / scale)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale)
