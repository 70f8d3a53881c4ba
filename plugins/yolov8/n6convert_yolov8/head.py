"""The two forms in which the detection head leaves the graph.

``cut``: one output per stride and branch, before any decoding: ``boxes_8 [1, 4 * reg_max, h, w]`` (distribution logits,
side by side for left, top, right, bottom), ``scores_8 [1, classes, h, w]`` (logits, clipped to :data:`SCORE_RANGE`),
``keypoints_8 [1, 2 * count, h, w]`` (raw offsets x, y of each point), ``visibility_8 [1, count, h, w]`` (logits), and
the same for strides 16 and 32. Each has an INT8 grid of its own; decoding is the host's work. Offsets and visibility
come from one convolution of the network, whose rows are told apart: logits reach nearly twice as far as offsets, and on
a common grid the offsets would be that much less exact.

``full``: ``output0 [1, 4 + classes + keypoint values, anchors]``: boxes as centre and size normalised to 0..1, class
probabilities, keypoints as x, y normalised to 0..1 and visibility. This is the form of ST's own files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert_yolov8.architecture import STRIDES, Architecture
from n6convert_yolov8.graph import GraphBuilder
from n6convert_yolov8.parameters import Conv, Parameters

__all__ = ["FULL_OUTPUT", "KINDS", "HeadForm", "anchor_points", "point_rows", "write_head"]

HeadForm = Literal["cut", "full"]
FULL_OUTPUT = "output0"
#: outputs of the cut head at every stride; the last two for pose, visibility where points have three values
KINDS = ("boxes", "scores", "keypoints", "visibility")
_BRANCHES = {"boxes": "cv2", "scores": "cv3", "keypoints": "cv4"}
Size = tuple[int, int]
#: The cut head's class logits are clipped to this range (probabilities 0.0009 to 0.993), which becomes their INT8 grid:
#: no evaluation looks below it, background logits reach -40 and would waste most of the grid, and a grid measured on
#: calibration images without a clear object would saturate at the first one.
SCORE_RANGE = (-7.0, 5.0)


def write_head(
    graph: GraphBuilder, parameters: Parameters, features: Sequence[ir.Value], size: Size, form: HeadForm
) -> list[ir.Value]:
    """Add the head to the graph and give its outputs."""
    architecture = parameters.architecture
    convs = dict(parameters.convs)
    for i in range(len(STRIDES)):
        convs[f"22.cv2.{i}.2"] = _centre(convs[f"22.cv2.{i}.2"], architecture.reg_max)
    raw = _raw(graph, convs, features, architecture.keypoints, apart=form == "cut")
    if form == "cut":
        raw["scores"] = [_clipped(graph, x) for x in raw["scores"]]
        return [_named(raw[kind][i], f"{kind}_{stride}") for i, stride in enumerate(STRIDES) for kind in raw]
    return [_decoded(graph, raw, architecture, size)]


def anchor_points(size: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cell centres in cells ``[2, anchors]`` (x, y) and the stride of each ``[1, anchors]``, stride after stride."""
    points, strides = [], []
    for stride in STRIDES:
        h, w = size[0] // stride, size[1] // stride
        y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
        points.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full((1, h * w), stride))
    return np.concatenate(points, 1).astype(np.float32), np.concatenate(strides, 1).astype(np.float32)


