"""The full head: every anchor's answer decoded inside the graph, the form of ST's own files and post-processing.

``output0 [1, values, anchors]``: boxes as center and size normalized to 0..1, class probabilities, then what the task
adds: keypoints as x, y normalized to 0..1 and visibility; 32 mask coefficients; an oriented box's angle in radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert_yolov8.architecture import STRIDES, Architecture
from n6convert_yolov8.graph import GraphBuilder
from n6convert_yolov8.parameters import Conv

__all__ = ["ANGLE_SPAN", "ANGLE_START", "FULL_OUTPUT", "anchor_points", "write_full"]

FULL_OUTPUT = "output0"
Size = tuple[int, int]
Raw = Mapping[str, Sequence[ir.Value]]
#: angles are ``(sigmoid - ANGLE_START) * ANGLE_SPAN`` where the head gives logits
ANGLE_START, ANGLE_SPAN = 0.25, math.pi


def write_full(graph: GraphBuilder, raw: Raw, architecture: Architecture, size: Size) -> ir.Value:
    """Decode what the branches end in, one value a stride.

    Args:
        graph: gets the nodes.
        raw: what the branches end in.
        architecture: of the network.
        size: of the input.
    """
    joined = {kind: _join(graph, kind, parts, size) for kind, parts in raw.items()}
    angle = _angle(graph, joined["angles"], architecture) if "angles" in joined else None
    parts = [
        _boxes(graph, joined["boxes"], architecture.reg_max, size, angle),
        graph.op("Sigmoid", "scores.sigmoid", joined["scores"]),
    ]
    if architecture.keypoints:
        parts.append(_keypoints(graph, joined["keypoints"], architecture, size))
    parts += [x for x in (joined.get("masks"), angle) if x is not None]
    return graph.op("Concat", FULL_OUTPUT, *parts, axis=1)


def anchor_points(size: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cell centers in cells ``[2, anchors]`` (x, y) and the stride of each ``[1, anchors]``, stride after stride."""
    points, strides = [], []
    for stride in STRIDES:
        h, w = size[0] // stride, size[1] // stride
        y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
        points.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full((1, h * w), stride))
    return np.concatenate(points, 1).astype(np.float32), np.concatenate(strides, 1).astype(np.float32)


