"""From weights of any kind to the float graph and the facts that decoding needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from n6convert.plugin import BuildRequest, FloatModel, SourceError
from n6convert_yolov8.architecture import FAMILIES, TASKS, Architecture, parse_name
from n6convert_yolov8.names import COCO_CLASSES, DOTA_CLASSES
from n6convert_yolov8.network import build_network
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.options import SizedOptions
from n6convert_yolov8.parameters import Parameters, load_parameters
from n6convert_yolov8.seeded import seeded_parameters

__all__ = ["build_model"]


def build_model(name: str, request: BuildRequest, options: SizedOptions) -> FloatModel:
    """The float graph, from a checkpoint, an ONNX file, or seeded numbers.

    Metadata: ``head``, ``task``, ``reg_max``, ``classes``, and where they apply ``keypoints``, ``end2end``, ``angles``.

    Args:
        name: of the network.
        request: weights, seed and a scratch folder.
        options: of the recipe.

    Raises:
        SourceError: damaged, another network, or another task than the name says.
    """
    path = request.weights.path
    family, _, task = parse_name(name)
    taken = ""
    end2end = bool(getattr(options, "end2end", True))
    if path is None:
        parameters = seeded_parameters(name, request.seed)
        shape = parameters.architecture
        parameters = replace(parameters, architecture=replace(shape, end2end=end2end and shape.end2end))
    elif path.suffix.lower() == ".onnx":
        request.progress("recognizing the network in the .onnx file", 0, None)
        foreign = ForeignNetwork(path, task, family, take_back=options.dequantize)
        if foreign.parameters is None:
            return _as_it_is(foreign, options, path)
        parameters, taken = foreign.parameters, foreign.taken
    else:
        parameters = load_parameters(path, end2end=end2end)
    _check(name, parameters.architecture, path)
    nhwc = options.layout == "nhwc"
    model = build_network(parameters, options.size, head=options.head, channels_last=nhwc, name=name)
    note = {"note": taken} if taken else {}
    return FloatModel(model, {"head": options.head} | note | _facts(parameters))


def _check(name: str, found: Architecture, path: Path | None) -> None:
    """Refuse weights of another family or task and name the model that takes them."""
    family, size, task = parse_name(name)
    same = found.family == family or (task == found.task == "classify" and "yolov8" not in (family, found.family))
    if found.task == task and same:
        return
    other = f"{family if found.family == family else found.family}{size}{TASKS[found.task]}"
    raise SourceError(
        f"the weights are those of a {_FAMILY_NAMES[found.family]} network for {found.task}", place=path,
        limit=f"{_FAMILY_NAMES[family]} weights for {task}", remedy=f"n6convert {other} --weights {path}",
    )  # fmt: skip


_FAMILY_NAMES = dict(zip(FAMILIES, ("YOLOv8", "YOLO11", "YOLO26"), strict=True))


def _facts(parameters: Parameters) -> dict[str, str]:
    shape = parameters.architecture
    facts = {"task": shape.task, "reg_max": str(shape.reg_max)}
    if shape.end2end:
        facts["end2end"] = "true"
    if shape.task == "obb":
        facts["angles"] = "radians" if shape.family == "yolo26" else "logits"
    return facts | _labels(parameters.classes, shape.classes, shape.keypoints, shape.task)


def _as_it_is(foreign: ForeignNetwork, options: SizedOptions, path: Path) -> FloatModel:
    """A file whose layers were not recognized: its own graph, cut where that is possible."""
    if foreign.size != options.size:
        raise SourceError(
            "the .onnx file has another input size, and its layers were not recognized, so it cannot be rebuilt",
            place=path, limit=f"{foreign.size[0]} x {foreign.size[1]}", found=f"{options.size[0]} x {options.size[1]}",
            remedy=f"set options.imgsz to the file's own size; not recognized because: {foreign.reason}",
        )  # fmt: skip
    cut = foreign.cut() if options.head == "cut" else None
    if cut is None and foreign.end2end:
        raise SourceError(
            "the .onnx file answers with selected detections, and its head could not be cut in front of the selection",
            place=path, found=foreign.reason, remedy="export with end2end=False, or convert the checkpoint itself",
        )  # fmt: skip
    facts = {"head": "full" if cut is None else "cut", "task": foreign.task, "reg_max": str(foreign.widths.bins)}
    facts["note"] = "; ".join(filter(None, [foreign.taken, f"the file's own graph was used: {foreign.reason}"]))
    if foreign.end2end:
        facts["end2end"] = "true"
    if foreign.task == "obb":
        facts["angles"] = "radians" if foreign.facts.radians else "logits"
    if cut is None and options.head == "cut" and foreign.task != "classify":
        facts["note"] += "; the head could not be cut, so boxes and scores share the full output's INT8 grid"
    labels = _labels(foreign.names, foreign.classes, foreign.keypoints, foreign.task)
    return FloatModel(cut or foreign.model, facts | labels)


def _labels(names: Sequence[str] | None, count: int, keypoints: tuple[int, int] | None, task: str) -> dict[str, str]:
    """What decoding needs to know, as metadata."""
    if names is None or len(names) != count:
        names = _default_names(count, task)
    facts = {"classes": json.dumps(list(names))}
    return facts | ({"keypoints": json.dumps(keypoints)} if keypoints else {})


def _default_names(count: int, task: str) -> Sequence[str]:
    if task == "classify":
        return []
    known = DOTA_CLASSES if task == "obb" else COCO_CLASSES
    if count == len(known):
        return known
    return ("person",) if task == "pose" and count == 1 else [f"class {i}" for i in range(count)]
