"""Functions that are steep where their operand is small, of operands that span decades: log(mel), power laws, roots.

On one int8 grid most values of such an operand are a few codes, and the logarithm of a code that may as well be the
next one is noise. What makes the operand knows it better than any 8-bit tensor, so it is made more than once, each time
with a grid of its own, and for any thresholds ``t_1 < t_2 < ...``, exactly::

    f(x) = f(min(x, t_1)) + sum_i f(min(max(x, t_i), t_i+1)) - f(t_i)

Each part is constant outside its interval, and within it the grid's steps are small enough for what f makes of them.
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
from n6convert.graph.extract import with_outputs
from n6convert.graph.query import is_constant
from n6convert.numerics import Session
from n6convert.quantization.prepare.operator_forms import constant, static_dims

__all__ = ["split_functions"]

Sample = Mapping[str, NDArray[Any]]
Array = NDArray[np.float64]
#: what makes an operand anew at another scale: the operators whose exact results a grid rounds
_MAKERS = frozenset({"Conv", "Gemm", "MatMul", "GlobalAveragePool", "AveragePool", "ReduceMean", "Add", "Sub", "Mul"})
#: what is made twice along with it
_BETWEEN = frozenset({"Relu", "Abs", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
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
    """``node`` computes f of what ``chain`` makes: its last nodes, from the operator that has it exactly."""

    node: ir.Node
    chain: tuple[ir.Node, ...]
    apply: Callable[[Array], Array]

    @property
    def operand(self) -> ir.Value:
        return self.chain[-1].outputs[0]


def split_functions(
    model: ir.Model, samples: Iterable[Sample], threads: int | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy in which such functions are sums of parts with grids of their own, and a record of each.

    Args:
        model: prepared float model.
        samples: enough to know how small and how large operands become.
    """
    model = model.clone()
    functions = list(_find(model.graph))
    records = []
    for function, values in zip(functions, _observe(model, functions, samples, threads), strict=True):
        thresholds, noise = _thresholds(function.apply, values)
        if thresholds:
            _split(model.graph, function, thresholds)
            records.append({"tensor": function.operand.name, "thresholds": thresholds, "predicted_noise": noise})
    if records:
        model.graph.sort()
        passes.RemoveUnusedNodesPass()(model)
    return model, records


def _find(graph: ir.Graph) -> Iterator[_Function]:
    for node in graph:
        apply = _formula(node)
        chain = _chain(node.inputs[0]) if apply is not None else ()
        if apply is not None and chain:
            yield _Function(node, chain, apply)


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


def _chain(value: ir.Value | None) -> tuple[ir.Node, ...]:
    """Nodes that make a value from tensors that are there, in order; none where the value is such a tensor itself."""
    found: list[ir.Node] = []
    node = value.producer() if value is not None else None
    while node is not None and len(node.outputs) == 1:
        found.insert(0, node)
        if node.op_type in _MAKERS and not _by_constant(node):
            return tuple(found)
        if node.op_type not in _BETWEEN:
            return ()
        source = next((v for v in node.inputs if v is not None and not is_constant(v)), None)
        node = source.producer() if source is not None else None
    return ()


def _by_constant(node: ir.Node) -> bool:
    """A sum or product with constants, which leaves the steps of its operand as coarse as they are."""
    return node.op_type in ("Add", "Sub", "Mul") and any(is_constant(v) for v in node.inputs)


def _observe(
    model: ir.Model, functions: Sequence[_Function], samples: Iterable[Sample], threads: int | None
) -> list[Array]:
    """Some values of each operand."""
    if not functions:
        return []
    names = [f.operand.name or "" for f in functions]
    session = Session(with_outputs(model, list(dict.fromkeys(names))), threads=threads)
    seen: dict[str, list[NDArray[Any]]] = {n: [] for n in names}
    for sample in samples:
        for name, values in session.run({n: sample[n] for n in session.inputs}).items():
            if name in seen:
                flat = values.ravel()
                seen[name].append(np.append(flat[:: -(-flat.size // _LOOKED_AT) or 1], flat.max(initial=0.0)))
    return [np.concatenate(seen[n]).astype(np.float64) for n in names]


def _thresholds(apply: Callable[[Array], Array], values: Array) -> tuple[list[float], float]:
    """Where to cut, the smallest first, and the noise that is left as a share of the function's variance."""
    largest, least = float(values.max(initial=0.0)), float(values[values > 0].min(initial=np.inf))
    if not least < largest or values.min() < 0:
        return [], 0.0
    exact = apply(np.maximum(values, least))
    spread = max(float(exact.var()), 1e-300)

    def noise(ends: Sequence[float]) -> float:
        total = sum(_part(apply, values, a, b, least) for a, b in zip([0.0, *ends], [*ends, largest], strict=True))
        return float(np.mean((total - exact) ** 2)) / spread

    chosen: list[float] = []
    left = noise(chosen)
    while left > _FINE and len(chosen) < _PARTS - 1:
        trials = [sorted([*chosen, t]) for t in largest * _SHARES if t > least and t not in chosen]
        best = min(trials, key=noise, default=chosen)
        if noise(best) * _GAIN > left:
            break
        chosen, left = best, noise(best)
    return [float(t) for t in chosen], left


def _part(apply: Callable[[Array], Array], values: Array, low: float, high: float, least: float) -> Array:
    """f of the values between two thresholds, rounded to the grid that ends at the upper one."""
    step = high / 255
    rounded = np.clip(np.rint(values / step) * step, max(low, least), high)
    return apply(rounded) - (apply(np.array(low)) if low else 0.0)


def _split(graph: ir.Graph, function: _Function, thresholds: Sequence[float]) -> None:
    node = function.node
    build = Builder(graph, f"{node.outputs[0].name}/parts", graph.opset_imports.get("", 17))
    total: ir.Value | None = None
    for low, high in zip([None, *thresholds], [*thresholds, None], strict=True):
        x = _again(build, function.chain, high)
        x = x if low is None else build.clip(x, low, None)
        part = _copy(build, node, x)
        if low is not None:
            part = build.add(part, -float(function.apply(np.array(low))))
        total = part if total is None else build.add(total, part)
    assert total is not None
    graph.insert_before(node, build.nodes)
    old = node.outputs[0]
    name, old.name = old.name, f"{old.name}_whole"
    old.replace_all_uses_with(total, replace_graph_outputs=True)
    total.name = name


def _again(build: Builder, chain: Sequence[ir.Node], most: float | None) -> ir.Value:
    """The chain's result up to a bound, computed once more from the same tensors."""
    result = _copy(build, chain[0], None)
    if most is not None:
        result = build.clip(result, -most, most)
    for node in chain[1:]:
        result = _copy(build, node, result)
    return result


def _copy(build: Builder, node: ir.Node, source: ir.Value | None) -> ir.Value:
    """A node once more, on another operand where one is given; constants become its own."""
    replaced = next((v for v in node.inputs if v is not None and not is_constant(v)), None)

    def operand(value: ir.Value | None) -> ir.Value | None:
        if value is None or not is_constant(value):
            return source if source is not None and value is replaced else value
        array = constant(value)
        return build.constant(array, array.dtype.type)

    dims = static_dims(node.outputs[0].shape or ir.Shape([]))
    attributes = {name: a.value for name, a in node.attributes.items()}
    return build.node(node.op_type, [operand(v) for v in node.inputs], [dims], **attributes)[0]