def _join(graph: GraphBuilder, kind: str, parts: Sequence[ir.Value], size: Size) -> ir.Value:
    """``[1, c, h, w]`` of all strides as ``[1, c, anchors]``."""
    flat = []
    for part, stride in zip(parts, STRIDES, strict=True):
        cells = (size[0] // stride) * (size[1] // stride)
        flat.append(graph.reshape(f"{kind}.{stride}.flat", part, (1, _channels(part), cells)))
    return graph.op("Concat", f"{kind}.all", *flat, axis=2)


def _channels(conv_output: ir.Value) -> int:
    node = conv_output.producer()
    assert node is not None and node.inputs[2] is not None and node.inputs[2].shape is not None
    return node.inputs[2].shape.numpy()[0]


def _angle(graph: GraphBuilder, x: ir.Value, architecture: Architecture) -> ir.Value:
    """Radians; YOLO26 gives them directly."""
    if architecture.family == "yolo26":
        return x
    start = graph.constant("angles.start", np.array(ANGLE_START, np.float32))
    span = graph.constant("angles.span", np.array(ANGLE_SPAN, np.float32))
    turned = graph.op("Sub", "angles.shifted", graph.op("Sigmoid", "angles.sigmoid", x), start)
    return graph.op("Mul", "angles.radians", turned, span)


def _boxes(graph: GraphBuilder, x: ir.Value, bins: int, size: Size, angle: ir.Value | None) -> ir.Value:
    """Distances to the four sides, then center and size normalized to 0..1."""
    points, strides = anchor_points(size)
    scale = strides / np.array([[size[1]], [size[0]]], np.float32)
    if bins > 1:
        x = _expected(graph, x, bins, points.shape[1])
    near, far = graph.split("dfl.corners", x, [2, 2])
    anchors = graph.constant("anchors", points[None])
    half, whole = graph.constant("boxes.half_scale", scale[None] / 2), graph.constant("scale", scale[None])
    if angle is None:
        low, high = graph.op("Sub", "boxes.low", anchors, near), graph.op("Add", "boxes.high", anchors, far)
        center = graph.op("Mul", "boxes.centre", graph.op("Add", "boxes.sum", low, high), half)
        extent = graph.op("Mul", "boxes.extent", graph.op("Sub", "boxes.span", high, low), whole)
        return graph.op("Concat", "boxes.decoded", center, extent, axis=1)
    shift = graph.op("Mul", "boxes.shift", graph.op("Sub", "boxes.difference", far, near), _half(graph))
    place = graph.op("Add", "boxes.place", _turned(graph, shift, angle), anchors)
    extent = graph.op("Mul", "boxes.extent", graph.op("Add", "boxes.span", near, far), whole)
    return graph.op("Concat", "boxes.decoded", graph.op("Mul", "boxes.centre", place, whole), extent, axis=1)


def _half(graph: GraphBuilder) -> ir.Value:
    return graph.constant("half", np.array(0.5, np.float32))


def _turned(graph: GraphBuilder, shift: ir.Value, angle: ir.Value) -> ir.Value:
    """``[1, 2, anchors]`` offsets x, y turned by each anchor's angle."""
    cos, sin = graph.op("Cos", "angles.cos", angle), graph.op("Sin", "angles.sin", angle)
    x, y = graph.split("boxes.shift_xy", shift, [1, 1])
    products = {
        f"{a}{b}": graph.op("Mul", f"boxes.{a}_{b}", value, factor)
        for a, value in (("x", x), ("y", y)) for b, factor in (("cos", cos), ("sin", sin))
    }  # fmt: skip
    across = graph.op("Sub", "boxes.turned_x", products["xcos"], products["ysin"])
    down = graph.op("Add", "boxes.turned_y", products["xsin"], products["ycos"])
    return graph.op("Concat", "boxes.turned", across, down, axis=1)


def _expected(graph: GraphBuilder, x: ir.Value, bins: int, anchors: int) -> ir.Value:
    """The means of the distributions over bins, ``[1, 4, anchors]``."""
    x = graph.reshape("dfl.sides", x, (1, 4, bins, anchors))
    x = graph.op("Softmax", "dfl.softmax", graph.op("Transpose", "dfl.bins", x, perm=[0, 2, 1, 3]), axis=1)
    expectation = Conv(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1), np.zeros(1, np.float32))
    return graph.reshape("dfl.distances", graph.layer("dfl.conv", x, expectation), (1, 4, anchors))


def _keypoints(graph: GraphBuilder, x: ir.Value, architecture: Architecture, size: Size) -> ir.Value:
    """x, y = (2 * raw + cell) * stride, in YOLO26 (raw + center) * stride, normalized; visibility through a Sigmoid."""
    assert architecture.keypoints is not None
    count, values = architecture.keypoints
    steps, start = (1, 0.0) if architecture.family == "yolo26" else (2, 0.5)
    points, strides = anchor_points(size)
    scale = strides / np.array([[size[1]], [size[0]]], np.float32)
    x = graph.reshape("keypoints.split_view", x, (1, count, values, points.shape[1]))
    parts = graph.split("keypoints.parts", x, [2, 1], axis=2) if values == 3 else [x]
    place = graph.op("Mul", "keypoints.scaled", parts[0], graph.constant("keypoints.scale", steps * scale[None, None]))
    offset = graph.constant("keypoints.offset", ((points - start) * scale).astype(np.float32)[None, None])
    place = graph.op("Add", "keypoints.xy", place, offset)
    if values == 3:
        place = graph.op("Concat", "keypoints.xyv", place, graph.op("Sigmoid", "keypoints.visible", parts[1]), axis=2)
    return graph.reshape("keypoints.decoded", place, (1, count * values, points.shape[1]))
