"""Networks of the family from ONNX files, as Ultralytics (plain and for ST Edge AI), tf2onnx and others export them.

Where the file's layers can be recognized, the network is rebuilt from its weights in our own form, of which any head
form, input size and layout can be asked. Otherwise the file's graph is used: cut before the decoding where the last
convolutions of the head can be told, else with its own outputs, and the metadata say why. Whatever is claimed about a
file is proven by running it: the new graph must give the file's own answers.
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
from n6convert.plugin.graphs import dequantize, load_onnx, quantized_style, refuse_other_styles, run_model
from n6convert.plugin.samples import dead_leaves
from n6convert_yolov8.answers import differences
from n6convert_yolov8.architecture import STRIDES, Family, Task
from n6convert_yolov8.decode import HeadFacts
from n6convert_yolov8.foreign_outputs import ForeignOutput
from n6convert_yolov8.head import KINDS, PROTOTYPES, point_rows
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import Parameters
from n6convert_yolov8.recover import HeadWidths, Unknown, head_ends, read_head, recover

__all__ = ["ForeignNetwork", "load_float"]

Array = NDArray[Any]
Keypoints = tuple[int, int] | None


class ForeignNetwork:
    """An ONNX file with a network of the family.

    Attributes:
        model: the file's graph.
        task: what it answers.
        family: as its name says; needed only for what its layers do not tell.
        size: its input height and width.
        parameters: its weights under our names; None when they were not recognized.
        reason: why they were not.
        widths: channels that its head ends in.
        end2end: it answers with the best detections of an end-to-end head.
        keypoints: ``(count, values)``; None without.
        names: class names, where the file's metadata tell.
        taken: what came from a quantized file; empty for a float one.
    """

    def __init__(self, path: Path, task: Task, family: Family, *, take_back: bool = False) -> None:
        self.model, self.taken = load_float(path, take_back=take_back)
        self.task, self.family = task, family
        self._input, self._channels_last = _image_input(self.model, path, task)
        shape = self._input.shape.numpy() if self._input.shape is not None else ()
        self.size = (shape[1], shape[2]) if self._channels_last else (shape[2], shape[3])
        self.names = _names(self.model)
        output = ForeignOutput.of(self.model, self.size, task, path)
        self.end2end = output.end2end
        shape_of_points = _metadata(self.model, "kpt_shape") if task == "pose" else None
        extra = int(np.prod(shape_of_points)) if shape_of_points else output.extra
        self.parameters: Parameters | None = None
        self.widths, self.reason = _widths(self.model, task, output, extra)
        self.keypoints = _points(shape_of_points, self.widths.extra) if task == "pose" else None
        if not self.reason:
            self.parameters, self.reason = self._recover()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.widths.classes

    @property
    def facts(self) -> HeadFacts:
        """How its outputs, or those of its graph cut, are read."""
        oriented = self.task == "obb"
        return HeadFacts(self.keypoints, oriented, radians=oriented and self.family == "yolo26")

    def cut(self) -> ir.Model | None:
        """The file's graph ending in the raw outputs of the head, None when they cannot be told apart."""
        if self.task == "classify":
            return None
        try:
            model = _cut_at(self.model, head_ends(self.model, self.task, self.widths), self.size, self.keypoints)
        except Unknown:
            return None
        return model if model is not None and not self._wrong(model) else None

    def _recover(self) -> tuple[Parameters | None, str]:
        try:
            found = recover(self.model, self.task, self.widths, self.keypoints, self.end2end)
        except Unknown as problem:
            return None, str(problem)
        rebuilt = build_network(found, self.size, head="full", channels_last=self._channels_last)
        if difference := self._wrong(rebuilt):
            return None, f"the network rebuilt from its weights differs by {difference}"
        names = self.names if self.names and len(self.names) == self.classes else None
        return replace(found, classes=names), ""

    def _wrong(self, other: ir.Model) -> str:
        """How another graph's answers differ from the file's beyond what is tolerated; empty where they do not."""
        image = dead_leaves(self.size, (0, 7)).astype(np.float32)[None] / np.float32(255)
        feed = image if self._channels_last else np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        theirs, ours = (run_model(m, {str(m.graph.inputs[0].name): feed}) for m in (self.model, other))
        return differences(theirs, ours, self.size, self.facts, answers=self.end2end, rounded=bool(self.taken))


