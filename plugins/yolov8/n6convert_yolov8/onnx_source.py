"""YOLOv8 from ONNX files, as Ultralytics, tf2onnx and others export them.

Where the file's layers can be recognised, the network is rebuilt from its weights in our own form, of which any head
form, input size and layout can be asked. Otherwise the file's graph is used: cut before the decoding where the last
convolutions of the head can be told, else with its single full output, and the metadata say why. Whatever is claimed
about a file is proven by running it: the new graph must give the file's own answers.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from n6convert.plugin import SourceError
from n6convert.plugin.graphs import load_onnx, max_relative_difference, run_model
from n6convert.plugin.samples import dead_leaves
from n6convert_yolov8.architecture import STRIDES
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.head import KINDS, point_rows
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import Parameters
from n6convert_yolov8.recover import HeadEnds, Unknown, head_ends, recover

__all__ = ["ForeignNetwork", "load_float"]

#: largest difference of scores and visibilities, which come straight from convolutions
_TOLERANCE = 1e-3
#: largest difference of coordinates; files made from INT8 models carry anchors and strides rounded to 8 bits, which the
#: rebuilt network has exact
_COORDINATE_TOLERANCE = 1e-2
Array = NDArray[Any]
Keypoints = tuple[int, int] | None


class ForeignNetwork:
    """An ONNX file with a YOLOv8 network.

    Attributes:
        model: the file's graph.
        size: its input height and width.
        parameters: its weights under our names; None when they were not recognised.
        reason: why they were not.
        classes: number of classes, from the output's width.
        keypoints: ``(count, values)``; None for detection.
        names: class names, where the file's metadata tell.
    """

    def __init__(self, path: Path, pose: bool) -> None:
        self.model = load_float(path)
        self._input, self._channels_last = _image_input(self.model, path)
        shape = self._input.shape.numpy() if self._input.shape is not None else ()
        self.size = (shape[1], shape[2]) if self._channels_last else (shape[2], shape[3])
        self.names = _names(self.model)
        width = _output_width(self.model, self.size, path)
        self.keypoints = _keypoint_shape(self.model, width) if pose else None
        self.classes = width - 4 - (self.keypoints[0] * self.keypoints[1] if self.keypoints else 0)
        self.parameters, self.reason = self._recover()

    def cut(self) -> ir.Model | None:
        """The file's graph ending in the raw outputs of the head, None when they cannot be told apart."""
        try:
            for ends in head_ends(self.model):
                model = _cut_at(self.model, ends, self.size, self.keypoints)
                if model is not None and self._same(*self._difference(model)):
                    return model
        except Unknown:
            pass
        return None

    def _recover(self) -> tuple[Parameters | None, str]:
        worst = float("inf")
        try:
            for candidate in recover(self.model, self.keypoints):
                if (candidate.architecture.classes, candidate.architecture.keypoints) != (self.classes, self.keypoints):
                    continue
                rebuilt = build_network(candidate, self.size, head="full", channels_last=self._channels_last)
                difference = self._difference(rebuilt)
                worst = min(worst, max(difference))
                if self._same(*difference):
                    names = self.names if self.names and len(self.names) == self.classes else None
                    return replace(candidate, classes=names), ""
        except Unknown as problem:
            return None, str(problem)
        return None, f"the network rebuilt from its weights differs by {worst:.2g} of the output's range"

    @staticmethod
    def _same(scores: float, coordinates: float) -> bool:
        return scores <= _TOLERANCE and coordinates <= _COORDINATE_TOLERANCE

    def _difference(self, other: ir.Model) -> tuple[float, float]:
        """Between the file's answers and another graph's: of scores with visibilities, and of coordinates."""
        image = dead_leaves(self.size, (0, 7)).astype(np.float32)[None] / np.float32(255)
        feed = image if self._channels_last else np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        theirs, ours = (
            _as_rows(run_model(m, {str(m.graph.inputs[0].name): feed}), self.size, self.keypoints)
            for m in (self.model, other)
        )
        return max_relative_difference(theirs[0], ours[0]), max_relative_difference(theirs[1], ours[1])


def load_float(path: Path) -> ir.Model:
    """Read a float ONNX file.

    Raises:
        GraphError: damaged, or without a graph.
        SourceError: quantized already.
    """
    model = load_onnx(path)
    kinds = {node.op_type for node in model.graph}
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv"}:
        raise SourceError("the .onnx file is quantized already", place=path, remedy="give the float model it came from")
    return ShapeInferencePass()(model).model


