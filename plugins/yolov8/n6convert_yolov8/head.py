"""The forms in which the head leaves the graph.

``cut``: one output per stride and branch, before any decoding, and the same for strides 16 and 32:

* ``boxes_8 [1, 4 * reg_max, h, w]``: logits of a distribution side by side for left, top, right, bottom; with
  ``reg_max`` 1 (YOLO26) the four distances themselves, in cells
* ``scores_8 [1, classes, h, w]``: logits, clipped to :data:`SCORE_RANGE`
* ``keypoints_8 [1, 2 * count, h, w]``: raw offsets x, y of each point, and ``visibility_8 [1, count, h, w]``: logits
* ``masks_8 [1, 32, h, w]``: coefficients of the object's mask, and once ``prototypes [1, 32, H / 4, W / 4]``
* ``angles_8 [1, 1, h, w]``: logits of the box's angle; radians in YOLO26

Each has an INT8 grid of its own; decoding is the host's work. Offsets and visibility come from one convolution of the
network, whose rows are told apart: logits reach nearly twice as far as offsets, and on a common grid the offsets would
be that much less exact. Classifiers end in ``logits [1, classes]``.

``full``: ``output0 [1, values, anchors]`` as :mod:`n6convert_yolov8.full_head` describes it, and ``prototypes``;
``probabilities [1, classes]`` for classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from n6convert_yolov8.architecture import STRIDES, Architecture
from n6convert_yolov8.full_head import write_full
from n6convert_yolov8.graph import GraphBuilder
from n6convert_yolov8.layers import Feature, LayerWriter
from n6convert_yolov8.parameters import Conv

__all__ = ["KINDS", "LOGITS", "PROBABILITIES", "PROTOTYPES", "HeadForm", "point_rows", "write_classifier", "write_head"]

HeadForm = Literal["cut", "full"]
#: outputs of the cut head at every stride; visibility where points have three values
KINDS = ("boxes", "scores", "keypoints", "visibility", "masks", "angles")
PROTOTYPES, LOGITS, PROBABILITIES = "prototypes", "logits", "probabilities"
_EXTRA = {"pose": "keypoints", "segment": "masks", "obb": "angles"}
Size = tuple[int, int]
#: The cut head's class logits are clipped to this range (probabilities 0.0009 to 0.993), which becomes their INT8 grid:
#: no evaluation looks below it, background logits reach -40 and would waste most of the grid, and a grid measured on
#: calibration images without a clear object would saturate at the first one.
SCORE_RANGE = (-7.0, 5.0)


def write_head(
    writer: LayerWriter, architecture: Architecture, features: Sequence[Feature], size: Size, form: HeadForm
) -> list[ir.Value]:
    """Add the head to the graph and give its outputs.

    Args:
        writer: gets the layers.
        architecture: of the network.
        features: maps, one a stride.
        size: of the input.
        form: cut or full.
    """
    head = _HeadWriter(writer, architecture, apart=form == "cut")
    raw = head.raw(features)
    protos = [_named(head.prototypes(features), PROTOTYPES)] if architecture.task == "segment" else []
    if form == "full":
        values = {kind: [x.value for x in each] for kind, each in raw.items()}
        return [write_full(writer.graph, values, architecture, size), *protos]
    raw["scores"] = [_clipped(writer.graph, x) for x in raw["scores"]]
    return [_named(raw[kind][i].value, f"{kind}_{s}") for i, s in enumerate(STRIDES) for kind in raw] + protos


def write_classifier(writer: LayerWriter, architecture: Architecture, x: Feature, form: HeadForm) -> list[ir.Value]:
    """A convolution, the mean over the map, and a linear layer.

    Args:
        writer: gets the layers.
        architecture: of the network.
        x: map of features.
        form: cut or full.
    """
    name, graph = f"{architecture.head}", writer.graph
    x = writer.conv(f"{name}.conv", x)
    pooled = Feature(graph.op("GlobalAveragePool", f"{name}.pool", x.value), x.channels, (1, 1))
    scores = writer.linear(f"{name}.linear", pooled)
    logits = graph.reshape(LOGITS, scores.value, (1, scores.channels))
    return [logits if form == "cut" else graph.op("Softmax", PROBABILITIES, logits, axis=1)]


def point_rows(points: tuple[int, int]) -> dict[str, Any]:
    """Rows of the last convolution that make each output of the cut head: x and y of all points, their visibility."""
    count, values = points
    rows = np.arange(count * values).reshape(count, values)
    return {"keypoints": rows[:, :2].ravel()} | ({"visibility": rows[:, 2]} if values == 3 else {})


@dataclass
class _HeadWriter:
    """Writes the branches of a head.

    Attributes:
        writer: of the graph.
        architecture: of the network.
        apart: whether points and their visibility become outputs of their own.
    """

    writer: LayerWriter
    architecture: Architecture
    apart: bool

    def raw(self, features: Sequence[Feature]) -> dict[str, list[Feature]]:
        """What every branch ends in, one value a stride."""
        raw = {"boxes": [self._boxes(i, x) for i, x in enumerate(features)]}
        raw["scores"] = [self._scores(i, x) for i, x in enumerate(features)]
        if self.architecture.task != "detect":
            for i, x in enumerate(features):
                for kind, value in self._extra(i, x).items():
                    raw.setdefault(kind, []).append(value)
        return raw

    def prototypes(self, features: Sequence[Feature]) -> ir.Value:
        """Maps whose weighted sums are masks, at a quarter of the input's size."""
        writer, name = self.writer, self._name("proto")
        x = features[0]
        if self.architecture.family == "yolo26":
            for i, other in enumerate(features[1:]):
                refined = writer.conv(f"{name}.feat_refine.{i}", other)
                x = writer.add(f"{name}.sum.{i}", x, writer.upsample(f"{name}.{i}", refined, 2 << i))
            x = writer.conv(f"{name}.feat_fuse", x, 3)
        x = writer.twice(f"{name}.upsample", writer.conv(f"{name}.cv1", x, 3))
        return writer.conv(f"{name}.cv3", writer.conv(f"{name}.cv2", x, 3)).value

    def _boxes(self, i: int, x: Feature) -> Feature:
        name, bins = self._name(f"cv2.{i}"), self.architecture.reg_max
        x = self._pair(name, x)
        return self._last(f"{name}.2", x, lambda conv: _center(conv, bins)) if bins > 1 else self._last(f"{name}.2", x)

    def _scores(self, i: int, x: Feature) -> Feature:
        name, writer = self._name(f"cv3.{i}"), self.writer
        if self.architecture.family == "yolov8":
            return self._last(f"{name}.2", self._pair(name, x))
        for j in range(2):
            x = writer.conv(f"{name}.{j}.1", writer.depthwise(f"{name}.{j}.0", x))
        return self._last(f"{name}.2", x)

    def _extra(self, i: int, x: Feature) -> dict[str, Feature]:
        """Masks, angles, or points with their visibility."""
        branch, points = self._name(f"cv4.{i}"), self.architecture.keypoints
        x = self._pair(branch, x)
        kind = _EXTRA[self.architecture.task]
        if points is None:
            return {kind: self._last(f"{branch}.2", x)}
        centered = self.architecture.family == "yolo26"
        halve = centered and self.apart
        name = self._name(f"cv4_kpts.{i}") if centered else f"{branch}.2"
        rows = point_rows(points) if self.apart else {kind: np.arange(points[0] * points[1])}
        places = point_rows(points)["keypoints"]
        return {
            end: self._last(
                name, x, lambda conv, part=part: _rows(_halved(conv, places) if halve else conv, part),
                "" if end == kind else f"{branch}.{end}",
            )
            for end, part in rows.items()
        }  # fmt: skip

    def _pair(self, name: str, x: Feature) -> Feature:
        return self.writer.conv(f"{name}.1", self.writer.conv(f"{name}.0", x, 3), 3)

    def _last(self, name: str, x: Feature, change: Any = None, shown: str = "") -> Feature:
        """A branch's last convolution with its weights changed."""
        conv = self.writer.layers.conv(name, x.channels, 1, x.power)
        conv = change(conv) if change is not None else conv
        return Feature(self.writer.graph.layer(shown or name, x.value, conv), len(conv.bias), x.size)

    def _name(self, part: str) -> str:
        return f"{self.architecture.head}.{part}"


