"""Whether two graphs with heads of the family give the same answers, whatever the form of either head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin.graphs import max_relative_difference
from n6convert_yolov8.decode import Candidates, HeadFacts, decode_head

__all__ = ["differences"]

#: largest difference of what comes straight from convolutions: scores, visibilities, masks, angles
_TOLERANCE = 1e-3
#: largest difference of coordinates; files made from INT8 models carry anchors and strides rounded to 8 bits, which the
#: rebuilt network has exact
_COORDINATE_TOLERANCE = 1e-2
#: more tolerance where the file's own constants are on 8-bit grids
_ROUNDED = 3
#: the cut head clips its logits here, see :data:`n6convert_yolov8.head.SCORE_RANGE`
_SCORES = (0.00092, 0.9932)
Array = NDArray[Any]
Outputs = Mapping[str, Array]


def differences(
    theirs: Outputs, ours: Outputs, size: tuple[int, int], facts: HeadFacts, *, answers: bool, rounded: bool = False
) -> str:
    """What differs between a foreign file's outputs and those of a graph of ours; empty where nothing does.

    Args:
        theirs: anchors ``[1, values, anchors]``, answers ``[1, count, 6 + values]``, or classes ``[1, n]``.
        ours: the outputs of a cut or full head, or a classifier's.
        size: input height and width in pixels.
        facts: how ours are read.
        answers: theirs are an end-to-end head's answers.
        rounded: theirs come from a quantized file, whose anchors and strides are on 8-bit grids.
    """
    rows = [v for v in theirs.values() if v.ndim != 4]
    if rows[0].ndim == 2:
        return _named({"scores": (rows[0], next(iter(ours.values())), _TOLERANCE)})
    found = decode_head(ours, size, facts)
    if answers:
        return _answers_apart(rows[0][0], found, size, cut=len(ours) > 2)
    pairs = _pairs(decode_head(theirs, size, facts), found)
    if len(ours) > 2:  # a cut head
        a, b, limit = pairs["scores"]
        pairs["scores"] = (a.clip(*_SCORES), b.clip(*_SCORES), limit)
    slack = _ROUNDED if rounded else 1
    return _named({k: (a, b, slack * limit) for k, (a, b, limit) in pairs.items()})


def _named(pairs: Mapping[str, tuple[Array, Array, float]]) -> str:
    worst = {k: (max_relative_difference(a, b), limit) for k, (a, b, limit) in pairs.items() if a.shape == b.shape}
    if len(worst) < len(pairs):
        return "the number of " + ", ".join(k for k in pairs if k not in worst)
    beyond = {k: d for k, (d, limit) in worst.items() if not d <= limit}
    return ", ".join(f"{d:.2g} of the range of its {k}" for k, d in beyond.items())


def _pairs(theirs: Candidates, ours: Candidates) -> dict[str, tuple[Array, Array, float]]:
    pairs = {"boxes": (theirs.boxes, ours.boxes, _COORDINATE_TOLERANCE)}
    pairs["scores"] = (theirs.scores, ours.scores, _TOLERANCE)
    if theirs.keypoints is not None and ours.keypoints is not None:
        pairs["keypoints"] = (theirs.keypoints[..., :2], ours.keypoints[..., :2], _COORDINATE_TOLERANCE)
        pairs["visibilities"] = (theirs.keypoints[..., 2], ours.keypoints[..., 2], _TOLERANCE)
    for name in ("coefficients", "prototypes", "angles"):
        a, b = getattr(theirs, name), getattr(ours, name)
        if a is not None and b is not None:
            pairs[name] = (a, b, _TOLERANCE)
    return pairs


def _answers_apart(answers: Array, found: Candidates, size: tuple[int, int], *, cut: bool) -> str:
    """Whether each answer of an end-to-end head ``[count, corners, score, class, ...]`` is one of our candidates.

    Of answers with nearly equal scores either may come first, so each is looked for among all candidates.
    """
    values: list[Array] = [found.boxes / max(size)]
    theirs: list[Array] = [_upright(answers[:, :4], found) / max(size)]
    if found.keypoints is not None:
        points = answers[:, 6:].reshape(len(answers), found.keypoints.shape[1], -1)
        values.append(found.keypoints[..., :2].reshape(len(found.boxes), -1) / max(size))
        theirs.append(points[..., :2].reshape(len(answers), -1) / max(size))
    rest = found.coefficients if found.coefficients is not None else found.angles
    if rest is not None:
        spread = float(np.abs(rest).max()) or 1.0
        values.append(rest.reshape(len(found.boxes), -1) / spread)
        theirs.append(answers[:, 6:] / spread)
    ours, wanted = np.concatenate(values, 1), np.concatenate(theirs, 1)
    scores, given = found.scores[:, answers[:, 5].astype(int)].T, answers[:, 4:5]  # [count, anchors], [count, 1]
    if cut:
        scores, given = scores.clip(*_SCORES), given.clip(*_SCORES)
    apart = np.abs(scores - given) / given.max()
    worst = 0.0
    for row, score in zip(wanted, apart, strict=True):
        worst = max(worst, float(np.maximum(np.abs(ours - row).max(1), score).min()))
    return "" if worst <= _TOLERANCE else f"{worst:.2g} of the input's size in its answers"


def _upright(boxes: Array, found: Candidates) -> Array:
    """Corners; answers with angles carry center and size."""
    if found.angles is None:
        return boxes
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
