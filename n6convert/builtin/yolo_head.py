"""YOLO heads in exported graphs: where boxes in pixels and probabilities meet on one tensor, and what to cut there.

An export ends in a Concat of boxes (0 to the size of the image), class probabilities (0 to 1) and, for poses, keypoints
with their visibility; some go on with TopK and Gather. INT8 cannot hold both on one grid. A head is recognized by what
no other network has: the constant grid of anchor points, one for every place of maps at strides such as 8, 16 and 32,
added to what comes from the last convolutions, beside values behind a Sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS, MOVES
from n6convert.runtime.comparison import BOUNDED
from n6convert.runtime.session import Session

__all__ = ["YoloHead", "find_yolo_head"]

_STRIDES = (4, 8, 16, 32, 64)
_MOVES = MOVES | {"Cast"}
#: operators between the last convolutions and the boxes, at most
_DEPTH = 40
#: parts whose ranges differ by this factor have lost three bits on one grid
_UNLIKE = 8.0
_OFFSETS = (0.5, 0.0, -0.5)
#: files made from INT8 models carry points rounded to 8 bits, by up to this share of their distance
_ROUNDED = 0.2


@dataclass(frozen=True)
class YoloHead:
    """A head that was found.

    Attributes:
        outputs: tensors to end the network at: the parts that were joined, and other outputs of the graph.
        strides: of the maps whose places have anchor points.
        classes: rows of the widest part behind a Sigmoid.
        bins: of the distribution that a Softmax gives each side of a box; 0 for boxes without one.
        spans: smallest and largest value of each part on a random image.
        sorted: whether the graph goes on with TopK.
    """

    outputs: tuple[str, ...]
    strides: tuple[int, ...]
    classes: int
    bins: int
    spans: tuple[tuple[str, float, float], ...]
    sorted: bool

    @property
    def note(self) -> str:
        """What was found and done, as a sentence."""
        form = f"boxes from distributions over {self.bins} bins" if self.bins else "boxes without distributions"
        parts = ", ".join(f"{name} ({low:.3g} to {high:.3g})" for name, low, high in self.spans)
        rest = "what follows it, TopK among it," if self.sorted else "what follows it"
        strides = ", ".join(map(str, self.strides))
        return (
            f"YOLO head recognized (strides {strides}; {self.classes} values behind a Sigmoid; {form}): the network "
            f"ends in front of the Concat that would put its parts on one INT8 grid: {parts}; {rest} is work of the "
            "host; `--set options.head=keep` leaves the graph as it is"
        )


def find_yolo_head(model: ir.Model) -> YoloHead | None:
    """The head of a float model with static shapes and folded constants; None where none is certain, or none to cut."""
    size = _image_size(model.graph)
    if size is None:
        return None
    found = [n for n in model.graph if n.op_type == "Concat" and _only_answers(n.outputs[0])]
    heads = [n for n in found if _is_head(n, size)]
    tops = [n for n in heads if not any(_feeds(n, other) for other in heads if other is not n)]
    if not tops:
        return None
    parts = list(dict.fromkeys(v for n in tops for v in _leaves(n)))
    spans = _spans(model, parts)
    widths = [high - low for low, high in spans if high > low]
    if not widths or max(widths) < _UNLIKE * min(widths):
        return None
    kept = [v for v in model.graph.outputs if not any(_reaches(n.outputs[0], v) for n in tops)]
    grids = [strides for v in parts if (strides := _anchor_strides(v, size))]
    names = [v.name or "" for v in parts]
    return YoloHead(
        tuple(dict.fromkeys([*names, *(v.name or "" for v in kept)])),
        tuple(sorted({s for strides in grids for s in strides})),
        max(_rows(v) for v in parts if _bounded(v)),
        max(_bins(v) for v in parts),
        tuple((name, *span) for name, span in zip(names, spans, strict=True)),
        any(n.op_type == "TopK" for n in model.graph),
    )


def _image_size(graph: ir.Graph) -> tuple[int, int] | None:
    shapes = [v.shape.numpy() for v in graph.inputs if v.shape is not None and v.shape.is_static()]
    if len(shapes) != 1 or len(graph.inputs) != 1 or len(shapes[0]) != 4:
        return None
    _, *rest = shapes[0]
    return (rest[1], rest[2]) if rest[0] in (1, 3, 4) else (rest[0], rest[1]) if rest[2] in (1, 3, 4) else None


def _behind(value: ir.Value) -> Iterator[ir.Node]:
    """All nodes that depend on a value, each once."""
    queue, seen = list(value.consumers()), set[ir.Node]()
    while queue:
        node = queue.pop()
        if node not in seen:
            seen.add(node)
            yield node
            queue += [n for v in node.outputs for n in v.consumers()]


def _only_answers(value: ir.Value) -> bool:
    """Whether no layer with weights reads a tensor any more."""
    return not any(n.op_type in LAYERS or (n.op_type == "MatMul" and _has_weight(n)) for n in _behind(value))


def _has_weight(node: ir.Node) -> bool:
    return any(_constant(v) is not None for v in node.inputs)


def _feeds(node: ir.Node, other: ir.Node) -> bool:
    return other in set(_behind(node.outputs[0]))


def _reaches(value: ir.Value, output: ir.Value) -> bool:
    return value is output or any(output in n.outputs for n in _behind(value))


def _leaves(node: ir.Node) -> list[ir.Value]:
    """What a Concat joins, through Concats of parts of its own."""
    found: list[ir.Value] = []
    for value in node.inputs:
        inner = None if value is None else _joined(value)
        if inner is not None:
            found += _leaves(inner)
        elif value is not None:
            found.append(value)
    return found


def _joined(value: ir.Value) -> ir.Node | None:
    """The Concat, behind moves, of a bounded part and one that is not."""
    node = value.producer()
    while node is not None and node.op_type in _MOVES and node.inputs[0] is not None and len(node.outputs) == 1:
        if node.op_type in ("Slice", "Split"):
            return None
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Concat":
        return None
    kinds = {_bounded(v) for v in _leaves(node)}
    return node if len(kinds) == 2 else None


def _is_head(node: ir.Node, size: tuple[int, int]) -> bool:
    parts = _leaves(node)
    certain = any(_bounded(v) for v in parts) and any(not _bounded(v) and _anchor_strides(v, size) for v in parts)
    return certain and all(v.dtype == ir.DataType.FLOAT for v in parts)


def _bounded(value: ir.Value) -> bool:
    """Whether a tensor holds probabilities, moved about."""
    node = value.producer()
    while node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type in BOUNDED


def _rows(value: ir.Value) -> int:
    """The size of a tensor without its batch and its places."""
    sizes = [d for d in value.shape or () if isinstance(d, int)]
    return int(np.prod(sizes) // max(sizes)) if sizes else 0


def _ancestors(value: ir.Value) -> Iterator[ir.Node]:
    """Nodes that a part is computed by, back to the last convolutions; that of a distribution's mean is no such."""
    queue, seen = [(value, 0)], set[ir.Node]()
    while queue:
        current, depth = queue.pop(0)
        node = current.producer()
        if node is None or node in seen or depth > _DEPTH or (node.op_type in LAYERS and not _is_mean(node)):
            continue
        seen.add(node)
        yield node
        queue += [(v, depth + 1) for v in node.inputs if v is not None]


