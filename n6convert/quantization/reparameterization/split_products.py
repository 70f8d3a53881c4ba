"""Sums of products in which few factors are large: attention probabilities times values.

``mean_k(p_k * v_k)`` rounds every product to one int8 step, which the largest ``p`` sets; most others are far below it,
and a sum of many of them is mostly their rounding. The large ones get a product of their own, in real numbers::

    mean(p * v) = mean(min(p, t) * v) + mean((p - min(p, t)) * v),    p >= 0

The first has a step smaller by ``t / max(p)``; the second is zero, which is exact, for all but the few. Everything
between p and the sum that only moves or multiplies values is there twice, so the NPU computes twice ([#transformers]).
Factors of both signs are left alone: equalization evens out their channels, which a bound would end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.operators import MEANS, MOVES
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import static_dims
from n6convert.quantization.stable import first_least, rounded
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["split_products"]

Array = NDArray[np.float64]
#: shares of the largest factor that are tried as thresholds
_SHARES = 2.0 ** -np.arange(1.0, 8.0)
#: mean square of rounding a product whose largest factor is 1 and whose other factor reaches 4 deviations
_ROUNDING = (8 / 255) ** 2 / 12
#: values of a tensor that are looked at, of each sample
_LOOKED_AT = 1 << 14
#: predicted noise must fall by that much to be worth a second product
_GAIN = 4.0


@dataclass
class _Cone:
    """What is linear in a tensor: the nodes behind it, and the values that leave them.

    Attributes:
        sums: whether there is a product whose mean is taken.
    """

    source: ir.Value
    nodes: list[ir.Node] = field(default_factory=list)
    ends: list[ir.Value] = field(default_factory=list)
    sums: bool = False


def split_products(
    model: ir.Model, samples: Iterable[Feeds], threads: int | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy in which unbalanced sums of products are computed in two parts, and a record of each.

    Args:
        model: prepared float model.
        samples: enough to know how large factors are and how many of them.
    """
    model = model.clone()
    cones = [c for c in (_cone(model.graph, v) for v in _factors(model.graph)) if c.sums and c.ends]
    seen = _observe(model, cones, samples, threads)
    known = [(*_threshold(v), float(rounded(v.max())), c) for c, v in zip(cones, seen, strict=True) if v.min() >= 0]
    best = sorted(known, key=lambda part: -float(rounded(part[1])))
    records, taken = [], set[ir.Node]()
    for share, gain, largest, cone in best:
        if gain >= _GAIN and taken.isdisjoint(cone.nodes):  # one factor of a product, not both
            taken.update(cone.nodes)
            _split(model.graph, cone, share * largest)
            records.append({"tensor": cone.source.name, "share": share, "predicted_noise": round(1 / gain, 3)})
    if records:
        model.graph.sort()
        passes.RemoveUnusedNodesPass()(model)
    return model, records


def _factors(graph: ir.Graph) -> list[ir.Value]:
    """Tensors whose elements, behind moves, are factors of products of two activations."""
    found: dict[ir.Value, None] = {}
    for node in graph:
        if node.op_type == "Mul" and not any(is_constant(v) for v in node.inputs):
            found |= dict.fromkeys(_origin(v) for v in node.inputs if v is not None)
    return [v for v in found if v.producer() is not None]


def _origin(value: ir.Value) -> ir.Value:
    maker = value.producer()
    while maker is not None and maker.op_type in MOVES and maker.inputs[0] is not None:
        value = maker.inputs[0]
        maker = value.producer()
    return value


def _cone(graph: ir.Graph, source: ir.Value) -> _Cone:
    """Follow a tensor through moves, one product and its mean, up to what something else reads."""
    cone = _Cone(source)
    products = {source: False}  # what lies inside, and whether it is a product already
    for node in graph:
        if any(v in products for v in node.inputs) and _is_linear(node, products):
            multiplied = node.op_type == "Mul" or any(products.get(v, False) for v in node.inputs if v is not None)
            cone.sums = cone.sums or node.op_type in MEANS
            cone.nodes.append(node)
            products |= dict.fromkeys(node.outputs, multiplied)
    taken = set(cone.nodes)
    inner = [v for v in products if v is not source]
    cone.ends = [v for v in inner if v.is_graph_output() or any(n not in taken for n in v.consumers())]
    return cone


def _is_linear(node: ir.Node, products: Mapping[ir.Value, bool]) -> bool:
    """Whether a node only moves what lies inside, multiplies it with something else, or takes a product's mean."""
    inside = [v for v in node.inputs if v is not None and v in products]
    if node.op_type == "Mul":
        return len(inside) == 1 and not products[inside[0]] and not any(is_constant(v) for v in node.inputs)
    if node.op_type == "Concat":
        return len(inside) == len(node.inputs)
    return node.op_type in MOVES or (node.op_type in MEANS and products[inside[0]])


def _observe(model: ir.Model, cones: Sequence[_Cone], samples: Iterable[Feeds], threads: int | None) -> list[Array]:
    """Some values of each source, evenly chosen, with the extremes."""
    if not cones:
        return []
    names = [c.source.name or "" for c in cones]
    session = Session(model, names, threads=threads)
    seen: dict[str, list[NDArray[Any]]] = {n: [] for n in names}
    for sample in samples:
        for name, values in session.run_on(sample).items():
            flat = values.ravel()
            some = flat[:: -(-flat.size // _LOOKED_AT) or 1]
            seen[name].append(np.concatenate([some, [flat.min(initial=0.0), flat.max(initial=0.0)]]))
    return [np.concatenate(seen[n]).astype(np.float64) for n in names]


def _threshold(values: Array) -> tuple[float, float]:
    """The share of the largest value at which to cut, and by what factor the predicted noise falls."""
    largest = values.max(initial=0.0)
    if largest == 0:
        return 1.0, 1.0
    squares = (values / largest) ** 2
    whole = float(np.minimum(squares, _ROUNDING).mean())
    parts = [_noise_in_parts(squares, share) for share in _SHARES]
    best = first_least(parts)
    return float(_SHARES[best]), whole / max(parts[best], 1e-30)


def _noise_in_parts(squares: Array, share: float) -> float:
    large = squares > share**2
    return float(np.minimum(squares, _ROUNDING * share**2).mean() + _ROUNDING * large.mean())


def _split(graph: ir.Graph, cone: _Cone, limit: float) -> None:
    source = cone.source
    build = Builder(graph, f"{source.name}/split", graph.opset_imports.get("", 17))
    small = build.clip(source, 0.0, limit)
    copies = {source: build.sub(source, small)}
    uses = {v: [(n, i) for n, i in v.uses() if n not in cone.nodes] for v in cone.ends}
    for node in cone.nodes:
        shapes = [static_dims(v.shape or ir.Shape([])) for v in node.outputs]
        inputs = [copies.get(v, v) if v is not None else None for v in node.inputs]
        attributes = {name: a.value for name, a in node.attributes.items()}
        copies |= zip(node.outputs, build.node(node.op_type, inputs, shapes, **attributes), strict=True)
        for index, value in enumerate(node.inputs):
            if value is source:
                node.replace_input_with(index, small)
    for end in cone.ends:
        whole = build.add(end, copies[end])
        for node, index in uses[end]:
            node.replace_input_with(index, whole)
        if end.is_graph_output():
            _become_output(graph, end, whole)
    graph.extend(build.nodes)


def _become_output(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """The graph output keeps its name and type."""
    graph.outputs[graph.outputs.index(old)] = new
    name, old.name = old.name, f"{old.name}_small"
    new.name = name
