"""What ST's front end simplifies before placement: each pass changes the graph in place ([#onnx-operators],
[#lowering])."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from n6convert.graph.operators import PRODUCTS, SATURATING, SUMS_AND_PRODUCTS, VIEWS
from n6convert.npu.graph import Graph, Node
from n6convert.npu.layout import compose, only_ones_move
from n6convert.operators.versions import has

__all__ = ["simplify"]

_SATURATED_BY = PRODUCTS | SUMS_AND_PRODUCTS | {"BatchNormalization", "AveragePool"}
_GATE_NODES = 24
"""Operators between a mean and the product with its map: views, two layers and their activations."""
_PADDABLE = {"Conv", "MaxPool", "AveragePool"}
#: the lowest codes of grids
_LOWEST = {"int8": -128, "uint8": 0, "int16": -32768, "uint16": 0}


def simplify(graph: Graph, version: tuple[int, int]) -> Graph:
    """Apply all passes for a compiler version; returns the same graph, sorted as before."""
    passes: list[Callable[[Graph], None]] = [
        _share_quantization_with_views,
        _fold_batch_normalization,
        _drop_saturation,
        _merge_transposes,
        _fold_pads,
        _broadcast_instead_of_resize,
    ]
    keras = _gate_means(graph) if graph.style == "qdq" and not has(version, "keras_exports") else []
    if has(version, "swish") and (has(version, "keras_swish") or not keras):
        passes.append(_fuse_swish)
    for run in passes:
        run(graph)
    makers = graph.producers()
    for name in keras:
        makers[name].attributes["gate"] = True
    graph.prune()
    return graph


def _rename(graph: Graph, names: dict[str, str]) -> None:
    if not names:
        return

    def final(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    for node in graph.nodes:
        node.inputs = tuple(final(name) for name in node.inputs)
    graph.outputs = tuple(final(name) for name in graph.outputs)


def _drop(graph: Graph, gone: set[int]) -> None:
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def _share_quantization_with_views(graph: Graph) -> None:
    """A view without a Q/DQ pair of its own keeps the scale of its source."""
    for node in graph.nodes:
        if node.op not in VIEWS or graph.constant(node.inputs[0]):
            continue
        source, result = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
        if source.quantized and not result.quantized:
            result.dtype, result.scale, result.zero_point = source.dtype, source.scale, source.zero_point


def _sole_reader(readers: dict[str, list[Node]], graph: Graph, name: str) -> bool:
    return len(readers.get(name, ())) == 1 and name not in graph.outputs


def _fold_batch_normalization(graph: Graph) -> None:
    """A BatchNormalization behind a convolution or product is folded into its weights."""
    producers, readers = graph.producers(), graph.consumers()
    gone: set[int] = set()
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.op == "BatchNormalization" else None
        if before is None or before.op not in PRODUCTS or not _sole_reader(readers, graph, node.inputs[0]):
            continue
        if graph.style == "qoperator" and graph.tensors[node.inputs[0]].quantized:
            continue
        _take_over(before, node, producers, gone)
    _drop(graph, gone)


def _take_over(before: Node, node: Node, producers: dict[str, Node], gone: set[int]) -> None:
    """``before`` writes what ``node`` wrote."""
    before.outputs = (node.outputs[0], *before.outputs[1:])
    before.sources += node.sources
    producers[node.outputs[0]] = before
    gone.add(id(node))


def _drop_saturation(graph: Graph) -> None:
    """Relu and Clip need no node: the int8 output of the operator before them saturates (SEEN r01)."""
    producers, readers = graph.producers(), graph.consumers()
    gone: set[int] = set()
    for node in graph.nodes:
        if node.op not in SATURATING or not all(graph.constant(name) for name in node.inputs[1:]):
            continue
        before = producers.get(node.inputs[0])
        if before is None or before.op not in _SATURATED_BY or not _sole_reader(readers, graph, node.inputs[0]):
            continue
        if graph.tensors[node.outputs[0]].quantized or graph.style == "tflite":
            _take_over(before, node, producers, gone)
    _drop(graph, gone)


def _merge_transposes(graph: Graph) -> None:
    """Two Transposes in a row are one, and one that changes nothing is none."""
    producers = graph.producers()
    for node in graph.nodes:
        if node.op != "Transpose" or graph.constant(node.inputs[0]):
            continue
        rank = len(graph.shape(node.inputs[0]))
        perm = tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))
        before = producers.get(node.inputs[0])
        if before is not None and before.op == "Transpose" and before.attributes.get("perm"):
            perm = compose(before.attributes["perm"], perm)
            node.inputs = before.inputs
            node.sources = before.sources + node.sources
            node.attributes["graph_edge"] = before.attributes.get("graph_edge") or node.attributes.get("graph_edge")
        node.attributes["perm"] = perm
        if only_ones_move(graph.shape(node.inputs[0]), perm) and not node.attributes.get("graph_edge"):
            node.op = "Reshape"


def _fold_pads(graph: Graph) -> None:
    """Padding of height and width in front of a convolution or pool becomes its own padding, where it writes the same.

    A convolution pads with zero, a maximum pool with the lowest code (zero is taken as well: behind a Relu it is).
    """
    readers = graph.consumers()
    names: dict[str, str] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        if node.op != "Pad" or not _foldable(graph, node, readers):
            continue
        pads = _pad_amounts(graph, node)
        rank = len(graph.shape(node.inputs[0]))
        for reader in readers[node.outputs[0]]:
            own = reader.attributes.get("pads") or [0] * (2 * (rank - 2))
            extra = pads[2:rank] + pads[rank + 2 :]
            reader.attributes["pads"] = [a + b for a, b in zip(own, extra, strict=True)]
            reader.sources += node.sources
        names[node.outputs[0]] = node.inputs[0]
        gone.add(id(node))
    _drop(graph, gone)
    _rename(graph, names)


def _pad_amounts(graph: Graph, node: Node) -> list[int]:
    pads = node.attributes.get("pads")
    if pads is None:
        pads = graph.ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None:
        before, after = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
        pads = [0] * len(before) + [b - a for a, b in zip(before, after, strict=True)]
    return [int(v) for v in pads]


def _foldable(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    users = readers.get(node.outputs[0], [])
    rank = len(graph.shape(node.inputs[0]))
    pads = _pad_amounts(graph, node)
    fits = rank in (3, 4) and len(pads) == 2 * rank and not any((*pads[:2], *pads[rank : rank + 2]))
    explicit = all(user.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") for user in users)
    constant = node.attributes.get("mode", "constant") == "constant"
    own = constant and all(user.op in _PADDABLE and _pads_alike(graph, node, user) for user in users)
    return bool(users) and fits and explicit and own


def _pads_alike(graph: Graph, pad: Node, user: Node) -> bool:
    """Whether ``user`` pads with the value that ``pad`` writes."""
    name = pad.inputs[2] if len(pad.inputs) > 2 else ""
    written = graph.values.get(name) if name else np.float32(pad.attributes.get("value", 0.0))
    if written is None or written.size != 1:
        return False
    fill, grid = written.ravel()[0], graph.tensors[pad.inputs[0]]
    if np.issubdtype(fill.dtype, np.floating):
        zero, lowest = 0.0, (_LOWEST.get(grid.dtype, -math.inf) - (grid.zero_point or 0)) * (grid.scale or 1.0)
    else:
        own = graph.tensors[name] if graph.tensors[name].quantized else grid
        zero, lowest = own.zero_point or 0, _LOWEST.get(own.dtype, -math.inf)
    return bool(fill == zero or (user.op == "MaxPool" and fill <= lowest))


def _broadcast_instead_of_resize(graph: Graph) -> None:
    """Resizing a 1x1 map for an elementwise operator is a broadcast (SEEN r03)."""
    readers = graph.consumers()
    names: dict[str, str] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        if node.op != "Resize" or math.prod(graph.shape(node.inputs[0])[2:]) != 1:
            continue
        users = readers.get(node.outputs[0], [])
        if users and all(user.op in ("Add", "Mul", "Sub") for user in users):
            names[node.outputs[0]] = node.inputs[0]
            gone.add(id(node))
    _drop(graph, gone)
    _rename(graph, names)


def _fuse_swish(graph: Graph) -> None:
    """x * Sigmoid(x) is one Swish from core 2.1 on (SEEN r02, r11)."""
    producers, readers = graph.producers(), graph.consumers()
    gone: set[int] = set()
    for node in graph.nodes:
        if node.op != "Mul" or len(node.inputs) != 2:
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            sigmoid = producers.get(gate)
            if sigmoid is None or sigmoid.op != "Sigmoid" or sigmoid.inputs[0] != x:
                continue
            if not _sole_reader(readers, graph, gate) or not graph.tensors[x].quantized:
                continue
            node.op, node.inputs = "Swish", (x,)
            node.sources = sigmoid.sources + node.sources
            gone.add(id(sigmoid))
            break
    _drop(graph, gone)


def _gate_means(graph: Graph) -> list[str]:
    """Results of global means that drop their map, get it back from a Reshape and gate the map they were taken from.

    So does squeeze and excitation in Keras' exports. Up to 3.0 these means are software: EfficientNetV2-B0 and -B1 take
    22 ns more on 3.0 than on 4.0 for every element of them, in both networks alike, and EfficientNet LC has no memory
    for float maps. A mean that gates nothing stays on the NPU (SEEN r18, 2.0 and 2.1).
    """
    readers = graph.consumers()
    means = (node for node in graph.nodes if node.op in ("GlobalAveragePool", "ReduceMean"))
    return [
        node.outputs[0]
        for node in means
        if len(graph.shape(node.inputs[0])) == 4
        and any(
            len(graph.shape(view.inputs[0])) == 2 and len(graph.shape(view.outputs[0])) == 4
            for view in _views_behind(graph, readers, node.outputs[0])
        )
        and _gates(graph, readers, node)
    ]


def _gates(graph: Graph, readers: dict[str, list[Node]], mean: Node) -> bool:
    """What follows from a mean is multiplied with the map it was taken from."""
    waiting, seen = [mean.outputs[0]], {mean.outputs[0]}
    for _ in range(_GATE_NODES):
        if not waiting:
            return False
        for node in readers.get(waiting.pop(0), ()):
            if node.op == "Mul" and mean.inputs[0] in node.inputs:
                return True
            waiting += [name for name in node.outputs if name not in seen]
            seen.update(node.outputs)
    return False


def _views_behind(graph: Graph, readers: dict[str, list[Node]], name: str) -> list[Node]:
    found: list[Node] = []
    waiting = [name]
    while waiting:
        views = [node for node in readers.get(waiting.pop(), ()) if node.op in VIEWS]
        found += views
        waiting += [node.outputs[0] for node in views]
    return found