def _is_mean(node: ir.Node) -> bool:
    """A convolution that takes the mean of a distribution: its weights are 0, 1, 2 ..."""
    weight = _constant(node.inputs[1])
    return weight is not None and np.array_equal(weight.ravel(), np.arange(weight.size))


def _bins(value: ir.Value) -> int:
    for node in _ancestors(value):
        if node.op_type == "Softmax":
            shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
            return shape[node.attributes.get_int("axis", -1)] if shape else 0
    return 0


def _anchor_strides(value: ir.Value, size: tuple[int, int]) -> tuple[int, ...]:
    """Strides of the maps whose places make up a constant that a part is computed with."""
    found: set[int] = set()
    for node in _ancestors(value):
        for operand in node.inputs:
            array = _constant(operand)
            if node.op_type in ("Add", "Sub") and array is not None:
                found.update(_grid_strides(array, size))
    return tuple(sorted(found))


def _grid_strides(array: NDArray[Any], size: tuple[int, int]) -> tuple[int, ...]:
    """Strides of the maps of which an array holds the places, (x, y) pairs of all of them; none for other arrays."""
    shape = [d for d in array.shape if d != 1]
    if array.dtype.kind != "f" or 2 not in (shape[:1] + shape[-1:]):
        return ()
    pairs = [array.reshape(2, -1)] if shape[0] == 2 else []
    pairs += [array.reshape(-1, 2).T] if shape[-1] == 2 else []
    for strides in (s for n in range(1, len(_STRIDES) + 1) for s in combinations(_STRIDES, n)):
        maps = [(size[0] // s, size[1] // s) for s in strides]
        count = sum(h * w for h, w in maps)
        for points in pairs:
            if count < 2 or points.shape[1] % count:
                continue
            first = points[:, :count]
            if np.array_equal(points, np.tile(first, points.shape[1] // count)) and _are_places(first, maps):
                return strides
    return ()


def _are_places(points: NDArray[Any], maps: Sequence[tuple[int, int]]) -> bool:
    """Whether (x, y) pairs are those of maps, row by row, one after the other, in a unit of each map's own."""
    start = 0
    for height, width in maps:
        x, y = (part.reshape(height, width) for part in points[:, start : start + height * width])
        start += height * width
        if not (_is_ramp(x[0]) and _is_ramp(y[:, 0]) and np.allclose(x, x[:1]) and np.allclose(y, y[:, :1])):
            return False
    return True


def _is_ramp(line: NDArray[Any]) -> bool:
    """``unit * (0, 1, 2 ... + offset)``, the offset half a place or none."""
    if len(line) < 2:
        return True
    unit = (line[-1] - line[0]) / (len(line) - 1)
    steps = line / unit if unit > 0 else np.zeros(len(line))
    return unit > 0 and any(np.abs(steps - np.arange(len(line)) - o).max() < _ROUNDED for o in _OFFSETS)


def _constant(value: ir.Value | None) -> NDArray[Any] | None:
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _spans(model: ir.Model, parts: Sequence[ir.Value]) -> list[tuple[float, float]]:
    """The bounds of each part, or its smallest and largest value on a seeded image of noise."""
    copy = model.clone()
    by_name = {v.name: v for n in copy.graph for v in n.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(by_name[v.name] for v in parts)
    image = copy.graph.inputs[0]
    noise = np.random.default_rng(0).random(image.shape.numpy() if image.shape else (), np.float32)
    values = Session(copy, outputs=[str(v.name) for v in parts]).run({str(image.name): noise})
    return [(0.0, 1.0) if _bounded(v) else _span(values[str(v.name)]) for v in parts]


def _span(values: NDArray[Any]) -> tuple[float, float]:
    return float(values.min(initial=0)), float(values.max(initial=0))
