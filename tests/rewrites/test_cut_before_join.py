from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def convolved(g: GraphWriter, x: str, channels: int) -> str:
    return str(g.node("Conv", x, g.weight(channels, 8, 1, 1), g.vector(channels)))


def head(g: GraphWriter, split: bool):
    """Boxes and scores of two scales, joined by channel, then over the scales, then cut apart again."""
    scales = []
    for side in (4, 2):
        x = g.input(f"x{side}", [1, 8, side, side])
        both = g.node("Concat", convolved(g, x, 16), convolved(g, x, 3), axis=1)
        scales.append(g.reshape(both, [1, 19, side * side]))
    joined = g.node("Concat", *scales, axis=2)
    if split:
        return g.node("Split", joined, g.constant([16, 3], np.int64), axis=1, outputs=2)
    ends = [(0, 16), (16, 2**31 - 1)]
    return [g.node("Slice", joined, *(g.constant([v], np.int64) for v in (a, b, 1))) for a, b in ends]


@pytest.mark.parametrize("split", [True, False])
def test_a_detection_head_is_not_joined_to_be_cut(split: bool) -> None:
    g = GraphWriter()
    boxes, scores = head(g, split)
    model = g.model(g.node("Relu", boxes), g.node("Sigmoid", scores))
    result = apply(model, "cut-before-join")
    assert ops(result.model)["Concat"] == 2 and not {"Split", "Slice"} & ops(result.model).keys()
    for target in (OLD, NEW):
        left = apply(model, "cut-before-join", "outermost-axis", target=target)
        assert software(model, target) and not software(left.model, target)


def test_every_third_channel_is_a_convolution_of_its_own() -> None:
    """Points with a confidence each, [1, 5 * 3, ...]: confidences are the rows 2, 5, 8 ..."""
    g = GraphWriter()
    scales = [g.reshape(convolved(g, g.input(f"x{n}", [1, 8, n, n]), 15), [1, 15, n * n]) for n in (4, 2)]
    points = g.reshape(g.node("Concat", *scales, axis=2), [1, 5, 3, 20])
    ends = [g.constant([v], np.int64) for v in (0, 2, 3)]
    axis = g.constant([2], np.int64)
    places = g.node("Slice", points, ends[0], ends[1], axis)
    model = g.model(g.node("Relu", places), g.node("Sigmoid", g.node("Slice", points, ends[1], ends[2], axis)))
    result = apply(model, "cut-before-join")
    assert sorted(n.outputs[0].shape[1] for n in result.model.graph if n.op_type == "Conv") == [5, 5, 10, 10]
    assert "Slice" not in ops(result.model)


def test_a_joined_tensor_that_others_read_stays() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 4, 4])
    joined = g.node("Concat", convolved(g, x, 4), convolved(g, x, 4), axis=1)
    first = g.node("Slice", joined, *(g.constant([v], np.int64) for v in (0, 4, 1)))
    assert not apply(g.model(first, g.node("Relu", joined)), "cut-before-join").applied


def test_one_tensor_without_a_join_stays() -> None:
    g = GraphWriter()
    first = g.node(
        "Slice", convolved(g, g.input("x", [1, 8, 4, 4]), 8), *(g.constant([v], np.int64) for v in (0, 4, 1))
    )
    assert not apply(g.model(first), "cut-before-join").applied


def test_scales_that_are_joined_by_column_stay() -> None:
    g = GraphWriter()
    wide = [convolved(g, g.input(f"x{n}", [1, 8, 4, n]), 8) for n in (4, 2)]
    joined = g.node("Concat", *wide, axis=3)
    first, second = g.node("Split", joined, g.constant([4, 4], np.int64), axis=1, outputs=2)
    result = apply(g.model(g.node("Relu", first), g.node("Sigmoid", second)), "cut-before-join")
    assert not result.applied