def load_float(path: Path, *, take_back: bool = False) -> tuple[ir.Model, str]:
    """Read a float ONNX file, or the float model that a quantized one stands for.

    Args:
        path: the file.
        take_back: read a quantized file as well.

    Returns:
        the graph, and what was taken from a quantized file, empty for a float one.

    Raises:
        GraphError: damaged, or without a graph.
        SourceError: quantized already, and that was not asked for or is not in QDQ form.
    """
    model = load_onnx(path)
    note = ""
    if quantized_style(model) is not None:
        if not take_back:
            raise SourceError(
                "the .onnx file is quantized already", place=path,
                remedy="give the float model it came from, or take its weights with `--set options.dequantize=true`",
            )  # fmt: skip
        refuse_other_styles(model, path)
        note = dequantize(model, path).note
    return ShapeInferencePass()(model).model, note


def _image_input(model: ir.Model, path: Path, task: Task) -> tuple[ir.Value, bool]:
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    shape = list(inputs[0].shape or ()) if len(inputs) == 1 else []
    static = [d if isinstance(d, int) else None for d in shape]
    if len(static) == 4 and static[0] in (1, None) and 3 in (static[1], static[3]):
        channels_last = static[1] != 3
        sides = static[1:3] if channels_last else static[2:]
        if all(s and (task == "classify" or s % max(STRIDES) == 0) for s in sides):
            inputs[0].shape = ir.Shape([1, *static[1:]])
            return inputs[0], channels_last
    found = "; ".join(f"{v.name} {v.shape}" for v in inputs)
    raise SourceError(
        "the .onnx file does not take one image of fixed size", place=path,
        limit="[1, 3, h, w] or [1, h, w, 3] with h and w multiples of 32", found=found,
        remedy="export with a fixed size (dynamic=False)",
    )  # fmt: skip


def _widths(model: ir.Model, task: Task, output: ForeignOutput, extra: int | None) -> tuple[HeadWidths, str]:
    """What the head ends in, and why its layers do not tell."""
    try:
        return read_head(model, task, extra), ""
    except Unknown as problem:
        return output.guess(task, extra), str(problem)


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


def _points(shape: Any, channels: int) -> tuple[int, int]:
    if isinstance(shape, (list, tuple)) and len(shape) == 2:
        return int(shape[0]), int(shape[1])
    return channels // 3, 3


def _cut_at(model: ir.Model, ends: Mapping[str, str], size: tuple[int, int], points: Keypoints) -> ir.Model | None:
    """A copy of the graph whose outputs are the given convolutions', named by branch and stride, and its prototypes."""
    copy = model.clone()
    prototypes = [v for v in copy.graph.outputs if v.shape is not None and len(v.shape) == 4]
    outputs = {}
    for node in list(copy.graph):
        kind = ends.get(str(node.outputs[0].name if node.name is None else node.name))
        if kind is None:
            continue
        shape = node.outputs[0].shape
        stride = next((s for s in STRIDES if shape and shape[2:] == (size[0] // s, size[1] // s)), None)
        if stride is None:
            continue
        parts = _parted(node, point_rows(points)) if kind == "keypoints" and points else {kind: node.outputs[0]}
        for end, value in parts.items():
            value.name = f"{end}_{stride}"
            outputs[value.name] = value
    kinds = [*ends.values(), *(point_rows(points) if points else ())]
    wanted = [f"{kind}_{s}" for s in STRIDES for kind in KINDS if kind in kinds]
    if set(wanted) != set(outputs):
        return None
    for value in prototypes:
        value.name = PROTOTYPES
    copy.graph.outputs[:] = [*(outputs[name] for name in wanted), *prototypes]
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