def _clipped(graph: GraphBuilder, x: Feature) -> Feature:
    low, high = (
        graph.constant(f"scores.{side}", np.array(bound, np.float32))
        for side, bound in zip(("low", "high"), SCORE_RANGE, strict=True)
    )
    return Feature(graph.op("Clip", f"{x.value.name}.clipped", x.value, low, high), x.channels, x.size)


def _rows(conv: Conv, part: Any) -> Conv:
    return Conv(conv.weight[part], conv.bias[part])


def _center(conv: Conv, bins: int) -> Conv:
    """Take from each side's logits their mean over the bins.

    A Softmax does not see what all its inputs share, so the answer is the same, and the INT8 grid is spent on what
    matters alone.
    """
    weight = conv.weight.reshape(4, bins, -1).astype(np.float64)
    bias = conv.bias.reshape(4, bins).astype(np.float64)
    weight = (weight - weight.mean(1, keepdims=True)).reshape(conv.weight.shape)
    bias = (bias - bias.mean(1, keepdims=True)).reshape(-1)
    return Conv(weight.astype(np.float32), bias.astype(np.float32))


def _halved(conv: Conv, places: Any) -> Conv:
    """Offsets from a cell's center in cells as those from its corner in steps of two cells, which are decoded."""
    weight, bias = conv.weight.copy(), conv.bias.copy()
    weight[places] = weight[places] / 2
    bias[places] = bias[places] / 2 + np.float32(0.25)
    return Conv(weight, bias)


def _named(value: ir.Value, name: str) -> ir.Value:
    value.name = name
    return value
