"""TFLite's moves in channel-first order: axes and sizes follow those that the file means, as numpy cuts and joins."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_writer import LiteWriter

from n6convert.npu.graph import Graph, Node
from n6convert.npu.tflite_reader import read_tflite

I8 = {"scales": [0.5], "zeros": [3]}
SHAPE = (2, 5, 7, 3)


class File:
    """A file whose first operator is a convolution of [2, 5, 7, 3], so that it is read channel-first."""

    def __init__(self, folder: Path) -> None:
        self.w, self.path = LiteWriter(), folder / "a.tflite"
        self.x = self.w.tensor("x", SHAPE, "int8", **I8)
        weights = self.w.constant("weights", np.ones((3, 1, 1, 3), np.int8), scales=[0.5])
        self.y = self.tensor("y", SHAPE)
        self.w.op("CONV_2D", [self.x, weights], [self.y], {0: ("i8", 1), 1: ("i32", 1), 2: ("i32", 1)})

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        return self.w.tensor(name, shape, "int8", **I8)

    def ints(self, name: str, values: Any) -> int:
        return self.w.constant(name, np.array(values, np.int32))

    def read(self, *outputs: int) -> Graph:
        self.w.inputs, self.w.outputs = [self.x], list(outputs)
        return read_tflite(self.w.write(self.path))


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def behind(graph: Graph) -> list[Node]:
    """The operators behind the convolution, without the turns at the graph's ends."""
    nodes = [n for n in graph.nodes if not n.attributes.get("graph_edge")]
    return nodes[[n.op for n in nodes].index("Conv") + 1 :]


def consistent(graph: Graph) -> None:
    """No operator that only moves values makes or loses any."""
    for node in graph.nodes:
        if node.op in ("Reshape", "Transpose"):
            sizes = [math.prod(graph.shape(n)) for n in (node.inputs[0], node.outputs[0])]
            assert sizes[0] == sizes[1], (node, sizes)


def inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[-1], *shape[1:-1])


FULL = slice(None)
CUTS: dict[str, Any] = {
    "one row": (FULL, 2), "rows in steps": (FULL, slice(None, None, 2), slice(1, 6, 3), 0),
    "from behind": (FULL, -1, -2),
    "a channel": (Ellipsis, 1), "first and channel": (0, Ellipsis, slice(0, 2)),  "a new axis": (FULL, None),
    "a new axis at the end": (Ellipsis, None), "new and gone": (None, FULL, 3),
    "beyond the end": (FULL, slice(1, 99), 0),
    "backwards": (FULL, slice(4, 0, -2), 0),
}  # fmt: skip


def strided(cut: Any) -> tuple[list[list[int]], dict[int, tuple[str, int]]]:
    """begin, end, strides and masks as TensorFlow writes an index expression."""
    parts = cut if isinstance(cut, tuple) else (cut,)
    bounds: list[list[int]] = [[], [], []]
    masks = [0] * 5
    for i, part in enumerate(parts):
        first, last, step = 0, 0, 1
        if part is Ellipsis:
            masks[2] |= 1 << i
        elif part is None:
            masks[3] |= 1 << i
        elif isinstance(part, int):
            first, last = part, part + 1
            masks[4] |= 1 << i
        else:
            first, last, step = part.start or 0, part.stop or 0, part.step or 1
            masks[0] |= (part.start is None) << i
            masks[1] |= (part.stop is None) << i
        for values, value in zip(bounds, (first, last, step), strict=True):
            values.append(value)
    return bounds, {i: ("i32", mask) for i, mask in enumerate(masks) if mask}


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_that_drops_or_adds_axes_keeps_as_many_values_as_numpy(name: str, file: File) -> None:
    result = np.zeros(SHAPE)[CUTS[name]].shape
    bounds, masks = strided(CUTS[name])
    z = file.tensor("z", result)
    file.w.op("STRIDED_SLICE", [file.y, *(file.ints(f"b{i}", b) for i, b in enumerate(bounds))], [z], masks)
    graph = file.read(z)
    consistent(graph)
    nodes = behind(graph)
    cut = [n for n in nodes if n.op == "Slice"]
    taken = math.prod(graph.shape(cut[0].outputs[0])) if cut else math.prod(SHAPE)
    assert taken == math.prod(result)


