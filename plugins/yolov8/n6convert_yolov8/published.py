"""The published networks: how often their blocks repeat and how wide every convolution is, before any weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from n6convert_yolov8.architecture import Architecture, Block, BlockKind, Family, Task, block_layers, parse_name

__all__ = ["CLASSES", "MASKS", "published_architecture", "published_widths"]

#: classes the published weights of each task were trained on
CLASSES: Mapping[Task, int] = {"detect": 80, "pose": 1, "segment": 80, "obb": 15, "classify": 1000}
#: coefficients of a mask; channels of the prototypes before scaling; channels in front of a classifier's last layer
MASKS, _PROTOTYPES, _CLASSIFIER_WIDTH = 32, 256, 1280


@dataclass(frozen=True)
class _Plan:
    """A family's definition before scaling.

    Attributes:
        sizes: depth multiple, width multiple and channel limit.
        channels: output channels of the numbered layers.
        repeats: units in each block.
        c3k: blocks of C3k units in the sizes ``n`` and ``s``; larger ones have them everywhere.
        narrow: blocks whose units have a quarter of the channels instead of half.
    """

    sizes: Mapping[str, tuple[float, float, int]]
    channels: Mapping[int, int]
    repeats: Mapping[int, int]
    c3k: frozenset[int] = frozenset()
    narrow: frozenset[int] = frozenset()


_YOLOV8 = _Plan(
    {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768)},
    {0: 64, 1: 128, 2: 128, 3: 256, 4: 256, 5: 512, 6: 512, 7: 1024, 8: 1024, 9: 1024}
    | {12: 512, 15: 256, 16: 256, 18: 512, 19: 512, 21: 1024},
    {2: 3, 4: 6, 6: 6, 8: 3, 12: 3, 15: 3, 18: 3, 21: 3},
)
_YOLO11 = _Plan(
    {"n": (0.5, 0.25, 1024), "s": (0.5, 0.5, 1024), "m": (0.5, 1.0, 512)},
    {0: 64, 1: 128, 2: 256, 3: 256, 4: 512, 5: 512, 6: 512, 7: 1024, 8: 1024, 9: 1024, 10: 1024}
    | {13: 512, 16: 256, 17: 256, 19: 512, 20: 512, 22: 1024},
    dict.fromkeys((2, 4, 6, 8, 13, 16, 19, 22), 2),
    frozenset((6, 8, 22)),
    frozenset((2, 4)),
)
_YOLO26 = _Plan(
    _YOLO11.sizes, _YOLO11.channels, {**_YOLO11.repeats, 22: 1}, frozenset((6, 8, 13, 16, 19)), frozenset((2, 4))
)
_PLANS: Mapping[Family, _Plan] = {"yolov8": _YOLOV8, "yolo11": _YOLO11, "yolo26": _YOLO26}
#: classifiers of YOLOv8 keep all channels in size m
_CLASSIFIER_LIMIT = 1024
_ATTENTION_REPEATS = 2


def published_architecture(
    name: str, *, classes: int | None = None, keypoints: tuple[int, int] | None = None
) -> Architecture:
    """The network published under a name such as ``yolo26n-pose``.

    Args:
        name: family, size and task.
        classes: instead of what the published weights know.
        keypoints: ``(count, values)`` for pose, 17 points of three values unless given.

    Raises:
        ValueError: the name is none of this family.
    """
    family, size, task = parse_name(name)
    plan, shift = _PLANS[family], family != "yolov8"
    depth = plan.sizes[size][0]
    layers = block_layers(task, int(shift))
    blocks = {n: Block(_repeats(plan.repeats[n], depth), _kind(family, plan, n, size)) for n in layers}
    return Architecture(
        "yolo11" if family == "yolo26" and task == "classify" else family,
        task,
        blocks,
        _repeats(_ATTENTION_REPEATS, depth) if shift else 0,
        CLASSES[task] if classes is None else classes,
        1 if family == "yolo26" and task != "classify" else 16,
        (keypoints or (17, 3)) if task == "pose" else None,
        end2end=family == "yolo26" and task != "classify",
    )


def published_widths(name: str, architecture: Architecture) -> dict[str, int]:
    """Output channels of every convolution of a published network."""
    family, size, task = parse_name(name)
    plan = _PLANS[family]
    _, width, limit = plan.sizes[size]
    if task == "classify" and family == "yolov8":
        limit = _CLASSIFIER_LIMIT
    channels = {n: int(-(-min(c, limit) * width // 8) * 8) for n, c in plan.channels.items()}
    widths = {str(n): channels[n] for n in (0, 1, 3, 5, 7)}
    for layer, block in architecture.blocks.items():
        hidden = channels[layer] // (4 if layer in plan.narrow else 2)
        widths |= {f"{layer}.cv1": 2 * hidden, f"{layer}.cv2": channels[layer]}
        widths |= _units(f"{layer}.m", block, hidden, full=family == "yolov8")
    if architecture.attention:
        widths |= _attention_layer(9 if task == "classify" else 10, channels[8], architecture.attention)
    if task == "classify":
        return widths | {
            f"{architecture.head}.conv": _CLASSIFIER_WIDTH,
            f"{architecture.head}.linear": architecture.classes,
        }
    widths |= {"9.cv1": channels[8] // 2, "9.cv2": channels[9]}
    shift = architecture.shift
    widths |= {str(n + shift): channels[n + shift] for n in (16, 19)}
    ends = [channels[n + shift] for n in (15, 18, 21)]
    prototypes = int(-(-min(_PROTOTYPES, limit) * width // 8) * 8)
    return widths | {f"{architecture.head}.{n}": w for n, w in _head(architecture, ends, prototypes).items()}


def _repeats(count: int, depth: float) -> int:
    return max(round(count * depth), 1) if count > 1 else count


def _kind(family: Family, plan: _Plan, layer: int, size: str) -> BlockKind:
    if family == "yolo26" and layer == 22:
        return "attention"
    return "c3k" if layer in plan.c3k or (family != "yolov8" and size not in "ns") else "bottleneck"


def _units(prefix: str, block: Block, hidden: int, *, full: bool) -> dict[str, int]:
    """Channels inside a block; the first convolution of a bottleneck has all or half of them."""
    widths: dict[str, int] = {}
    inner = hidden if full else hidden // 2
    for r in range(block.repeats):
        unit = f"{prefix}.{r}"
        if block.kind == "c3k":
            widths |= {f"{unit}.cv1": inner, f"{unit}.cv2": inner, f"{unit}.cv3": hidden}
            widths |= {f"{unit}.m.{i}.{cv}": inner for i in range(2) for cv in ("cv1", "cv2")}
        elif block.kind == "attention":
            widths |= {f"{unit}.0.cv1": inner, f"{unit}.0.cv2": hidden} | _attention_unit(f"{unit}.1", hidden)
        else:
            widths |= {f"{unit}.cv1": inner, f"{unit}.cv2": hidden}
    return widths


def _attention_layer(layer: int, channels: int, repeats: int) -> dict[str, int]:
    widths = {f"{layer}.cv1": channels, f"{layer}.cv2": channels}
    for r in range(repeats):
        widths |= _attention_unit(f"{layer}.m.{r}", channels // 2)
    return widths


def _attention_unit(prefix: str, hidden: int) -> dict[str, int]:
    """Queries and keys have half as many channels as values."""
    parts = {"attn.qkv": 2 * hidden, "attn.proj": hidden, "attn.pe": hidden, "ffn.0": 2 * hidden, "ffn.1": hidden}
    return {f"{prefix}.{part}": width for part, width in parts.items()}


def _head(architecture: Architecture, ends: list[int], prototypes: int) -> dict[str, int]:
    first = ends[0]
    boxes, classes = 4 * architecture.reg_max, architecture.classes
    inner = max(16, first // 4, boxes)
    scores = max(first, min(classes, 100))
    widths: dict[str, int] = {}
    for i, end in enumerate(ends):
        widths |= {f"cv2.{i}.0": inner, f"cv2.{i}.1": inner, f"cv2.{i}.2": boxes, f"cv3.{i}.2": classes}
        if architecture.family == "yolov8":
            widths |= {f"cv3.{i}.0": scores, f"cv3.{i}.1": scores}
        else:
            widths |= {f"cv3.{i}.0.0": end, f"cv3.{i}.0.1": scores, f"cv3.{i}.1.0": scores, f"cv3.{i}.1.1": scores}
        widths |= _task_branch(architecture, i, first)
    if architecture.task == "segment":
        widths |= {"proto.cv1": prototypes, "proto.upsample": prototypes, "proto.cv2": prototypes, "proto.cv3": MASKS}
        if architecture.family == "yolo26":
            widths |= {"proto.feat_refine.0": first, "proto.feat_refine.1": first, "proto.feat_fuse": prototypes}
    return widths


def _task_branch(architecture: Architecture, i: int, first: int) -> dict[str, int]:
    if architecture.task == "detect":
        return {}
    points = architecture.keypoints
    out = {"segment": MASKS, "obb": 1}.get(architecture.task) or (points[0] * points[1] if points else 0)
    if points and architecture.family == "yolo26":
        inner = max(first // 4, points[0] * (points[1] + 2))
        return {f"cv4.{i}.0": inner, f"cv4.{i}.1": inner, f"cv4_kpts.{i}": out}
    inner = max(first // 4, out)
    return {f"cv4.{i}.0": inner, f"cv4.{i}.1": inner, f"cv4.{i}.2": out}
