"""Functions that are steep where their operand is small, of operands that span decades: log(mel), power laws, roots.

On one int8 grid most values of such an operand are a few codes, and the logarithm of a code that may as well be the
next one is noise. What makes the operand knows it better than any 8-bit tensor, so it is made more than once, each time
with a grid of its own, and for any thresholds ``t_1 < t_2 < ...``, exactly::

    f(x) = f(min(x, t_1)) + sum_i f(min(max(x, t_i), t_i+1)) - f(t_i)

Each part is constant outside its interval, and within it the grid's steps are small enough for what f makes of them.
What the operand is made from is made anew as well where it spans as much (``bounded_copies.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.dag import reach
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.reparameterization.bounded_copies import BoundedCopies, copy_of, is_nonnegative
from n6convert.quantization.stable import first_least, rounded
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["operand_values", "split_functions", "wide_tensors"]

Array = NDArray[np.float64]
#: thresholds that are tried, as shares of the largest value
_SHARES = 4.0 ** -np.arange(1.0, 9.0)
#: parts at most, and by what factor another one, which costs the NPU time, must bring the predicted noise down
_PARTS, _GAIN = 3, 4.0
#: predicted noise, as a share of the variance of the function, that needs nothing: about 35 dB
_FINE = 10**-3.5
#: values of an operand that are looked at, of each sample
_LOOKED_AT = 1 << 13


@dataclass(frozen=True)
class _Function:
    """``node`` computes f of its operand."""

    node: ir.Node
    apply: Callable[[Array], Array]

    @property
    def operand(self) -> ir.Value:
        value = self.node.inputs[0]
        assert value is not None
        return value


def split_functions(
    model: ir.Model, operands: Mapping[str, Array], parts: int | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy in which such functions are sums of parts with grids of their own, and a record of each.

    Args:
        model: prepared float model.
        operands: what :func:`operand_values` saw.
        parts: how many; None: as many as the rounding of the operand alone asks for.
    """
    model = model.clone()
    records = []
    for function in list(_functions(model.graph)):
        thresholds, noise = _thresholds(function.apply, operands[function.operand.name or ""], parts)
        if thresholds and _split(model.graph, function, thresholds):
            records.append({"tensor": function.operand.name, "thresholds": thresholds, "predicted_noise": noise})
    if records:
        model.graph.sort()
        passes.RemoveUnusedNodesPass()(model)
    return model, records


def _functions(graph: ir.Graph) -> Iterator[_Function]:
    for node in graph:
        formula = _formula(node)
        if formula is not None and not is_constant(node.inputs[0]):
            yield _Function(node, formula)


def _formula(node: ir.Node) -> Callable[[Array], Array] | None:
    """f of numbers that are not negative, when it is steep at small ones and does not grow without bound there."""
    if node.op_type == "Log":
        return np.log
    if node.op_type == "Sqrt":
        return np.sqrt
    if node.op_type == "Pow" and is_constant(node.inputs[1]) and constant(node.inputs[1]).size == 1:
        power = float(constant(node.inputs[1]).item())
        return (lambda x: np.power(x, power)) if 0 < power < 1 else None
    return None


def wide_tensors(model: ir.Model) -> set[str]:
    """Tensors that parts of such functions would have finer: results, operands, and what those are made from."""

    def made_from(value: ir.Value) -> list[ir.Value]:
        node = value.producer() if is_nonnegative(value) else None
        return [v for v in node.inputs if v is not None and not is_constant(v)] if node is not None else []

    functions = list(_functions(model.graph))
    values = (v for f in functions for v in (f.node.outputs[0], *reach(f.operand, made_from)))
    return {v.name or "" for v in values}


def operand_values(model: ir.Model, samples: Iterable[Feeds], threads: int | None = None) -> dict[str, Array]:
    """Some values of the operands of such functions, by name.

    Args:
        model: prepared float model.
        samples: enough to know how small and how large operands become.
        threads: None: as many as there are cores.
    """
    seen: dict[str, list[NDArray[Any]]] = {f.operand.name or "": [] for f in _functions(model.graph)}
    if not seen:
        return {}
    inputs = {v.name for v in model.graph.inputs}
    session = Session(model, [n for n in seen if n not in inputs], threads=threads)
    for sample in samples:
        for name, values in {**sample, **session.run_on(sample)}.items():
            if name in seen:
                flat = values.ravel()
                seen[name].append(np.append(flat[:: -(-flat.size // _LOOKED_AT) or 1], flat.max(initial=0.0)))
    return {name: np.concatenate(arrays).astype(np.float64) for name, arrays in seen.items()}


def _thresholds(apply: Callable[[Array], Array], values: Array, parts: int | None) -> tuple[list[float], float]:
    """Where to cut, the smallest first, and the noise that is left as a share of the function's variance."""
    ends = rounded([values.max(initial=0.0), values[values > 0].min(initial=np.inf)])
    largest, least = float(ends[0]), float(ends[1])
    if not least < largest or values.min() < 0:
        return [], 0.0
    exact = apply(np.maximum(values, least))
    spread = max(float(exact.var()), 1e-300)

    def noise(cuts: Sequence[float]) -> float:
        total = sum(_part(apply, values, a, b, least) for a, b in zip([0.0, *cuts], [*cuts, largest], strict=True))
        return float(np.mean((total - exact) ** 2)) / spread

    chosen: list[float] = []
    left = noise(chosen)
    while left > _FINE and len(chosen) < (parts or _PARTS) - 1:
        trials = [sorted([*chosen, t]) for t in largest * _SHARES if t > least and t not in chosen]
        if not trials:
            break
        best = trials[first_least([noise(t) for t in trials])]
        if noise(best) * (_GAIN if parts is None else 1.0) > left:
            break
        chosen, left = best, noise(best)
    return [float(t) for t in chosen], left


def _part(apply: Callable[[Array], Array], values: Array, low: float, high: float, least: float) -> Array:
    """f of the values between two thresholds, rounded to the grid that ends at the upper one."""
    step = high / 255
    rounded = np.clip(np.rint(values / step) * step, max(low, least), high)
    return apply(rounded) - (apply(np.array(low)) if low else 0.0)


def _split(graph: ir.Graph, function: _Function, thresholds: Sequence[float]) -> bool:
    """Put the parts in the function's place; False, and no change, where nothing has the operand finer than it is."""
    node, old = function.node, function.node.outputs[0]
    build = Builder(graph, f"{old.name}/parts", graph.opset_imports.get("", 17))
    copies = BoundedCopies(build)
    total: ir.Value | None = None
    for index, low in enumerate([None, *thresholds]):
        x = copies.upto(function.operand, thresholds, index) if index < len(thresholds) else function.operand
        if x is None:
            build.discard()
            return False
        part = copy_of(build, node, x if low is None else build.clip(x, low, None))
        if low is not None:
            part = build.add(part, -float(function.apply(np.array(low))))
        total = part if total is None else build.add(total, part)
    assert total is not None
    graph.insert_before(node, build.nodes)
    name, old.name = old.name, f"{old.name}_whole"
    old.replace_all_uses_with(total, replace_graph_outputs=True)
    total.name = name
    return True
