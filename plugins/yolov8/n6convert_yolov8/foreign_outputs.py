"""What the outputs of somebody else's ONNX file look like, before anything is known of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from n6convert.plugin import SourceError
from n6convert_yolov8.architecture import STRIDES, Task
from n6convert_yolov8.recover import HeadWidths

__all__ = ["ForeignOutput"]

#: values of an answer of an end-to-end head: corners, score, class
_ANSWER = 6


@dataclass(frozen=True)
class ForeignOutput:
    """What the file's outputs look like.

    Attributes:
        width: values of an anchor or answer; classes of a classifier.
        end2end: it gives answers instead of anchors.
        prototypes: channels of a second output, 0 without.
    """

    width: int
    end2end: bool = False
    prototypes: int = 0

    @classmethod
    def of(cls, model: ir.Model, size: tuple[int, int], task: Task, path: Path) -> ForeignOutput:
        """The outputs of a file, recognized by their shapes.

        Args:
            model: the file's graph.
            size: height and width of its input in pixels.
            task: what it was trained for.
            path: the file, for messages.

        Raises:
            SourceError: they are not those of a YOLO network for the task.
        """
        shapes = [[d if isinstance(d, int) else 0 for d in v.shape or ()] for v in model.graph.outputs]
        rows = [s for s in shapes if len(s) == (2 if task == "classify" else 3)]
        maps = [s for s in shapes if len(s) == 4]
        kinds = {node.op_type for node in model.graph}
        plain = "NonMaxSuppression" not in kinds
        if plain and len(rows) == 1 and len(maps) == (task == "segment") and len(shapes) == len(rows) + len(maps):
            if task == "classify":
                return cls(rows[0][1])
            anchors, prototypes = _anchors(size), min(maps[0][1:]) if maps else 0
            rest = [d for d in rows[0][1:] if d != anchors]
            if "TopK" in kinds and 0 < rows[0][1] <= anchors and rows[0][2] >= _ANSWER:
                return cls(rows[0][2], True, prototypes)
            if len(rest) == 1 and rest[0] >= 5:
                return cls(rest[0], prototypes=prototypes)
        found = "; ".join(f"{v.name} {v.shape}" for v in model.graph.outputs)
        raise SourceError(
            f"the .onnx file does not give the outputs of a YOLO network for {task}", place=path,
            limit=_LIMITS[task].format(anchors=_anchors(size)), found=found,
            remedy="export without NMS and without cutting the head, or convert it as `onnx`",
        )  # fmt: skip

    @property
    def extra(self) -> int | None:
        """Values that a task adds to an answer."""
        return self.width - _ANSWER if self.end2end else None

    def guess(self, task: Task, extra: int | None) -> HeadWidths:
        """The head of a file whose layers do not tell: one class where points follow."""
        more = {"detect": 0, "segment": self.prototypes, "obb": 1, "classify": 0}.get(task)
        if task == "classify":
            return HeadWidths(self.width, 1, 0)
        if more is None:
            more = extra if extra else (self.width - 5) // 3 * 3
        return HeadWidths(max(self.width - 4 - more, 1), 1, more)


_LIMITS: Mapping[Task, str] = {
    "detect": "a single output [1, 4 + classes, {anchors}] or transposed, or [1, answers, 6]",
    "pose": "a single output [1, 4 + classes + keypoints, {anchors}] or transposed, or [1, answers, 6 + keypoints]",
    "segment": "[1, 4 + classes + 32, {anchors}] or transposed, or [1, answers, 38]; prototypes [1, 32, h / 4, w / 4]",
    "obb": "a single output [1, 4 + classes + 1, {anchors}] or transposed, or [1, answers, 7]",
    "classify": "a single output [1, classes]",
}


def _anchors(size: tuple[int, int]) -> int:
    return sum((size[0] // s) * (size[1] // s) for s in STRIDES)
