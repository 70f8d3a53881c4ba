"""Seeded detectors that end as the published YOLO versions are exported, on a small backbone."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ..rewrites.graphs import GraphWriter

SIZE, STRIDES, CLASSES, BINS = 64, (8, 16, 32), 6, 16
MAPS = [(SIZE // s, SIZE // s) for s in STRIDES]
PLACES = sum(h * w for h, w in MAPS)


class _Net(GraphWriter):
    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, act: bool = True) -> str:
        size = math.sqrt(inputs) * kernel
        weight = self.constant(self.random.standard_normal((outputs, inputs, kernel, kernel)) / size)
        made = str(self.node("Conv", x, weight, pads=[kernel // 2] * 4, strides=[stride] * 2))
        return str(self.node("Mul", made, self.node("Sigmoid", made))) if act else made

    def features(self) -> list[str]:
        x = self.input("images", [1, 3, SIZE, SIZE])
        for inputs, outputs in ((3, 8), (8, 8)):
            x = self.conv(x, inputs, outputs, 3, 2)
        found = []
        for _ in STRIDES:
            x = self.conv(x, 8, 8, 3, 2)
            found.append(x)
        return found

    def rows(self, features: list[str], count: int) -> str:
        """Last convolutions of every map, as [1, count, places]."""
        parts = [
            self.reshape(self.conv(x, 8, count, act=False), [1, count, h * w])
            for x, (h, w) in zip(features, MAPS, strict=True)
        ]
        return str(self.node("Concat", *parts, axis=2))

    def anchors(self) -> str:
        points = [np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)).reshape(2, -1) for h, w in MAPS]
        return self.constant(np.concatenate(points, 1)[None])

    def strides(self) -> str:
        return self.constant(np.concatenate([np.full(h * w, s) for (h, w), s in zip(MAPS, STRIDES, strict=True)])[None])

    def split(self, x: str, sizes: list[int], axis: int) -> list[str]:
        return list(self.node("Split", x, self.constant(sizes, np.int64), outputs=len(sizes), axis=axis))


def _distribution(g: _Net, boxes: str) -> str:
    """The mean of a distribution over the bins, for each side."""
    shaped = g.node("Transpose", g.reshape(boxes, [1, 4, BINS, PLACES]), perm=[0, 2, 1, 3])
    weight = g.constant(np.arange(BINS).reshape(1, BINS, 1, 1))
    return g.reshape(g.node("Conv", g.node("Softmax", shaped, axis=1), weight), [1, 4, PLACES])


def _boxes(g: _Net, sides: str, corners: bool) -> str:
    left, right = g.split(sides, [2, 2], 1)
    anchors = g.anchors()
    first, last = g.node("Sub", anchors, left), g.node("Add", anchors, right)
    if not corners:
        middle = g.node("Div", g.node("Add", first, last), g.constant(2.0))
        first, last = middle, g.node("Sub", last, first)
    return str(g.node("Mul", g.node("Concat", first, last, axis=1), g.strides()))


def yolo8(bins: bool = True) -> ir.Model:
    """YOLOv8 and YOLO11 (with distributions), YOLO26 without its selection."""
    g = _Net()
    sides = 4 * BINS if bins else 4
    boxes, scores = g.split(g.rows(g.features(), sides + CLASSES), [sides, CLASSES], 1)
    boxes = _boxes(g, _distribution(g, boxes) if bins else boxes, corners=False)
    return g.model(g.node("Concat", boxes, g.node("Sigmoid", scores), axis=1))


def end_to_end(bins: bool) -> ir.Model:
    """YOLOv10 (with distributions) and YOLO26: the best places are chosen in the graph."""
    g = _Net()
    features = g.features()
    sides = g.rows(features, 4 * BINS if bins else 4)
    boxes = _boxes(g, _distribution(g, sides) if bins else sides, corners=True)
    joined = g.node("Concat", boxes, g.node("Sigmoid", g.rows(features, CLASSES)), axis=1)
    boxes, scores = g.split(g.node("Transpose", joined, perm=[0, 2, 1]), [4, CLASSES], 2)
    best = g.node("ReduceMax", scores, axes=[-1], keepdims=0)
    _, index = g.node("TopK", best, g.constant([10], np.int64), outputs=2, axis=1)
    index = g.node("Unsqueeze", index, g.constant([2], np.int64))
    chosen = g.node("GatherElements", boxes, g.node("Tile", index, g.constant([1, 1, 4], np.int64)), axis=1)
    rest = g.node("GatherElements", scores, g.node("Tile", index, g.constant([1, 1, CLASSES], np.int64)), axis=1)
    return g.model(g.node("Concat", chosen, rest, axis=2))


def pose(points: int = 5) -> ir.Model:
    """YOLOv8 and YOLO11 for poses."""
    g = _Net()
    features = g.features()
    boxes, scores = g.split(g.rows(features, 4 * BINS + 1), [4 * BINS, 1], 1)
    boxes = _boxes(g, _distribution(g, boxes), corners=False)
    found = g.node("Concat", boxes, g.node("Sigmoid", scores), axis=1)
    places, seen = g.split(g.reshape(g.rows(features, 3 * points), [1, points, 3, PLACES]), [2, 1], 2)
    half = g.constant(np.full((1, 1, 1, 1), 0.5))
    grid = g.node("Sub", g.anchors(), half)
    moved = g.node("Add", g.node("Mul", places, g.constant(2.0)), grid)
    placed = g.node("Mul", moved, g.strides())
    points_ = g.reshape(g.node("Concat", placed, g.node("Sigmoid", seen), axis=2), [1, 3 * points, PLACES])
    return g.model(g.node("Concat", found, points_, axis=1))


def yolo5() -> ir.Model:
    """YOLOv5: three anchor boxes for every place, decoded map by map."""
    g = _Net()
    outputs = []
    for x, (h, w), stride in zip(g.features(), MAPS, STRIDES, strict=True):
        raw = g.reshape(g.conv(x, 8, 3 * (5 + CLASSES), act=False), [1, 3, 5 + CLASSES, h, w])
        answers = g.node("Sigmoid", g.node("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = g.split(answers, [2, 2, 1 + CLASSES], 4)
        grid = np.broadcast_to(np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1) - 0.5, (1, 3, h, w, 2))
        moved = g.node("Add", g.node("Mul", xy, g.constant(2.0)), g.constant(grid))
        xy = g.node("Mul", moved, g.constant(float(stride)))
        squared = g.node("Pow", g.node("Mul", wh, g.constant(2.0)), g.constant(2.0))
        wh = g.node("Mul", squared, g.constant(np.ones((1, 3, 1, 1, 2)) * stride * 2))
        joined = g.node("Concat", xy, wh, rest, axis=4)
        outputs.append(g.reshape(joined, [1, 3 * h * w, 5 + CLASSES]))
    return g.model(g.node("Concat", *outputs, axis=1))


def grid_free() -> ir.Model:
    """Boxes and scores on one tensor, but no anchor points: some other detector."""
    g = _Net()
    boxes, scores = g.split(g.rows(g.features(), 4 + CLASSES), [4, CLASSES], 1)
    scaled = g.node("Mul", boxes, g.constant(float(SIZE)))
    return g.model(g.node("Concat", scaled, g.node("Sigmoid", scores), axis=1))


def in_shares() -> ir.Model:
    """Coordinates as shares of the image, as TensorFlow exports have them: one grid holds all."""
    g = _Net()
    boxes, scores = g.split(g.rows(g.features(), 4 + CLASSES), [4, CLASSES], 1)
    boxes = g.node("Mul", _boxes(g, boxes, corners=False), g.constant(1 / SIZE))
    return g.model(g.node("Concat", boxes, g.node("Sigmoid", scores), axis=1))


def coordinates_in_front() -> ir.Model:
    """Coordinate channels joined with gates in the middle of a network: layers follow."""
    g = _Net()
    x = g.features()[0]
    h, w = MAPS[0]
    grid = g.constant(np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5))[None] * 8)
    moved = g.node("Add", g.conv(x, 8, 2, act=False), grid)
    joined = g.node("Concat", moved, g.node("Sigmoid", g.conv(x, 8, 4, act=False)), axis=1)
    return g.model(g.conv(joined, 6, 4, 3))
