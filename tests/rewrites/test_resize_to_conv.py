from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


def resized(mode: str, convention: str, scales: tuple[float, float], size: tuple[int, int] = (5, 7), **more: str):
    g = GraphWriter()
    x = g.input("x", [1, 3, *size])
    before = g.node("Conv", x, g.weight(4, 3, 1, 1))
    factors = g.constant([1, 1, *scales])
    y = g.node("Resize", before, "", factors, mode=mode, coordinate_transformation_mode=convention, **more)
    return g.model(g.node("Conv", y, g.weight(2, 4, 1, 1)))


@pytest.mark.parametrize("scales", [(2, 2), (1, 3), (2.5, 1.5), (0.5, 0.5)])
@pytest.mark.parametrize(
    ("mode", "convention"),
    [("linear", "half_pixel"), ("linear", "align_corners"), ("cubic", "half_pixel"), ("nearest", "asymmetric")],
)
def test_every_mode_and_scale_is_exact(mode: str, convention: str, scales: tuple[float, float]) -> None:
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    result = apply(resized(mode, convention, scales, **more), "resize-to-conv")
    assert "Resize" not in ops(result.model)


def test_sizes_instead_of_scales() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 3, 4, 4])
    y = g.node("Resize", x, "", "", g.constant([1, 3, 7, 9], np.int64), mode="linear")
    assert "Resize" not in ops(apply(g.model(y), "resize-to-conv").model)


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("mode", "convention"), [("linear", "half_pixel"), ("nearest", "asymmetric")])
def test_no_cpu_epoch_is_left(mode: str, convention: str, target: str) -> None:
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    model = resized(mode, convention, (2, 2), (16, 16), **more)
    assert software(model, target)
    assert not software(apply(model, "resize-to-conv", target=target).model, target)


def test_a_huge_side_is_refused() -> None:
    result = apply(resized("linear", "half_pixel", (1, 2), (2, 400)), "resize-to-conv")
    assert "above 512" in reasons(result, "resize-to-conv")
    assert "Resize" in ops(result.model)


def test_a_map_of_more_than_65535_pixels_is_turned_in_four_axes() -> None:
    g = GraphWriter()
    scales = g.constant([1, 1, 2, 2])
    model = g.model(g.node("Resize", g.input("x", [1, 2, 150, 150]), g.constant([]), scales, mode="linear"))
    result = apply(model, "resize-to-conv")
    assert not software(result.model, NEW)
    assert max(max(v.shape) for node in result.model.graph for v in node.outputs) < 1 << 16