@pytest.mark.parametrize(
    ("begin", "size"), [((0, 1, 0, 0), (2, 3, 7, 3)), ((0, 0, 2, 1), (2, 5, 4, 2)), ((1, 0, 0, 0), (1, 5, 7, 3))]
)
def test_a_slice_names_the_axes_that_it_cuts(begin: tuple[int, ...], size: tuple[int, ...], file: File) -> None:
    z = file.tensor("z", size)
    file.w.op("SLICE", [file.y, file.ints("begin", begin), file.ints("size", size)], [z])
    (node,) = behind(file.read(z))
    cut = [a for a in range(4) if SHAPE[a] != size[a]]
    assert node.op == "Slice" and [inner(SHAPE)[a] for a in node.attributes["axes"]] == [SHAPE[a] for a in cut]


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4, -1, -3])
def test_packing_makes_a_new_axis_where_the_file_says(axis: int, file: File) -> None:
    result = np.stack([np.zeros(SHAPE)] * 2, axis).shape
    z = file.tensor("z", result)
    file.w.op("PACK", [file.y, file.y], [z], {0: ("i32", 2), 1: ("i32", axis)})
    graph = file.read(z)
    (concat,) = [n for n in behind(graph) if n.op == "Concat"]
    assert graph.shape(concat.outputs[0]) == result, "joined in TFLite's own order"
    assert [graph.shape(n) for n in concat.inputs] == [result[: axis % 5] + (1,) + result[axis % 5 + 1 :]] * 2
    consistent(graph)


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -2])
def test_unpacking_splits_and_drops_the_axis(axis: int, file: File) -> None:
    parts = [np.squeeze(p, axis) for p in np.split(np.zeros(SHAPE), SHAPE[axis], axis)]
    outputs = [file.tensor(f"z{i}", p.shape) for i, p in enumerate(parts)]
    file.w.op("UNPACK", [file.y], outputs, {0: ("i32", len(parts)), 1: ("i32", axis)})
    graph = file.read(*outputs)
    (split,) = [n for n in behind(graph) if n.op == "Split"]
    assert inner(SHAPE)[split.attributes["axis"]] == SHAPE[axis] == len(split.outputs)
    assert all(graph.shape(n)[split.attributes["axis"]] == 1 for n in split.outputs)
    consistent(graph)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("kind", ["SPLIT", "SPLIT_V"])
def test_splits_know_their_operands_by_position(kind: str, axis: int, file: File) -> None:
    """SPLIT has the axis first, SPLIT_V the sizes between."""
    size = SHAPE[axis]
    sizes = [1, size - 1] if kind == "SPLIT_V" else [1] * size
    outputs = [
        file.tensor(f"z{i}", tuple(n if a == axis % 4 else m for a, m in enumerate(SHAPE))) for i, n in enumerate(sizes)
    ]
    where = file.ints("axis", [axis])
    operands = [where, file.y] if kind == "SPLIT" else [file.y, file.ints("sizes", sizes), where]
    file.w.op(kind, operands, outputs, {0: ("i32", len(outputs))})
    graph = file.read(*outputs)
    (split,) = [n for n in behind(graph) if n.op == "Split"]
    assert inner(SHAPE)[split.attributes["axis"]] == size and split.inputs[0] == "y"
    assert sum(graph.shape(n)[split.attributes["axis"]] for n in split.outputs) == size


@pytest.mark.parametrize(("kind", "result", "turns"), [
    ("RESHAPE", (2, 35, 3), False), ("RESHAPE", (2, 5, 21), True), ("RESHAPE", (210,), True),
    ("RESHAPE", (10, 7, 3), False),
    ("EXPAND_DIMS", (2, 1, 5, 7, 3), False), ("EXPAND_DIMS", (2, 5, 7, 3, 1), True),
])  # fmt: skip
def test_a_view_that_keeps_channels_needs_no_turn(kind: str, result: tuple[int, ...], turns: bool, file: File) -> None:
    z = file.tensor("z", result)
    file.w.op(kind, [file.y, file.ints("target", result)], [z], {0: ("i32", 0)})
    graph = file.read(z)
    assert ("Transpose" in [n.op for n in behind(graph)]) == turns
    consistent(graph)


@pytest.mark.parametrize("kind", ["MIRROR_PAD", "PADV2"])
def test_pads_of_three_axes_and_their_mode(kind: str, file: File) -> None:
    three = file.tensor("three", (2, 35, 3))
    file.w.op("RESHAPE", [file.y], [three])
    z = file.tensor("z", (2, 38, 7))
    amounts = file.ints("pads", [[0, 0], [1, 2], [3, 1]])
    fill = [file.w.constant("fill", np.int8([5]), **I8)] if kind == "PADV2" else []
    file.w.op(kind, [three, amounts, *fill], [z])
    graph = file.read(z)
    (pad,) = [n for n in behind(graph) if n.op == "Pad"]
    assert pad.attributes == {"pads": [0, 3, 1, 0, 1, 2], "mode": "reflect" if kind == "MIRROR_PAD" else "constant"}
    assert [int(graph.values[name].item()) for name in pad.inputs[2:]] == ([5] if kind == "PADV2" else [])


@pytest.mark.parametrize(("axis", "size"), [(1, 4), (3, 2), (-2, 6)])
def test_a_gather_picks_along_the_axis_that_was_meant(axis: int, size: int, file: File) -> None:
    result = tuple(size if a == axis % 4 else n for a, n in enumerate(SHAPE))
    z = file.tensor("z", result)
    file.w.op("GATHER", [file.y, file.ints("which", [0] * size)], [z], {0: ("i32", axis)})
    graph = file.read(z)
    (gather,) = [n for n in behind(graph) if n.op == "Gather"]
    before, after = (graph.shape(n) for n in (gather.inputs[0], gather.outputs[0]))
    assert [a for a in range(4) if before[a] != after[a]] == [gather.attributes["axis"]]
