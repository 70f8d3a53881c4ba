"""The shape of a network of the YOLOv8, YOLO11 or YOLO26 family, read from its tensors or looked up by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from numpy.typing import NDArray

from n6convert.plugin import SourceError

__all__ = [
    "FAMILIES",
    "STRIDES",
    "TASKS",
    "Architecture",
    "Block",
    "BlockKind",
    "Family",
    "Task",
    "block_layers",
    "parse_name",
]

Family = Literal["yolov8", "yolo11", "yolo26"]
Task = Literal["detect", "pose", "segment", "obb", "classify"]
BlockKind = Literal["bottleneck", "c3k", "attention"]
Tensors = Mapping[str, NDArray[Any]]

STRIDES = (8, 16, 32)
FAMILIES: tuple[Family, ...] = ("yolov8", "yolo11", "yolo26")
#: what a model's name ends in
TASKS: Mapping[Task, str] = {"detect": "", "pose": "-pose", "segment": "-seg", "obb": "-obb", "classify": "-cls"}
_NAME = re.compile(rf"^({'|'.join(FAMILIES)})([a-z])({'|'.join(filter(None, TASKS.values()))})?$")
#: layers that are blocks of bottlenecks, before the second backbone stage shifts those behind layer 9 by one
_BACKBONE_BLOCKS, _NECK_BLOCKS = (2, 4, 6, 8), (12, 15, 18, 21)


def parse_name(name: str) -> tuple[Family, str, Task]:
    """Family, size and task of a published name such as ``yolo11n-seg``.

    Raises:
        ValueError: no name of this family.
    """
    found = _NAME.match(name)
    if found is None:
        raise ValueError(f"{name} is no name of a YOLOv8, YOLO11 or YOLO26 network")
    task = next(t for t, suffix in TASKS.items() if suffix == (found.group(3) or ""))
    return cast(Family, found.group(1)), found.group(2), task


@dataclass(frozen=True)
class Block:
    """One C2f or C3k2 layer: how many units it chains, and of which kind."""

    repeats: int
    kind: BlockKind = "bottleneck"


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one network of the family from another; channel counts follow from the weights themselves.

    Attributes:
        family: ``yolov8``, ``yolo11`` or ``yolo26``. Classifiers of the last two are the same network.
        task: what its head answers.
        blocks: C2f and C3k2 layers by number.
        attention: attention units in the layer behind the backbone; 0 in YOLOv8, which has no such layer.
        classes: number of classes.
        reg_max: bins of the box distribution for each of the four sides; 1 where distances are given directly.
        keypoints: ``(count, values per keypoint)`` for pose.
        end2end: the head was trained to find each object once, so that no suppression is needed.
    """

    family: Family
    task: Task
    blocks: Mapping[int, Block]
    attention: int
    classes: int
    reg_max: int = 16
    keypoints: tuple[int, int] | None = None
    end2end: bool = False

    @property
    def shift(self) -> int:
        """Layers behind the backbone have numbers one higher where attention follows it."""
        return 1 if self.attention else 0

    @property
    def head(self) -> int:
        """Number of the last layer."""
        return (9 if self.task == "classify" else 22) + self.shift

    @classmethod
    def from_tensors(cls, tensors: Tensors, keypoint_shape: Any = None) -> Architecture:
        """Read from tensors named ``<layer>.<...>``, as in Ultralytics checkpoints without their ``model.`` prefix.

        Args:
            tensors: arrays by name; where an end-to-end head has both its branches, the one that answers is ``cv2``.
            keypoint_shape: ``(count, values)`` where the checkpoint says so; otherwise three values are assumed.

        Raises:
            SourceError: no network of the family.
        """
        layers = sorted({int(n.split(".")[0]) for n in tensors if n.split(".")[0].isdigit()})
        last = layers[-1] if layers else -1
        task = _task(tensors, last)
        _refuse_others(tensors, layers, task)
        shift = last - (9 if task == "classify" else 22)
        names = set(tensors)
        blocks = {n: _block(names, n) for n in block_layers(task, shift)}
        family = _family(blocks, shift)
        psa = _count(names, f"{last - 1 if task == 'classify' else 10}.m.") if shift else 0
        if task == "classify":
            return cls(family, task, blocks, psa, tensors[f"{last}.linear.weight"].shape[0])
        bins = tensors[f"{last}.cv2.0.2.weight"].shape[0] // 4
        classes = tensors[f"{last}.cv3.0.2.weight"].shape[0]
        points = _keypoints(tensors, last, keypoint_shape) if task == "pose" else None
        return cls(family, task, blocks, psa, classes, bins, points)