def _clipped(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    low, high = (
        graph.constant(f"scores.{side}", np.array(bound, np.float32))
        for side, bound in zip(("low", "high"), SCORE_RANGE, strict=True)
    )
    return graph.op("Clip", f"{x.name}.clipped", x, low, high)


def _raw(
    graph: GraphBuilder,
    convs: dict[str, Conv],
    features: Sequence[ir.Value],
    points: tuple[int, int] | None,
    *,
    apart: bool,
) -> dict[str, list[ir.Value]]:
    """What every branch ends in, one value a stride; points and their visibility apart where that is asked for."""
    raw: dict[str, list[ir.Value]] = {}
    for kind, branch in _BRANCHES.items():
        if kind == "keypoints" and not points:
            continue
        for i, x in enumerate(features):
            name = f"22.{branch}.{i}"
            for j in range(2):
                x = graph.silu(graph.conv(f"{name}.{j}", x, convs[f"{name}.{j}"]))
            rows = point_rows(points) if kind == "keypoints" and points and apart else {kind: slice(None)}
            for end, part in rows.items():
                whole = convs[f"{name}.2"]
                conv = Conv(whole.weight[part], whole.bias[part])
                raw.setdefault(end, []).append(graph.conv(f"{name}.2" if end == kind else f"{name}.{end}", x, conv))
    return raw


def point_rows(points: tuple[int, int]) -> dict[str, Any]:
    """Rows of the last convolution that make each output of the cut head: x and y of all points, their visibility."""
    count, values = points
    rows = np.arange(count * values).reshape(count, values)
    return {"keypoints": rows[:, :2].ravel()} | ({"visibility": rows[:, 2]} if values == 3 else {})


def _centre(conv: Conv, bins: int) -> Conv:
    """Take from each side's logits their mean over the bins.

    A Softmax does not see what all its inputs share, so the answer is the same, and the INT8 grid is spent on what
    matters alone.
    """
    weight = conv.weight.reshape(4, bins, -1).astype(np.float64)
    bias = conv.bias.reshape(4, bins).astype(np.float64)
    weight = (weight - weight.mean(1, keepdims=True)).reshape(conv.weight.shape)
    bias = (bias - bias.mean(1, keepdims=True)).reshape(-1)
    return Conv(weight.astype(np.float32), bias.astype(np.float32))


def _named(value: ir.Value, name: str) -> ir.Value:
    value.name = name
    return value


def _decoded(graph: GraphBuilder, raw: dict[str, list[ir.Value]], architecture: Architecture, size: Size) -> ir.Value:
    joined = {kind: _join(graph, kind, parts, size) for kind, parts in raw.items()}
    parts = [
        _full_boxes(graph, joined["boxes"], architecture.reg_max, size),
        graph.op("Sigmoid", "scores.sigmoid", joined["scores"]),
    ]
    if architecture.keypoints:
        parts.append(_full_keypoints(graph, joined["keypoints"], architecture.keypoints, size))
    return graph.op("Concat", FULL_OUTPUT, *parts, axis=1)


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


def _full_boxes(graph: GraphBuilder, x: ir.Value, bins: int, size: Size) -> ir.Value:
    """Expected distances to the four sides, then centre and size normalised to 0..1."""
    points, strides = anchor_points(size)
    scale = strides / np.array([[size[1]], [size[0]]], np.float32)
    x = graph.reshape("dfl.sides", x, (1, 4, bins, points.shape[1]))
    x = graph.op("Softmax", "dfl.softmax", graph.op("Transpose", "dfl.bins", x, perm=[0, 2, 1, 3]), axis=1)
    expectation = Conv(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1), np.zeros(1, np.float32))
    x = graph.reshape("dfl.distances", graph.conv("dfl.conv", x, expectation), (1, 4, points.shape[1]))
    near, far = graph.split("dfl.corners", x, [2, 2])
    anchors = graph.constant("anchors", points[None])
    low, high = graph.op("Sub", "boxes.low", anchors, near), graph.op("Add", "boxes.high", anchors, far)
    half = graph.constant("boxes.half_scale", scale[None] / 2)
    centre = graph.op("Mul", "boxes.centre", graph.op("Add", "boxes.sum", low, high), half)
    extent = graph.op(
        "Mul", "boxes.extent", graph.op("Sub", "boxes.span", high, low), graph.constant("scale", scale[None])
    )
    return graph.op("Concat", "boxes.decoded", centre, extent, axis=1)


def _full_keypoints(graph: GraphBuilder, x: ir.Value, shape: tuple[int, int], size: Size) -> ir.Value:
    """x, y = (2 * raw + cell) * stride, normalised to 0..1; visibility through a Sigmoid."""
    count, values = shape
    points, strides = anchor_points(size)
    scale = strides / np.array([[size[1]], [size[0]]], np.float32)
    x = graph.reshape("keypoints.split_view", x, (1, count, values, points.shape[1]))
    parts = graph.split("keypoints.parts", x, [2, 1], axis=2) if values == 3 else [x]
    place = graph.op("Mul", "keypoints.scaled", parts[0], graph.constant("keypoints.scale", 2 * scale[None, None]))
    offset = graph.constant("keypoints.offset", ((points - 0.5) * scale)[None, None])
    place = graph.op("Add", "keypoints.xy", place, offset)
    if values == 3:
        place = graph.op("Concat", "keypoints.xyv", place, graph.op("Sigmoid", "keypoints.visible", parts[1]), axis=2)
    return graph.reshape("keypoints.decoded", place, (1, count * values, points.shape[1]))