def _image_input(model: ir.Model, path: Path) -> tuple[ir.Value, bool]:
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    shape = list(inputs[0].shape or ()) if len(inputs) == 1 else []
    static = [d if isinstance(d, int) else None for d in shape]
    if len(static) == 4 and static[0] in (1, None) and 3 in (static[1], static[3]):
        channels_last = static[1] != 3
        sides = static[1:3] if channels_last else static[2:]
        if all(s and s % max(STRIDES) == 0 for s in sides):
            inputs[0].shape = ir.Shape([1, *static[1:]])
            return inputs[0], channels_last
    found = "; ".join(f"{v.name} {v.shape}" for v in inputs)
    raise SourceError(
        "the .onnx file does not take one image of fixed size", place=path,
        limit="[1, 3, h, w] or [1, h, w, 3] with h and w multiples of 32", found=found,
        remedy="export with a fixed size (dynamic=False)",
    )  # fmt: skip


def _output_width(model: ir.Model, size: tuple[int, int], path: Path) -> int:
    anchors = _anchors(size)
    outputs = model.graph.outputs
    shape = [d for d in (outputs[0].shape or ()) if isinstance(d, int)] if len(outputs) == 1 else []
    rest = [d for d in shape[-2:] if d != anchors]
    if len(shape) < 2 or len(rest) != 1 or rest[0] < 5:
        found = "; ".join(f"{v.name} {v.shape}" for v in outputs)
        raise SourceError(
            "the .onnx file does not give YOLOv8's single output", place=path,
            limit=f"[1, 4 + classes (+ keypoints), {anchors}] or transposed", found=found,
            remedy="export without NMS and without cutting the head, or convert it as `onnx`",
        )  # fmt: skip
    return rest[0]


def _anchors(size: tuple[int, int]) -> int:
    return sum((size[0] // s) * (size[1] // s) for s in STRIDES)


def _as_rows(outputs: Mapping[str, Array], size: tuple[int, int], keypoints: Keypoints) -> tuple[Array, Array]:
    """Scores with visibilities, and coordinates in pixels, of a full head in any form."""
    found = decode_head(outputs, size, keypoints)
    if found.keypoints is None:
        return found.scores, found.boxes
    places = found.keypoints[..., :2].reshape(len(found.boxes), -1)
    return np.concatenate([found.scores, found.keypoints[..., 2]], 1), np.concatenate([found.boxes, places], 1)


def _metadata(model: ir.Model, key: str) -> Any:
    try:
        return ast.literal_eval(model.metadata_props[key])
    except (KeyError, ValueError, SyntaxError):
        return None


def _names(model: ir.Model) -> tuple[str, ...] | None:
    names = _metadata(model, "names")
    if isinstance(names, dict):
        names = [names[k] for k in sorted(names)]
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else None


def _keypoint_shape(model: ir.Model, width: int) -> tuple[int, int]:
    shape = _metadata(model, "kpt_shape")
    if isinstance(shape, (list, tuple)) and len(shape) == 2:
        return int(shape[0]), int(shape[1])
    return (width - 5) // 3, 3


def _cut_at(model: ir.Model, ends: HeadEnds, size: tuple[int, int], points: Keypoints) -> ir.Model | None:
    """A copy of the graph whose outputs are the given convolutions', named by branch and stride."""
    copy = model.clone()
    outputs = {}
    for node in list(copy.graph):
        kind = ends.get(str(node.name))
        if kind is None:
            continue
        shape = node.outputs[0].shape
        stride = next((s for s in STRIDES if shape and shape[2:] == (size[0] // s, size[1] // s)), None)
        parts = _parted(node, point_rows(points)) if kind == "keypoints" and points else {kind: node.outputs[0]}
        for end, value in parts.items():
            value.name = f"{end}_{stride}"
            outputs[value.name] = value
    kinds = [*ends.values(), *(point_rows(points) if points else ())]
    wanted = [f"{kind}_{s}" for s in STRIDES for kind in KINDS if kind in kinds]
    if set(wanted) != set(outputs):
        return None
    copy.graph.outputs[:] = [outputs[name] for name in wanted]
    RemoveUnusedNodesPass()(copy)
    return copy


def _parted(conv: ir.Node, rows: Mapping[str, Array]) -> dict[str, ir.Value]:
    """Convolutions with some of another one's rows each, put behind it; nothing where they are not all its rows."""
    constants = [ir.convenience.get_const_tensor(v) if v is not None else None for v in conv.inputs[1:]]
    graph = conv.graph
    size = sum(len(part) for part in rows.values())
    if graph is None or any(c is None or c.shape[0] != size for c in constants):
        return {}
    parts = {}
    for end, part in rows.items():
        inputs = [conv.inputs[0]]
        for constant in constants:
            assert constant is not None
            tensor = ir.tensor(constant.numpy()[part], name=f"{conv.name}.{constant.name}.{end}")
            value = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), const_value=tensor)
            value.shape = ir.Shape(tensor.numpy().shape)
            graph.register_initializer(value)
            inputs.append(value)
        node = ir.Node("", "Conv", inputs, conv.attributes.values(), name=f"{conv.name}.{end}")
        old, new = conv.outputs[0], node.outputs[0]
        new.type, new.shape = old.type, ir.Shape([1, len(part), *old.shape[2:]]) if old.shape else None
        graph.insert_after(conv, node)
        parts[end] = new
    return parts