def block_layers(task: Task, shift: int) -> tuple[int, ...]:
    """Numbers of the C2f or C3k2 layers."""
    return _BACKBONE_BLOCKS if task == "classify" else _BACKBONE_BLOCKS + tuple(n + shift for n in _NECK_BLOCKS)


def _count(names: set[str], prefix: str) -> int:
    return len({n[len(prefix) :].split(".")[0] for n in names if n.startswith(prefix)})


def _block(names: set[str], layer: int) -> Block:
    kinds: Mapping[str, BlockKind] = {"0.cv3.conv.weight": "c3k", "0.1.attn.qkv.conv.weight": "attention"}
    plain: BlockKind = "bottleneck"
    kind = next((k for end, k in kinds.items() if f"{layer}.m.{end}" in names), plain)
    return Block(_count(names, f"{layer}.m."), kind)


def _family(blocks: Mapping[int, Block], shift: int) -> Family:
    if not shift:
        return "yolov8"
    return "yolo26" if any(b.kind == "attention" for b in blocks.values()) else "yolo11"


def _task(tensors: Tensors, head: int) -> Task:
    if f"{head}.linear.weight" in tensors:
        return "classify"
    if f"{head}.proto.cv1.conv.weight" in tensors:
        return "segment"
    if f"{head}.cv4_kpts.0.weight" in tensors:
        return "pose"
    extra = tensors.get(f"{head}.cv4.0.2.weight")
    return "detect" if extra is None else "obb" if extra.shape[0] == 1 else "pose"


def _keypoints(tensors: Tensors, head: int, shape: Any) -> tuple[int, int]:
    weight = tensors.get(f"{head}.cv4_kpts.0.weight", tensors.get(f"{head}.cv4.0.2.weight"))
    assert weight is not None
    channels = weight.shape[0]
    count, values = (int(shape[0]), int(shape[1])) if shape is not None else (channels // 3, 3)
    if count * values != channels or values not in (2, 3):
        raise SourceError("the keypoint head does not fit its keypoint shape", found=f"{channels} channels for {shape}")
    return count, values


def _refuse_others(tensors: Tensors, layers: list[int], task: Task) -> None:
    last = layers[-1] if layers else -1
    shift = last - (9 if task == "classify" else 22)
    needed = ["0.conv.weight", *(f"{layer}.cv1.conv.weight" for layer in block_layers(task, shift))]
    needed += [f"{layer}.m.0." for layer in block_layers(task, shift)]
    if shift:
        needed.append(f"{last - 1 if task == 'classify' else 10}.m.0.attn.qkv.conv.weight")
    if task != "classify":
        needed += ["9.cv2.conv.weight", *(f"{last}.{b}.{i}.2.weight" for b in ("cv2", "cv3") for i in range(3))]
    missing = [n for n in needed if not any(name.startswith(n) for name in tensors)]
    if f"{last}.cv2.3.2.weight" in tensors:
        missing.append("a head on three strides (this one has more)")
    if missing or shift not in (0, 1):
        raise SourceError(
            "the weights are not those of a YOLOv8, YOLO11 or YOLO26 network",
            limit="detection, pose, segmentation, oriented boxes on strides 8, 16, 32, or classification",
            found=f"layers {layers[0]} to {last}" + (f", without {missing[0].strip('.')}" if missing else "")
            if layers
            else "no numbered layers",
        )
